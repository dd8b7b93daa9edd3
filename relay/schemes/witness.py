"""Seeing what a verifier was asked, for `relay explain`. Nothing is seen unless somebody watches.

Providers say what they are about to verify, with None where a secret belongs. No secret and no
token comes by here.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Seen:
    """One text that may have been signed, in parts, and the signature that came with it."""

    signed: tuple[bytes | None, ...]
    signature: str


_WATCHING: ContextVar[list[Seen] | None] = ContextVar("watching", default=None)


def saw(signed: Sequence[bytes | None], signature: str) -> None:
    """Tell whoever watches, in this context, what is about to be verified."""
    watching = _WATCHING.get()
    if watching is not None:
        watching.append(Seen(tuple(signed), signature))


@contextmanager
def watching() -> Iterator[list[Seen]]:
    """Give a list that grows with everything that is about to be verified meanwhile."""
    seen: list[Seen] = []
    token = _WATCHING.set(seen)
    try:
        yield seen
    finally:
        _WATCHING.reset(token)
