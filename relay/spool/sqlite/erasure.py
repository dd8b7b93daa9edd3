"""Erasing events and refusals in SQLite: the statements, and the store that runs them.

What is deleted is overwritten, and the write-ahead log is cut behind it: no part of either file
holds it then.
"""

import asyncio
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from time import sleep
from typing import Final

import apsw
import orjson

from relay.spool.erasure import ERASED, Traces
from relay.spool.sqlite import body_tokens, content, database, events, lanes, mentions, removal
from relay.spool.sqlite.database import StoreHealth
from relay.spool.sqlite.events import Row, Tables, Tally, fetch
from relay.spool.sqlite.writer import Writer

# ---- events -----------------------------------------------------------------------------------

_FOUND: Final = f"""
SELECT seq, {content.EVENT} FROM events WHERE id IN (SELECT value FROM json_each(?)) ORDER BY seq
"""  # noqa: S608 - columns, no values

_LEASED: Final = "SELECT 1 FROM inhand WHERE seq = ?"

_UNDELIVERED: Final = """
SELECT 1 FROM queue WHERE seq = ?1
UNION ALL SELECT 1 FROM settled WHERE seq = ?1 AND state IN (3, 4)
"""

_UNQUEUE: Final = "DELETE FROM queue WHERE seq = ? RETURNING upstream, lane"
_UNSETTLE: Final = "DELETE FROM settled WHERE seq = ? AND state IN (3, 4) RETURNING state"

# A row of the same size is overwritten where it lies. One that shrinks may have SQLite move others
# to another page, and the old one keeps them: so all are overwritten before any shrinks.
_BLANK: Final = "UPDATE events SET head = ?, body = zeroblob(length(body)) WHERE seq = ?"
_BLANK_ANSWERS: Final = "UPDATE attempts SET answer = zeroblob(length(answer)) WHERE seq = ?"
_BLANK_REFUSALS: Final = """
UPDATE refusals SET body = zeroblob(length(body)),
    headers = printf('%*s', length(CAST(headers AS BLOB)), ''),
    target = printf('%*s', length(CAST(target AS BLOB)), ''),
    refs = printf('%*s', length(CAST(refs AS BLOB)), '')
WHERE id IN (SELECT value FROM json_each(?))
"""

_WRITE: Final = """
UPDATE events SET flags = ?, head = ?, seal = ?, sealed_by = NULL, body = NULL WHERE seq = ?
"""

_FORGET_ATTEMPTS: Final = "DELETE FROM attempts WHERE seq = ?"

# In every part of the index, those that are broken off included.
_FORGET_REFERENCE: Final = """
WITH RECURSIVE parts (part) AS (
    SELECT min(part) FROM refs
    UNION ALL SELECT (SELECT min(part) FROM refs WHERE part > parts.part) FROM parts
    WHERE part IS NOT NULL
)
DELETE FROM refs WHERE part IN (SELECT part FROM parts) AND text = ? AND seq = ?
"""

# A filling that has read what is erased now, and would write it, is overtaken.
_OVERTAKE: Final = "UPDATE refs_to SET part = part + 1"

_NAMED_BY_REFUSALS: Final = """
SELECT DISTINCT json_extract(named.value, '$[1]') FROM refusals, json_each(refusals.refs) AS named
WHERE refusals.id IN (SELECT value FROM json_each(?)) AND named.type = 'array'
"""

_FORGET_REFUSALS: Final = """
DELETE FROM refusals WHERE id IN (SELECT value FROM json_each(?))
"""


def erase(
    connection: apsw.Connection,
    shared: Tables,
    ids: Sequence[str],
    refusals: Sequence[str],
    *,
    undelivered: bool,
) -> tuple[str, ...]:
    """Erase these; return the ids of the events that are erased now."""
    erased: list[str] = []
    going: list[tuple[int, Row]] = []
    tally, listed = Tally(), orjson.dumps(refusals).decode()
    with connection, body_tokens.overwriting(connection):
        for seq, *row in fetch(connection, _FOUND, (orjson.dumps(ids).decode(),)):
            if fetch(connection, _LEASED, (seq,)):
                continue
            if not undelivered and fetch(connection, _UNDELIVERED, (seq,)):
                continue
            going.append((seq, tuple(row)))
            erased.append(events.text_of(row[0]))
            shared.masked.add(seq)
        for seq, stored in going:
            connection.execute(_BLANK, (b" " * len(stored[5]), seq))
            connection.execute(_BLANK_ANSWERS, (seq,))
        for seq, stored in going:
            _stop(connection, seq, stored[1], tally)
            _empty(connection, seq, stored)
        if going:
            connection.execute(_OVERTAKE)
        named = {text for _, row in going for text in _named(events.parse_head(row[5]))}
        named |= {text for (text,) in fetch(connection, _NAMED_BY_REFUSALS, (listed,))}
        for statement in (_BLANK_REFUSALS, _FORGET_REFUSALS):
            connection.execute(statement, (listed,))
        mentions.mask(connection, named)
        tally.write(connection)
    return tuple(erased)


