"""Parts that are there once for each name, and stay as long as what they are made from does."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K")
T = TypeVar("T")

Close = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, eq=False)
class Member(Generic[K, T]):
    """One part, what it was made from, and how it is closed."""

    made_from: K
    part: T
    close: Close


class Fleet(Generic[K, T]):
    """The parts in use, and those that have been replaced and are not closed yet."""

    def __init__(self, make: Callable[[str, K], tuple[T, Close]]) -> None:
        """Take what makes a part of this name from its description, and says how to close it."""
        self._make = make
        self._present: Mapping[str, Member[K, T]] = {}
        self._open: set[Member[K, T]] = set()

    def prepare(self, wanted: Mapping[str, K]) -> dict[str, Member[K, T]]:
        """Return the parts for these descriptions; those in use stay where they are the same.

        Nothing changes yet: they come into use with `take`, or go with `others`.
        """
        return {name: self._member(name, description) for name, description in wanted.items()}

    def take(self, members: Mapping[str, Member[K, T]]) -> None:
        """Use these from now on."""
        self._present = members

    def others(self) -> list[Member[K, T]]:
        """Return those that are open and not in use."""
        present = set(self._present.values())
        return [each for each in self._open if each not in present]

    async def close(self, members: Iterable[Member[K, T]] | None = None) -> None:
        """Close these, or all."""
        for each in tuple(self._open if members is None else members):
            if each in self._open:
                self._open.discard(each)
                await each.close()

    def _member(self, name: str, description: K) -> Member[K, T]:
        present = self._present.get(name)
        if present is not None and present.made_from == description:
            return present
        part, close = self._make(name, description)
        member = Member(description, part, close)
        self._open.add(member)
        return member


async def nothing() -> None:
    """Close what needs no closing."""
