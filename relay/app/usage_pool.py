"""Keyed pools: a part is reused while what it is made from is equal, with its state."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

K = TypeVar("K")
T = TypeVar("T")

Close = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, eq=False)
class Entry(Generic[K, T]):
    """One part, what it was made from, and how it is closed."""

    key: K
    part: T
    close: Close


class UsagePool(Generic[K, T]):
    """Parts by name, each made from a key; a part is reused while its key is equal.

    Used in three steps: `acquire` entries, `activate` them, `close` those that are `retired`.
    """

    def __init__(self, make: Callable[[str, K], tuple[T, Close]]) -> None:
        """make: builds a part from name and key; returns it and how it is closed."""
        self._make = make
        self._active: Mapping[str, Entry[K, T]] = {}
        self._open: set[Entry[K, T]] = set()

    def acquire(self, name: str, key: K) -> Entry[K, T]:
        """Return the active entry of this name if its key is equal, and make one otherwise.

        It is not active before `activate`, and counts as retired until then.
        """
        active = self._active.get(name)
        if active is not None and active.key == key:
            return active
        part, close = self._make(name, key)
        entry = Entry(key, part, close)
        self._open.add(entry)
        return entry

    def activate(self, entries: Mapping[str, Entry[K, T]]) -> None:
        """Make these the active entries, and all others retired."""
        self._active = entries

    def keys(self) -> list[K]:
        """Return what the active entries were made from."""
        return [each.key for each in self._active.values()]

    def retired(self) -> list[Entry[K, T]]:
        """Return the entries that are open and not active."""
        active = set(self._active.values())
        return [each for each in self._open if each not in active]

    async def close(self, entries: Iterable[Entry[K, T]] | None = None) -> None:
        """Close these entries, or all. One that is closed already is skipped."""
        for each in tuple(self._open if entries is None else entries):
            if each in self._open:
                self._open.discard(each)
                await each.close()


class Usage:
    """The entries that one configuration uses of several pools."""

    def __init__(self, pools: Iterable[UsagePool[Any, Any]]) -> None:
        """Begin with no entry of any of these pools."""
        self._entries: dict[UsagePool[Any, Any], dict[str, Entry[Any, Any]]]
        self._entries = {pool: {} for pool in pools}

    def acquire(self, pool: UsagePool[K, T], name: str, key: K) -> T:
        """Return the part of this name and key, as `UsagePool.acquire` finds or makes it."""
        entry = pool.acquire(name, key)
        self._entries[pool][name] = entry
        return entry.part

    def activate(self) -> None:
        """Make what was acquired active in every pool, and everything else retired."""
        for pool, entries in self._entries.items():
            pool.activate(entries)


async def nothing() -> None:
    """Do nothing: the closer of parts that hold no resource."""
