"""The ids that people search by, in an index that is filled behind the answers.

It grows in parts. A part holds the references of all events after those of the part before it, up
to the one that it is numbered after, sorted by their text: so it is only ever written at its right
edge, and a search asks each part once. `refs_to` says up to which event parts are whole; what lies
behind that is broken off. Its `part` counts the fillings that have begun: one that finds another
number there than its own has been overtaken, and stops.
"""

from collections.abc import Sequence
from functools import partial
from heapq import merge
from itertools import islice
from typing import Final

import apsw

from relay.spool.history import FILLING
from relay.spool.sqlite.events import Row, fetch, numbers
from relay.spool.sqlite.reader import Reader
from relay.spool.sqlite.writer import Writer

# ---- filling --------------------------------------------------------------------------------

#: Events that are read at once, and rows that are written in one transaction: a few milliseconds.
_READ_EVENTS: Final = 1024
_STEP_ROWS: Final = 1000

_NEWEST: Final = "SELECT max(seq) FROM events"
_AT: Final = "SELECT part, seq FROM refs_to"
_BEGIN: Final = "UPDATE refs_to SET part = ?1 + 1 WHERE part = ?1 AND seq = ?2"
_IS_MINE: Final = "SELECT 1 FROM refs_to WHERE part = ?1 AND seq = ?2"
_END: Final = "UPDATE refs_to SET seq = ?"

# As bytes: what is damaged may be no text any more, and no JSON.
_READ: Final = """
SELECT DISTINCT CAST(json_extract(named.value, '$[1]') AS BLOB), seq
FROM events, json_each(iif(json_valid(CAST(head AS TEXT)), CAST(head AS TEXT), '[]'), '$[11]')
    AS named
WHERE events.seq > ?1 AND events.seq <= ?2
    AND iif(named.type = 'array', json_type(named.value, '$[1]') IS 'text', FALSE)
ORDER BY 1, 2
"""

_ADD: Final = "INSERT INTO refs VALUES (?1, CAST(?2 AS TEXT), ?3)"

_BROKEN: Final = """
DELETE FROM refs WHERE (part, text, seq) IN (
    SELECT part, text, seq FROM refs WHERE part > ?1 ORDER BY part, text, seq LIMIT ?2
)
"""


def due(connection: apsw.Connection, least: int) -> tuple[int, int, int] | None:
    """Return how many fillings there were, and from which event to which the next one goes.

    None where fewer than `least` are not in yet.
    """
    with connection:
        [(newest,)] = fetch(connection, _NEWEST)
        [(begun, seq)] = fetch(connection, _AT)
    if newest is None or newest - seq < max(least, 1):
        return None
    return begun, seq, min(newest, seq + FILLING)


def read(connection: apsw.Connection, first: int, last: int) -> list[Row]:
    """Return text and number, sorted, of the references of events after the first one."""
    return fetch(connection, _READ, (first, last))


def begin(connection: apsw.Connection, begun: int, seq: int) -> bool:
    """Begin a filling; return False where another has begun since `due` was asked."""
    connection.execute(_BEGIN, (begun, seq))
    return connection.changes() == 1


def clear(connection: apsw.Connection, begun: int, seq: int) -> int | None:
    """Remove some of what has been broken off; return how many rows, None if overtaken."""
    if not fetch(connection, _IS_MINE, (begun, seq)):
        return None
    connection.execute(_BROKEN, (seq, _STEP_ROWS))
    return connection.changes()


def add(
    connection: apsw.Connection, begun: int, seq: int, part: int, rows: Sequence[Row] | None
) -> bool:
    """Add rows to a part; None: it is whole. Return False where another has begun meanwhile."""
    with connection:
        if not fetch(connection, _IS_MINE, (begun, seq)):
            return False
        if rows is None:
            connection.execute(_END, (part,))
        else:
            connection.executemany(_ADD, [(part, text, of) for text, of in rows])
    return True


# ---- pruning --------------------------------------------------------------------------------

#: The parts that are whole, the oldest first: each is found by one look.
PARTS: Final = """
WITH RECURSIVE parts (part) AS (
    SELECT min(part) FROM refs
    UNION ALL SELECT (SELECT min(part) FROM refs WHERE part > parts.part) FROM parts
    WHERE part IS NOT NULL
)
SELECT part FROM parts WHERE part <= (SELECT seq FROM refs_to) ORDER BY part
"""

# What may go one day holds its part: dead and held events stay, and others for as long as anything
# is to be done for them.
_HOLDS: Final = """
SELECT 1 FROM events WHERE seq > ?1 AND seq <= ?2
    AND NOT EXISTS (SELECT 1 FROM settled WHERE settled.seq = events.seq AND state IN (3, 4))
    AND NOT EXISTS (SELECT 1 FROM queue WHERE queue.seq = events.seq)
    AND seq NOT IN (SELECT seq FROM inhand)
LIMIT 1
"""

_STAYING: Final = "SELECT seq FROM events WHERE seq > ?1 AND seq <= ?2"

_HAS_OTHERS: Final = "SELECT 1 FROM refs WHERE part = ?1 AND seq NOT IN carray(?2) LIMIT 1"

_REMOVE: Final = """
DELETE FROM refs WHERE (part, text, seq) IN (
    SELECT part, text, seq FROM refs WHERE part = ?1 AND seq NOT IN carray(?2) LIMIT ?3
)
"""


def outlived(connection: apsw.Connection) -> tuple[int, list[int]] | None:
    """Return the oldest part that holds rows of events that are gone, and the events that stay.

    None where there is none; from the first part on that is still needed, none is looked at.
    """
    before = 0
    with connection:
        for (part,) in fetch(connection, PARTS):
            if fetch(connection, _HOLDS, (before, part)):
                return None
            # Of no number at all, none is bound.
            staying = [seq for (seq,) in fetch(connection, _STAYING, (before, part))] or [0]
            if fetch(connection, _HAS_OTHERS, (part, numbers(staying))):
                return part, staying
            before = part
    return None


def remove(connection: apsw.Connection, part: int, staying: Sequence[int]) -> int:
    """Remove some rows of a part that do not belong to these events; return how many."""
    connection.execute(_REMOVE, (part, numbers(staying), _STEP_ROWS))
    return connection.changes()


# ---- the index, through the spool's own writer and reader -----------------------------------


class SqliteReferences:
    """A `relay.spool.history.ReferenceIndex`; open as long as its spool is."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def fill(self, least: int) -> bool:
        found = await self._reader.run(partial(due, least=least))
        if found is None:
            return False
        begun, seq, part = found
        if not await self._writer.run(partial(begin, begun=begun, seq=seq), is_intake=True):
            return False
        mine = begun + 1
        while removed := await self._writer.run(partial(clear, begun=mine, seq=seq)):
            pass
        if removed is None:
            return False
        starts = range(seq, part, _READ_EVENTS)
        read_some = [partial(read, first=at, last=min(at + _READ_EVENTS, part)) for at in starts]
        # Sorting all of them at once would hold the reader, or the interpreter, for too long.
        rows = merge(*[await self._reader.run(each) for each in read_some])
        while step := list(islice(rows, _STEP_ROWS)):
            put = partial(add, begun=mine, seq=seq, part=part, rows=step)
            if not await self._writer.run(put, is_intake=True):
                return False
        put = partial(add, begun=mine, seq=seq, part=part, rows=None)
        return await self._writer.run(put, is_intake=True)

    async def prune(self) -> bool:
        found = await self._reader.run(outlived)
        if found is None:
            return False
        part, staying = found
        while await self._writer.run(partial(remove, part=part, staying=staying)):
            pass
        return True
