"""The `SealingStore` contract: the keys that what is stored is sealed with, and read with.

Sealed are bodies, header fields and queries of events and refusals, and answers of attempts. What
events are searched by stays readable. What was stored stays as it is when the keys change.

`tests/contracts/sealing.py` is the contract in executable form; every backend passes it.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from relay.core.errors import SpoolUnavailable
from relay.core.sealing import SealingKey


class KeyMissing(SpoolUnavailable):
    """Something is sealed with a key that is not named. It is whole, and waits for that key."""


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
