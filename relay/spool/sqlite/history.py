"""The statements behind looking at events: page, get and quarantine.

Which events a query means is here, too.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final

import apsw
import orjson

from relay.core.event import Event, Status
from relay.core.request import query_dropped
from relay.spool.erasure import ERASED
from relay.spool.history import Destination, Page, Query, Record, most_urgent
from relay.spool.sqlite import content, events, lanes
from relay.spool.sqlite.events import STATES, STATUSES, Tables, Tally, fetch, numbers, read_names
from relay.spool.sqlite.keyring import Keyring

# ---- reading --------------------------------------------------------------------------------

# History is shown even where it is damaged: text as bytes, since not all bytes are text.
RECORD: Final = (
    "events.seq, CAST(events.id AS BLOB), endpoint, received_at, flags,"
    " CAST(conflicts_with AS BLOB), CAST(head AS BLOB)"
)

_ONE: Final = f"SELECT {RECORD} FROM events WHERE id = ?"  # noqa: S608 - columns, no values

_EVENT: Final = f"""
SELECT {content.EVENT} FROM events WHERE id = ? AND (body IS NOT NULL OR flags & 64)
"""  # noqa: S608 - columns, no values

_DESTINATIONS: Final = """
SELECT seq, upstream, -2, attempts, due, NULL, CAST(last AS BLOB), NULL FROM queue
WHERE seq IN carray(?1)
UNION ALL
SELECT seq, upstream, -1, attempts, due, NULL, CAST(last AS BLOB), NULL FROM inhand
WHERE seq IN carray(?1)
UNION ALL
SELECT seq, upstream, state, attempts, NULL, iif(state = 5, NULL, at), CAST(outcome AS BLOB),
    CAST(reason AS BLOB)
