"""SQL statements of history and upkeep: page, get, requeue, prune, stats, integrity check."""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import apsw
import orjson

from relay.core.event import Event, Status
from relay.spool import Page, Query, Record, SpoolStats
from relay.spool.sqlite import disk, events
from relay.spool.sqlite.database import unavailable

# ---- reading and requeueing -----------------------------------------------------------------

# Newest first by the time of receipt, so that a span of time is read in order and nothing else is.
_PAGE: Final = f"""
SELECT {events.RECORD}, seq FROM events WHERE {{conditions}}
ORDER BY received_at DESC, seq DESC LIMIT :limit
"""  # noqa: S608 - columns, no values

_RECORD: Final = f"SELECT {events.RECORD} FROM events WHERE id = :id"  # noqa: S608 - columns

_EVENT: Final = f"""
SELECT {events.EVENT} FROM events WHERE id = :id AND body IS NOT NULL
"""  # noqa: S608 - columns, no values

_REQUEUE: Final = """
UPDATE events
SET status = 'pending', place = 'ready', due_at = :now, since = :now, settled_at = NULL,
    earlier_attempts = attempts
WHERE seq IN (
    SELECT seq FROM events
    WHERE {conditions} AND status IN ('delivered', 'dead', 'held') AND body IS NOT NULL
    ORDER BY received_at, seq LIMIT :limit
)
RETURNING seq, id, upstream
"""

_CONDITIONS: Final = {
    "ids": "id IN (SELECT value FROM json_each(:ids))",
    "endpoint": "endpoint = :endpoint",
    "key": "key = :key",
    "since": "received_at >= :since",
    "until": "received_at < :until",
    "after": "(received_at, seq) < (:after, :after_seq)",
}

# What `events_status` holds: what has been delivered or passed on is nearly all there is, and is
# found by its time of receipt.
_UNSETTLED: Final = (Status.PENDING, Status.DEAD, Status.HELD, Status.TEST)
_INDEXED: Final = "status IN ('pending', 'dead', 'held', 'test')"

_QUARANTINE: Final = """
UPDATE events
SET status = 'dead', place = NULL, due_at = NULL, settled_at = :now, last_outcome = 'corrupt'
WHERE id = :id AND status IN ('pending', 'held', 'dead')
"""


@dataclass(frozen=True, slots=True)
class Found:
    """An event, with its content unless that is pruned or damaged."""

    record: Record
    event: Event | None
    damaged: bool


def page(connection: apsw.Connection, query: Query) -> Page:
    """Return one page of history.

    Raises:
        ValueError: `after` was not the `next` of a page, or the limit is not positive.
    """
    conditions, values = _conditions(query)
    # One more than asked for tells whether there is another page.
    statement = _PAGE.format(conditions=conditions)
    found = events.fetch(connection, statement, values | {"limit": query.limit + 1})
    shown = found[: query.limit]
    records = tuple(events.record(row[:-1]) for row in shown)
    if len(found) == len(shown) or not shown:
        return Page(records, None)
    return Page(records, f"{events.micros(records[-1].received_at)}-{shown[-1][-1]}")


def get(connection: apsw.Connection, event_id: str) -> Found | None:
    """Return one event, or None when there is none of this id."""
    with connection:
        recorded = events.fetch(connection, _RECORD, {"id": event_id})
        try:
            kept = events.fetch(connection, _EVENT, {"id": event_id})
            event = events.event(kept[0]) if kept else None
        except UnicodeDecodeError:
            kept, event = [()], None
    for row in recorded:
        return Found(events.record(row), event, damaged=bool(kept) and event is None)
    return None


def quarantine(connection: apsw.Connection, event_id: str, now: datetime) -> None:
    """Make a damaged event dead. One that is delivered or leased stays as it is."""
    connection.execute(_QUARANTINE, {"id": event_id, "now": events.micros(now)})


def requeue(connection: apsw.Connection, query: Query, now: datetime) -> list[tuple[str, str]]:
    """Make events due again, the oldest first; return their ids and upstreams.

    Raises:
        ValueError: the query has neither ids nor a filter, or a limit that is not positive.
    """
    conditions, values = _conditions(query)
    if not values:
        raise ValueError("requeue needs ids or a filter; nothing was requeued")
    statement = _REQUEUE.format(conditions=conditions)
    values |= {"limit": query.limit, "now": events.micros(now)}
    found = events.fetch(connection, statement, values)
    return [(event_id, upstream) for _, event_id, upstream in sorted(found)]


