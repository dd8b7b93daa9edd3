"""What statements on several tables share: states, names as numbers, tallies, lease tokens."""

import os
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

import apsw

from relay.core.event import Status
from relay.spool.sqlite import events

# ---- states ---------------------------------------------------------------------------------
# Of destinations. Unfinished ones are negative; those of `settled` that stay are above PASSED.

PENDING, LEASED = -2, -1
DELIVERED, PASSED, DEAD, HELD, TEST = range(1, 6)

#: In the order of urgency: that of an event is the first one of its destinations.
STATUSES: Final[Mapping[int, Status]] = {
    DEAD: Status.DEAD,
    HELD: Status.HELD,
    LEASED: Status.LEASED,
    PENDING: Status.PENDING,
    DELIVERED: Status.DELIVERED,
    PASSED: Status.PASSED,
    TEST: Status.TEST,
}
STATES: Final[Mapping[Status, int]] = {status: state for state, status in STATUSES.items()}

#: The places of the queue: it is claimed, waits for its time, waits for an earlier event.
READY, WAITING, BEHIND = range(3)

# ---- names ----------------------------------------------------------------------------------

UNORDERED, ORDERED, BECOMING_ORDERED = range(3)

_READ: Final = "SELECT id, name, ordered FROM names"
_ADD: Final = "INSERT INTO names (name) VALUES (?) RETURNING id"
_ORDER: Final = "UPDATE names SET ordered = ? WHERE id = ?"


def read_names(connection: apsw.Connection) -> dict[int, str]:
    """Return the names of endpoints and upstreams by number."""
    return {number: str(name) for number, name, _ in events.fetch(connection, _READ)}


class Names:
    """Endpoints and upstreams as numbers, as one transaction sees them."""

    def __init__(self) -> None:
        self.by_number: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._ordered: dict[int, int] = {}

    def refresh(self, connection: apsw.Connection) -> None:
        """Read them; call it at the start of each transaction."""
        rows = events.fetch(connection, _READ)
        self.by_number = {number: name for number, name, _ in rows}
        self._numbers = {name: number for number, name, _ in rows}
        self._ordered = {number: ordered for number, _, ordered in rows}

    def number(self, connection: apsw.Connection, name: str) -> int:
        """Return the number of a name, which is added when it is new."""
        found = self._numbers.get(name)
        if found is None:
            [(found,)] = events.fetch(connection, _ADD, (name,))
            self.by_number[found], self._numbers[name] = name, found
            self._ordered[found] = UNORDERED
        return found

    def order(self, upstream: int) -> int:
        """Return whether this upstream is served in order."""
        return self._ordered.get(upstream, UNORDERED)

    def set_order(self, connection: apsw.Connection, upstream: int, ordered: int) -> None:
        """Write down whether this upstream is served in order."""
        connection.execute(_ORDER, (ordered, upstream))
        self._ordered[upstream] = ordered


# ---- tallies --------------------------------------------------------------------------------

_TALLY: Final = """
INSERT INTO tallies VALUES (?1, ?2, ?3)
ON CONFLICT (endpoint, status) DO UPDATE SET deliveries = deliveries + ?3
"""

_ENDPOINTS: Final = """
SELECT endpoint, count(*) FROM events WHERE seq IN carray(?) GROUP BY endpoint
"""


class Tally:
    """Changes of the numbers of destinations by endpoint and state, written together."""

    def __init__(self) -> None:
        self._changes: dict[tuple[int, int], int] = {}

    def add(self, endpoint: int, state: int, number: int = 1) -> None:
        """Count so many more of this state."""
        at = (endpoint, state)
        self._changes[at] = self._changes.get(at, 0) + number

    def move(self, endpoint: int, before: int, after: int, number: int = 1) -> None:
        """Count so many fewer of one state and so many more of another."""
        self.add(endpoint, before, -number)
        self.add(endpoint, after, number)

    def move_all(
        self, connection: apsw.Connection, seqs: Sequence[int], before: int, after: int
    ) -> None:
        """Do as `move` with one destination of each of these events."""
        if seqs:
            for endpoint, number in events.fetch(connection, _ENDPOINTS, (numbers(seqs),)):
                self.move(endpoint, before, after, number)

    def write(self, connection: apsw.Connection) -> None:
        """Add the changes to the table."""
        changed = [(*at, number) for at, number in self._changes.items() if number]
        if changed:
            connection.executemany(_TALLY, changed)


# ---- the rest -------------------------------------------------------------------------------

_SALT: Final = "SELECT salt FROM salt"


@dataclass(frozen=True, slots=True)
class Tables:
    """What statements of one open spool need besides the connection."""

    names: Names
    digests: events.Digests
    tokens: "Tokens"


def open_tables(connection: apsw.Connection) -> Tables:
    """Return them for the spool on this connection."""
    [(salt,)] = events.fetch(connection, _SALT)
    return Tables(Names(), events.Digests(salt), Tokens())


class Tokens:
    """Numbers that leases are told apart by: of no two leases the same, in any process."""

    def __init__(self) -> None:
        self._base = int.from_bytes(os.urandom(4), "big") >> 1 << 32
        self._count = count(1)

    def next(self) -> int:
        """Return the next one. Several threads may call it."""
        return self._base + next(self._count)


def numbers(given: Iterable[int]) -> "apsw.CArrayBinding":
    """Return numbers, at least one, to be bound to `carray(?)`."""
    return apsw.carray(array("q", given))