FROM settled WHERE seq IN carray(?1)
"""


@dataclass(frozen=True, slots=True)
class Found:
    """An event, with its content if that is there and sound."""

    record: Record
    event: Event | None
    damaged: bool


def page(connection: apsw.Connection, shared: Tables, query: Query) -> Page:
    """Return one page of history.

    Raises:
        ValueError: `after` was not the `next` of a page, or the limit is not positive.
    """
    check(query)
    with connection:
        selected = select(connection, shared, query, proxied=query.status in (None, Status.PASSED))
        if selected is None:
            return Page((), None)
        statement = f"SELECT {RECORD} FROM {selected.source} WHERE {selected.conditions}"  # noqa: S608 - no values
        order = selected.order.format("DESC")
        # One more than asked for tells whether there is another page.
        rows = fetch(
            connection,
            f"{statement} ORDER BY {order} LIMIT :limit",
            selected.values | {"limit": query.limit + 1},
        )
        shown = rows[: query.limit]
        records = records_of(connection, shown)
    return page_of(records, rows)


def page_of(records: tuple[Record, ...], rows: Sequence[events.Row]) -> Page:
    """Return a page of the first of these rows, of which one more was read if there is one."""
    if len(rows) == len(records) or not records:
        return Page(records, None)
    last = records[-1]
    return Page(records, f"{events.micros(last.received_at)}-{rows[len(records) - 1][0]}")


def get(connection: apsw.Connection, keyring: Keyring, event_id: str) -> Found | None:
    """Return one event, or None when there is none of this id."""
    with connection:
        rows = fetch(connection, _ONE, (event_id,))
        if not rows:
            return None
        [record] = records_of(connection, rows)
        names = read_names(connection)
        kept = fetch(connection, _EVENT, (event_id,)) if record.removed != ERASED else []
        find, event = partial(keyring.find, connection), None
        for *row, body in kept:
            upstream = next((n for n, name in names.items() if name == record.upstream), None)
            # What is left of one whose content was removed for good has an empty body.
            event = content.event((*row, body or b""), names, upstream, find)
    damaged = bool(kept) and event is None
    record = replace(record, damaged=record.damaged or damaged)
    if kept and kept[0][-1] is None:
        return Found(replace(record, remainder=event), None, damaged)
    return Found(record, event, damaged)


def records_of(connection: apsw.Connection, rows: Sequence[events.Row]) -> tuple[Record, ...]:
    """Return the history in rows of the columns `RECORD`."""
    if not rows:
        return ()
    names = read_names(connection)
    found: dict[int, list[events.Row]] = {row[0]: [] for row in rows}
    for seq, *rest in fetch(connection, _DESTINATIONS, (numbers(found),)):
        found[seq].append(tuple(rest))
    return tuple(_record(row, found[row[0]], names) for row in rows)


def _record(row: events.Row, found: Sequence[events.Row], names: Mapping[int, str]) -> Record:
    _, event_id, endpoint, received_at, stored_flags, conflicts_with, raw = row
    head, flags = events.parse_head(raw), events.number_of(stored_flags)
    wanted = events.upstreams_in(head)
    removed = _optional(head, events.KEEP) if flags & events.REMOVED else None
    # One that was erased before it was delivered goes nowhere, and nothing is to be done for it.
    destinations = _destinations(found, names, wanted, whole=removed == ERASED)
    urgent = most_urgent(destinations) or _NOWHERE
    return Record(
        id=events.text_of(event_id),
        endpoint=names.get(endpoint, str(head[events.ENDPOINT])),
        provider=str(head[events.PROVIDER]),
        status=urgent.status,
        key=str(head[events.KEY]),
        subject=None if head[events.SUBJECT] is None else str(head[events.SUBJECT]),
        received_at=events.moment(received_at),
        attempts=sum(each.attempts for each in destinations),
        upstream=next((each.upstream for each in destinations), next(iter(wanted), None)),
        due_at=urgent.due_at,
        settled_at=urgent.settled_at,
        last_outcome=urgent.last_outcome,
        conflicts_with=None if conflicts_with is None else events.text_of(conflicts_with),
        out_of_order=bool(flags & events.OUT_OF_ORDER),
        client=str(head[events.CLIENT]),
        reconciled=bool(flags & events.RECONCILED),
        damaged=any(_is_damaged(each) for each in destinations),
        reason=urgent.reason,
        repeats=_optional(head, events.REPEATS),
        query_dropped=query_dropped(str(head[events.SUFFIX])),
        destinations=destinations,
        references=_references(head[events.REFERENCES]),
        removed=removed,
    )


_DAMAGED: Final = "corrupt"

#: What has become of an event that has no destination.
_NOWHERE: Final = Destination("", Status.DELIVERED, 0)


def _destinations(
    found: Sequence[events.Row], names: Mapping[int, str], wanted: Sequence[str], *, whole: bool
) -> tuple[Destination, ...]:
    """Return these destinations: those that it came for in their order, then the others.

    whole: there are no more. Otherwise what fewer are found than were wanted has been lost: where
    it lay is damaged, and no statement finds it any more.
    """
    made = [
        Destination(
            upstream=names.get(upstream, ""),
            status=STATUSES.get(state, Status.DEAD),
            attempts=events.number_of(attempts),
            due_at=None if due_at is None else events.moment(due_at),
            settled_at=None if settled_at is None else events.moment(settled_at),
            last_outcome=None if outcome is None else events.text_of(outcome),
            reason=None if reason is None else events.text_of(reason),
        )
        for upstream, state, attempts, due_at, settled_at, outcome, reason in found
    ]
    if not whole and len(made) < len(wanted):
        there = {each.upstream for each in made}
        lost = [name for name in wanted if name not in there]
        made += [Destination(name, Status.DEAD, 0, last_outcome=_DAMAGED) for name in lost]
    places = {name: place for place, name in reversed(list(enumerate(wanted)))}
    return tuple(sorted(made, key=lambda each: places.get(each.upstream, len(places))))


def _is_damaged(destination: Destination) -> bool:
    return destination.status is Status.DEAD and destination.last_outcome == _DAMAGED


def _optional(head: Sequence[object], part: int) -> str | None:
    """Return what a head has in a place that few have filled."""
    return None if len(head) <= part or head[part] is None else str(head[part])


def _references(stored: object) -> tuple[tuple[str, str], ...]:
    """Return references as they stand in a head, as far as they can be read."""
    rows = stored if isinstance(stored, list) else []
    return tuple((str(row[0]), str(row[1])) for row in rows if isinstance(row, list) and row[1:])


# ---- quarantine -----------------------------------------------------------------------------

_SEQ: Final = "SELECT seq, endpoint FROM events WHERE id = ?"

_TAKE_QUEUED: Final = """
DELETE FROM queue WHERE seq = ? RETURNING upstream, attempts, earlier, lane
"""

_TAKE_STOPPED: Final = """
DELETE FROM settled WHERE seq = ? AND state IN (3, 4) RETURNING upstream, attempts, earlier, state
"""

_CORRUPT: Final = "INSERT INTO settled VALUES (?,?,3,?,?,?,NULL,'corrupt',NULL)"


def quarantine(connection: apsw.Connection, event_id: str, now: datetime) -> None:
    """Take a damaged event out of delivery. One that is delivered, or being tried, stays so."""
    tally, time = Tally(), events.micros(now)
    with connection:
        for seq, endpoint in fetch(connection, _SEQ, (event_id,)):
            for upstream, attempts, earlier, lane in fetch(connection, _TAKE_QUEUED, (seq,)):
                connection.execute(_CORRUPT, (seq, upstream, time, attempts, earlier))
                tally.move(endpoint, events.PENDING, events.DEAD)
                lanes.advance(connection, upstream, [lane])
            for upstream, attempts, earlier, state in fetch(connection, _TAKE_STOPPED, (seq,)):
                connection.execute(_CORRUPT, (seq, upstream, time, attempts, earlier))
                tally.move(endpoint, state, events.DEAD)
        tally.write(connection)


# ---- which events a query means -------------------------------------------------------------

CONDITIONS: Final = {
    "ids": "events.id IN (SELECT value FROM json_each(:ids))",
    "endpoint": "events.endpoint = :endpoint",
    "seqs": "events.seq IN carray(:seqs)",
    "since": "events.received_at >= :since",
    "until": "events.received_at < :until",
}

_OF_KEY: Final = """
SELECT seq FROM events WHERE look = ?1 AND look IS NOT NULL AND flags < 256
UNION ALL SELECT seq FROM events WHERE key_look = ?1 AND key_look IS NOT NULL
"""

# Reads the index as a whole: a million of them take some 50 ms.
_PROXIED_OF_KEY: Final = """
SELECT seq FROM events INDEXED BY events_proxied WHERE flags >= 256 AND look IN ({})
"""

# Where the events of a status lie that is not that of nearly all of them. A partial index is used
# only where its condition is spelled out.
_STOPPED: Final = "settled INDEXED BY settled_stopped"
SOURCES: Final = {
    Status.PENDING: ("queue", "queue INDEXED BY queue_event", ""),
    Status.LEASED: ("inhand", "inhand", ""),
    Status.DEAD: ("settled", _STOPPED, " AND state = 3 AND state > 2"),
    Status.HELD: ("settled", _STOPPED, " AND state = 4 AND state > 2"),
    Status.TEST: ("settled", _STOPPED, " AND state = 5 AND state > 2"),
}


# Of several destinations of an event that lie there, the first stands for it. What is in hand is
# little, and in no order of its own.
_FIRST_QUEUED: Final = """
NOT EXISTS (SELECT 1 FROM queue AS other
    WHERE other.seq = queue.seq AND other.upstream < queue.upstream)
