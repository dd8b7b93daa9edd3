"""The keys of one spool: rows name them by number, `sealing_keys` has the fingerprint of each.

A number is given when a key is named for the first time, before anything is sealed with it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import apsw

from relay.core.sealing import NotAuthentic, SealingKey
from relay.spool.sealing import KeyMissing

#: A key and its number.
Numbered = tuple[int, SealingKey]

#: Returns the key of a number, as `Keyring.find` does.
FindKey = Callable[[int], SealingKey]

_KNOWN: Final = "SELECT fingerprint, id FROM sealing_keys"
_ADD: Final = "INSERT INTO sealing_keys (fingerprint) VALUES (?) ON CONFLICT DO NOTHING"
_FINGERPRINT: Final = "SELECT fingerprint FROM sealing_keys WHERE id = ?"

_TABLES: Final = ("events", "attempts", "refusals")
_ANY: Final = " UNION ALL ".join(
    f"SELECT * FROM (SELECT 1 FROM {table} WHERE sealed_by = ?1 AND sealed_by IS NOT NULL LIMIT 1)"  # noqa: S608 - names, no values
    for table in _TABLES
)
_COUNT: Final = " UNION ALL ".join(
    f"SELECT count(*) FROM {table} WHERE sealed_by = ?1 AND sealed_by IS NOT NULL"  # noqa: S608 - likewise
    for table in _TABLES
)


class Keyring:
    """The keys that are named. Several threads read it; it is exchanged at once.

    writes: what is stored from now on is sealed with it; None: with none.
    """

    def __init__(self) -> None:
        self.writes: Numbered | None = None
        self._named: Mapping[str, SealingKey] = {}
        self._by_number: Mapping[int, SealingKey] = {}

    def use(self, connection: apsw.Connection, keys: Sequence[SealingKey]) -> None:
        """Do as `SealingStore.use`, on a connection that writes."""
        named = {key.fingerprint: key for key in keys}
        numbers = _numbers(connection)
        if needed := _needed(connection, numbers, named):
            raise KeyMissing.by_rows(needed, named)
        if new := named.keys() - numbers.keys():
            connection.executemany(_ADD, [(bytes.fromhex(each),) for each in new])
            numbers = _numbers(connection)
        self._named = named
        self._by_number = {numbers[fingerprint]: key for fingerprint, key in named.items()}
        self.writes = (numbers[keys[0].fingerprint], keys[0]) if keys else None

    def find(self, connection: apsw.Connection, number: int) -> SealingKey:
        """Return the key of a number.

        Raises:
            KeyMissing: a key has it, and is not named.
            NotAuthentic: no key has it, so that the row is damaged.
        """
        if (known := self._by_number.get(number)) is not None:
            return known
        # Another process may have named it since.
        found: list[tuple[Any, ...]] = connection.execute(_FINGERPRINT, (number,)).fetchall()
        for (stored,) in found:
            fingerprint = stored.hex()
            if fingerprint not in self._named:
                raise KeyMissing.of_one(fingerprint)
            return self._named[fingerprint]
        raise NotAuthentic


def _needed(
    connection: apsw.Connection, numbers: Mapping[str, int], named: Mapping[str, SealingKey]
) -> dict[str, int]:
    """Return the keys that rows need and that are not named, with the number of rows."""
    return {
        fingerprint: count(connection, number)
        for fingerprint, number in numbers.items()
        if fingerprint not in named and connection.execute(_ANY, (number,)).fetchall()
    }


def _numbers(connection: apsw.Connection) -> dict[str, int]:
    """Return the numbers of keys by their fingerprints."""
    found: list[tuple[Any, ...]] = connection.execute(_KNOWN).fetchall()
    return {fingerprint.hex(): number for fingerprint, number in found}


def count(connection: apsw.Connection, number: int) -> int:
    """Return how many rows are sealed with the key of a number."""
    found: list[tuple[Any, ...]] = connection.execute(_COUNT, (number,)).fetchall()
    return sum(rows for (rows,) in found)


def counts(connection: apsw.Connection) -> dict[str, int]:
    """Return how many rows are sealed with each key, by its fingerprint."""
    return {each: count(connection, number) for each, number in _numbers(connection).items()}