def _conditions(query: Query) -> tuple[str, events.Parameters]:
    """Return the conditions of a query as SQL, and their values; none when it has no filter."""
    if query.limit < 1:
        raise ValueError(f"a limit is at least 1, not {query.limit}")
    given = {
        "ids": orjson.dumps(query.ids).decode() if query.ids else None,
        "status": query.status,
        "endpoint": query.endpoint,
        "key": query.key,
        "since": None if query.since is None else events.micros(query.since),
        "until": None if query.until is None else events.micros(query.until),
    }
    values: events.Parameters = {name: value for name, value in given.items() if value is not None}
    if query.after is not None:
        values |= _position(query.after)
    conditions = [_CONDITIONS[name] for name in values if name in _CONDITIONS]
    if query.status is not None:
        conditions.append(_of_status(query.status))
    return " AND ".join(conditions) or "TRUE", values


def _of_status(status: Status) -> str:
    # Spelled out as the index of these statuses is: a partial one is used for nothing else.
    indexed = f"{_INDEXED} AND " if status in _UNSETTLED else ""
    return f"{indexed}status = '{status.value}'"


def _position(after: str) -> events.Parameters:
    # As many digits as SQLite's integers surely hold.
    found = re.fullmatch(r"(-?[0-9]{1,18})-([0-9]{1,18})", after)
    if found is None:
        raise ValueError(f'"{after}" is not the `next` of a page')
    return {"after": int(found[1]), "after_seq": int(found[2])}


# ---- pruning and counting -------------------------------------------------------------------

_BODIES: Final = """
UPDATE events SET body = NULL
WHERE seq IN (
    SELECT seq FROM events INDEXED BY events_body
    WHERE body IS NOT NULL AND status IN ('delivered', 'passed', 'test') AND received_at < :before
    ORDER BY received_at LIMIT :limit
)
"""

_RECORDS: Final = """
DELETE FROM events
WHERE seq IN (
    SELECT seq FROM events INDEXED BY events_settled
    WHERE status IN ('delivered', 'passed', 'test') AND received_at < :before
    ORDER BY received_at LIMIT :limit
)
"""

_PROBE: Final = "INSERT OR REPLACE INTO probe (one, filler) VALUES (1, zeroblob(16384))"

_FINDINGS: Final = 20

# Everything but whether each index holds what its table does, which takes several times as long.
_INSPECT: Final = f"PRAGMA quick_check({_FINDINGS})"

_TALLIES: Final = "SELECT endpoint, status, events FROM tallies WHERE events > 0"

_OLDEST: Final = """
SELECT oldest.upstream, events.received_at
FROM (
    SELECT upstream, min(seq) AS seq FROM events INDEXED BY events_lane
    WHERE status IN ('pending', 'leased') GROUP BY upstream
) AS oldest JOIN events USING (seq)
"""


def prune(
    connection: apsw.Connection, bodies_before: datetime, keys_before: datetime, limit: int
) -> int:
    """Remove records, then bodies, of settled events; return how many events were changed."""
    with connection:
        connection.execute(_RECORDS, {"before": events.micros(keys_before), "limit": limit})
        removed = connection.changes()
        connection.execute(_BODIES, {"before": events.micros(bodies_before), "limit": limit})
        emptied = connection.changes()
    return removed + emptied


def probe(connection: apsw.Connection) -> None:
    """Write as much as a large delivery needs, into a table of its own."""
    connection.execute(_PROBE)


def check_integrity(connection: apsw.Connection) -> tuple[str, ...]:
    """Return what SQLite finds wrong with the file, at most `_FINDINGS` lines.

    Raises:
        SpoolUnavailable: it could not be checked.
    """
    try:
        found = [str(line) for (line,) in events.fetch(connection, _INSPECT, ())]
    except apsw.Error as error:
        if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
            return (str(error),)
        raise unavailable(error) from error
    return () if found == ["ok"] else tuple(found)


def stats(connection: apsw.Connection, path: Path) -> SpoolStats:
    """Return counts and sizes."""
    with connection:
        tallies = events.fetch(connection, _TALLIES, ())
        oldest = events.fetch(connection, _OLDEST, ())
    return SpoolStats(
        events={(endpoint, Status(status)): number for endpoint, status, number in tallies},
        oldest_pending={upstream: events.moment(time) for upstream, time in oldest},
        size=disk.size(path),
        free=disk.free(path),
    )