"""
_FIRST_STOPPED: Final = """
NOT EXISTS (SELECT 1 FROM settled AS other WHERE other.seq = settled.seq
    AND other.upstream < settled.upstream AND other.state = settled.state)
"""
_ONCE: Final = {"queue": _FIRST_QUEUED, "settled": _FIRST_STOPPED, "inhand": "TRUE"}
_EACH_IN_HAND: Final = "(SELECT DISTINCT seq FROM inhand) AS inhand"

# What has no destination, since its routes lead nowhere or it was erased, counts as delivered.
_GOES_NOWHERE: Final = """
NOT EXISTS (SELECT 1 FROM settled WHERE settled.seq = events.seq)
AND NOT EXISTS (SELECT 1 FROM queue WHERE queue.seq = events.seq)
AND events.seq NOT IN (SELECT seq FROM inhand)
AND CASE WHEN flags & 64 THEN 1 WHEN json_valid(CAST(head AS TEXT))
    THEN json_array_length(CAST(head AS TEXT), '$[1]') = 0 ELSE 0 END
"""


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
        position(query.after)


def narrows(query: Query) -> bool:
    """Return whether a query means fewer than all events."""
    given = (query.status, query.endpoint, query.key, query.find, query.upstream)
    bounds = (query.since, query.until, query.after)
    return bool(query.ids) or any(value is not None for value in (*given, *bounds))


def select(
    connection: apsw.Connection, shared: Tables, query: Query, *, proxied: bool
) -> Selection | None:
    """Return a query in SQL; None where there is nothing to be found.

    proxied: whether deliveries that were proxied are looked for by their key.

    Events come by their time of receipt, so that a span of time is read in order and nothing else
    is; those of a status that few have, by the order in which they were stored.
    """
    values = values_of(connection, shared, query, proxied=proxied)
    if values is None:
        return None
    if "seqs" in values:
        values["seqs"] = numbers(values["seqs"])
    conditions = [CONDITIONS[name] for name in values]
    by_status = None if query.ids or query.key is not None else SOURCES.get(query.status)  # type: ignore[arg-type]
    if by_status is not None:
        table, found, condition = by_status
        found = _EACH_IN_HAND if table == "inhand" else found
        source, order = f"{found} CROSS JOIN events", f"{table}.seq {{0}}"
        conditions += [f"{table}.seq = events.seq{condition}", _ONCE[table]]
        after = f"{table}.seq < :after_seq"
    else:
        source, order = "events", "events.received_at {0}, events.seq {0}"
        after = "(events.received_at, events.seq) < (:after, :after_seq)"
        if query.status is not None:
            conditions.append(has_status(query.status))
    if query.after is not None:
        conditions.append(after)
        received_at, seq = position(query.after)
        values |= {"after_seq": seq} if by_status else {"after": received_at, "after_seq": seq}
    return Selection(source, " AND ".join(conditions) or "TRUE", order, values)


def values_of(
    connection: apsw.Connection, shared: Tables, query: Query, *, proxied: bool
) -> dict[str, Any] | None:
    """Return the values of the conditions that a query has, with the numbers of events in a list.

    None where one cannot be met.
    """
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
        seqs = of_key(connection, shared, [*names.values()], query.key, proxied=proxied)
        if not seqs:
            return None
        given["seqs"] = seqs
    return {name: value for name, value in given.items() if value is not None}


def of_key(
    connection: apsw.Connection,
    shared: Tables,
    endpoints: list[str],
    key: str,
    *,
    proxied: bool,
) -> list[int]:
    """Return the events of a key, of whatever endpoint."""
    try:
        looks = [shared.digests.look(name, key) for name in endpoints]
    except UnicodeEncodeError:
        return []
    found = [row for look in looks for row in fetch(connection, _OF_KEY, (look,))]
    if proxied and looks:
        found += fetch(connection, _PROXIED_OF_KEY.format(",".join("?" * len(looks))), looks)
    return [seq for (seq,) in found]


def has_status(status: Status) -> str:
    if status is Status.PENDING:
        return "EXISTS (SELECT 1 FROM queue WHERE queue.seq = events.seq)"
    if status is Status.LEASED:
        return "events.seq IN (SELECT seq FROM inhand)"
    settled = "SELECT 1 FROM settled WHERE settled.seq = events.seq AND settled.state"
    found = f"EXISTS ({settled} = {STATES[status]})"
    return f"({found} OR ({_GOES_NOWHERE}))" if status is Status.DELIVERED else found


def position(after: str) -> tuple[int, int]:
    # As many digits as SQLite's integers surely hold.
    found = re.fullmatch(r"(-?[0-9]{1,18})-([0-9]{1,18})", after)
    if found is None:
        raise ValueError(f'"{after}" is not the `next` of a page')
    return int(found[1]), int(found[2])
