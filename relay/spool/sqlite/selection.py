"""Which events a query means: what stands behind FROM and WHERE, and in which order."""

import re
from dataclasses import dataclass
from typing import Any, Final

import apsw
import orjson

from relay.core.event import Status
from relay.spool import Query
from relay.spool.sqlite import events
from relay.spool.sqlite.events import fetch
from relay.spool.sqlite.tables import STATES, Tables, numbers, read_names

_CONDITIONS: Final = {
    "ids": "events.id IN (SELECT value FROM json_each(:ids))",
    "endpoint": "events.endpoint = :endpoint",
    "seqs": "events.seq IN carray(:seqs)",
    "since": "events.received_at >= :since",
    "until": "events.received_at < :until",
}

_OF_KEY: Final = """
SELECT seq FROM events WHERE look = ?1 AND look IS NOT NULL AND flags < 256
UNION ALL SELECT seq FROM events WHERE look = ?1 AND flags >= 256
UNION ALL SELECT seq FROM events WHERE key_look = ?1 AND key_look IS NOT NULL
"""

# Where the events of a status lie that is not that of nearly all of them. A partial index is used
# only where its condition is spelled out.
_STOPPED: Final = "settled INDEXED BY settled_stopped"
_SOURCES: Final = {
    Status.PENDING: ("queue", "queue INDEXED BY queue_event", ""),
    Status.LEASED: ("inhand", "inhand", ""),
    Status.DEAD: ("settled", _STOPPED, " AND state = 3 AND state > 2"),
    Status.HELD: ("settled", _STOPPED, " AND state = 4 AND state > 2"),
    Status.TEST: ("settled", _STOPPED, " AND state = 5 AND state > 2"),
}


@dataclass(frozen=True, slots=True)
class Selection:
    """A query in SQL. `order` takes ASC or DESC."""

    source: str
    conditions: str
    order: str
    values: dict[str, Any]


def check(query: Query) -> None:
    """Return if this query is a proper one.

    Raises:
        ValueError: its limit is not positive, or `after` is not the `next` of a page.
    """
    if query.limit < 1:
        raise ValueError(f"a limit is at least 1, not {query.limit}")
    if query.after is not None:
        _position(query.after)


def narrows(query: Query) -> bool:
    """Return whether a query means fewer than all events."""
    given = (query.status, query.endpoint, query.key, query.since, query.until, query.after)
    return bool(query.ids) or any(value is not None for value in given)


def select(connection: apsw.Connection, shared: Tables, query: Query) -> Selection | None:
    """Return a query in SQL; None where there is nothing to be found.

    Events come by their time of receipt, so that a span of time is read in order and nothing else
    is; those of a status that few have, by the order in which they were stored.
    """
    values = _values(connection, shared, query)
    if values is None:
        return None
    conditions = [_CONDITIONS[name] for name in values]
    by_status = None if query.ids or query.key is not None else _SOURCES.get(query.status)  # type: ignore[arg-type]
    if by_status is not None:
        table, found, condition = by_status
        source, order = f"{found} CROSS JOIN events", f"{table}.seq {{0}}"
        conditions.append(f"{table}.seq = events.seq{condition}")
        after = f"{table}.seq < :after_seq"
    else:
        source, order = "events", "events.received_at {0}, events.seq {0}"
        after = "(events.received_at, events.seq) < (:after, :after_seq)"
        if query.status is not None:
            conditions.append(_has_status(query.status))
    if query.after is not None:
        conditions.append(after)
        received_at, seq = _position(query.after)
        values |= {"after_seq": seq} if by_status else {"after": received_at, "after_seq": seq}
    return Selection(source, " AND ".join(conditions) or "TRUE", order, values)


def _values(connection: apsw.Connection, shared: Tables, query: Query) -> dict[str, Any] | None:
    """Return the values of the conditions that a query has; None where one cannot be met."""
    names = read_names(connection)
    given: dict[str, Any] = {
        "ids": orjson.dumps(query.ids).decode() if query.ids else None,
        "since": None if query.since is None else events.micros(query.since),
        "until": None if query.until is None else events.micros(query.until),
    }
    if query.endpoint is not None:
        found = [number for number, name in names.items() if name == query.endpoint]
        if not found:
            return None
        given["endpoint"] = found[0]
    if query.key is not None:
        seqs = _of_key(connection, shared, [*names.values()], query.key)
        if not seqs:
            return None
        given["seqs"] = numbers(seqs)
    return {name: value for name, value in given.items() if value is not None}


def _of_key(
    connection: apsw.Connection, shared: Tables, endpoints: list[str], key: str
) -> list[int]:
    """Return the events of a key, of whatever endpoint."""
    try:
        looks = [shared.digests.look(name, key) for name in endpoints]
    except UnicodeEncodeError:
        return []
    return [seq for look in looks for (seq,) in fetch(connection, _OF_KEY, (look,))]


def _has_status(status: Status) -> str:
    if status is Status.PENDING:
        return "EXISTS (SELECT 1 FROM queue WHERE queue.seq = events.seq)"
    if status is Status.LEASED:
        return "events.seq IN (SELECT seq FROM inhand)"
    settled = "SELECT 1 FROM settled WHERE settled.seq = events.seq AND settled.state"
    return f"EXISTS ({settled} = {STATES[status]})"


def _position(after: str) -> tuple[int, int]:
    # As many digits as SQLite's integers surely hold.
    found = re.fullmatch(r"(-?[0-9]{1,18})-([0-9]{1,18})", after)
    if found is None:
        raise ValueError(f'"{after}" is not the `next` of a page')
    return int(found[1]), int(found[2])
