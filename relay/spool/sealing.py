"""The `SealingStore` contract: the keys that what is stored is sealed with, and read with.

Sealed are bodies, header fields and queries of events and refusals, and answers of attempts. What
events are searched by stays readable. What was stored stays as it is when the keys change.

`tests/contracts/sealing.py` is the contract in executable form; every backend passes it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from relay.core.errors import SpoolUnavailable
from relay.core.sealing import SealingKey


class KeyMissing(SpoolUnavailable):
    """Something is sealed with a key that is not named. It is whole, and waits for that key."""

    @classmethod
    def of_one(cls, fingerprint: str) -> "KeyMissing":
        """Return what to raise for one row."""
        return cls(
            f"this is sealed with the key {fingerprint}, which is none of those named; name it"
            " again in spool.encrypt, behind the first"
        )

    @classmethod
    def by_rows(cls, needed: Mapping[str, int], named: Iterable[str]) -> "KeyMissing":
        """Return what to raise where so many rows need each key, by fingerprint, of none named."""
        listed = ", ".join(named)
        none = f"which is none of those named ({listed})" if listed else "and no key is named"
        return cls(
            "; ".join(
                f"{rows} {'row' if rows == 1 else 'rows'} of the spool"
                f" {'is' if rows == 1 else 'are'} sealed with the key {fingerprint}, {none}; name"
                " it again in spool.encrypt, behind the first, until nothing needs it"
                for fingerprint, rows in needed.items()
            )
        )


class SealingStore(Protocol):
    """Holds the keys of a spool.

    Every method raises `SpoolUnavailable` when the store cannot do its work.
    """

    async def use(self, keys: Sequence[SealingKey]) -> None:
        """Seal with the first of these from now on, and read with all; without any, seal nothing.

        Raises:
            KeyMissing: rows are sealed with yet another one; nothing has changed.
        """

    async def rows(self) -> Mapping[str, int]:
        """Return how many rows are sealed with each key, by its fingerprint."""