def _stop(connection: apsw.Connection, seq: int, endpoint: int, tally: Tally) -> None:
    """Let an event be delivered no more; what has been delivered stays so."""
    for upstream, lane in fetch(connection, _UNQUEUE, (seq,)):
        tally.add(endpoint, events.PENDING, -1)
        lanes.advance(connection, upstream, [lane])
    for (state,) in fetch(connection, _UNSETTLE, (seq,)):
        tally.add(endpoint, state, -1)


def _empty(connection: apsw.Connection, seq: int, row: Row) -> None:
    event_id, _, received_at, flags, conflicts_with, head, *_ = row
    parts = events.parse_head(head)
    for _, text in references_in(parts):
        connection.execute(_FORGET_REFERENCE, (text, seq))
    connection.execute(_FORGET_ATTEMPTS, (seq,))
    flags = (flags | events.REMOVED) & ~events.TOKENS
    left = events.head_of(_left(parts))
    seal = events.seal(
        event_id, received_at, flags, conflicts_with, head=left, body_sha256=removal.EMPTY
    )
    connection.execute(_WRITE, (flags, left, seal, seq))


def references_in(parts: Sequence[object]) -> list[tuple[str, str]]:
    """Return the references in the parts of a head, as far as they can be read."""
    rows = parts[events.REFERENCES]
    named = rows if isinstance(rows, list) else []
    return [(str(row[0]), str(row[1])) for row in named if isinstance(row, list) and row[1:]]


def _named(parts: Sequence[object]) -> set[str]:
    """Return what an event is found by, besides its id."""
    return {str(parts[events.KEY]), *(text for _, text in references_in(parts))}


def _left(parts: Sequence[object]) -> tuple[object, ...]:
    """Return the parts of a head of which nothing is left that tells of a person."""
    blank: dict[int, object] = {
        events.KEY: "",
        events.SUBJECT: None,
        events.METHOD: "",
        events.SUFFIX: "",
        events.HEADERS: (),
        events.SIGNED: (),
        events.REFERENCES: (),
        events.POINTERS: None,
        events.KEEP: ERASED,
    }
    more = [None] * (events.KEEP + 1 - len(parts))
    return tuple(blank.get(at, part) for at, part in enumerate((*parts, *more)))


# ---- the store, through the spool's own writer ------------------------------------------------

# How often the log is tried to be cut, how long each try waits for readers, and seconds in between:
# another checkpoint, under way, is not waited for.
_TRIES: Final = 10
_PATIENCE: Final = timedelta(milliseconds=200)
_PAUSE: Final = 0.1

# Up to this size a file is written anew while others want to write: they wait for a second at most.
_SMALL: Final = 32 * 1024 * 1024
_BLOCK: Final = 1024 * 1024


class SqliteErasure:
    """A `relay.spool.erasure.ErasureStore`; open as long as its spool is."""

    def __init__(self, writer: Writer, shared: Tables, health: StoreHealth, path: Path) -> None:
        self._writer = writer
        self._shared = shared
        self._health = health
        self._path = path

    async def erase(
        self, events: Sequence[str], refusals: Sequence[str], *, undelivered: bool
    ) -> tuple[str, ...]:
        step = partial(
            erase, shared=self._shared, ids=events, refusals=refusals, undelivered=undelivered
        )
        return await self._writer.run(step)

    async def finish(self, text: str) -> Traces:
        self._health.check()
        return await asyncio.to_thread(_finish, self._path, text.encode())


def _finish(path: Path, text: bytes) -> Traces:
    """Cut the log; where parts of a small file that are not used hold the text, write it anew."""
    try:
        with closing(database.open_writing(path, _PATIENCE)) as connection:
            if not _cut(connection):
                return Traces.LOG
            if not _holds(path, text):
                return Traces.NONE
            if path.stat().st_size > _SMALL:
                return Traces.FILE
            # Where it still stands then, it belongs to something else.
            connection.execute("VACUUM")
            return Traces.NONE if _cut(connection) else Traces.LOG
    except apsw.BusyError:
        return Traces.LOG
    except apsw.Error as error:
        raise database.unavailable(error) from error


def _cut(connection: apsw.Connection) -> bool:
    """Move the log into the database and cut it; return False while somebody reads for long."""
    for _ in range(_TRIES):
        with suppress(apsw.BusyError):
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            return True
        sleep(_PAUSE)
    return False


def _holds(path: Path, text: bytes) -> bool:
    """Return whether a file holds this text, in whatever part of it."""
    with path.open("rb") as file:
        before = b""
        while block := file.read(_BLOCK):
            if text in before + block:
                return True
            before = block[-len(text) :]
    return False
