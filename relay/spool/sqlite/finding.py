"""Finding events by what a person has in hand: a reference, an event id or a key; by upstream.

Where few events are meant, all of them are looked up, and the other filters are asked of each.
Where many are, since everything begins alike, events are taken in the order of their numbers, from
one end, a span at a time, until the page is full: the parts of the index are such spans
(`references`), and what is not in it yet is looked at one by one. Where another filter leaves few,
each of those is looked at instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import apsw
import orjson

from relay.core.event import Status
from relay.spool.history import Page, Query
from relay.spool.sqlite import events, history
from relay.spool.sqlite.events import STATES, Row, Tables, fetch, numbers
from relay.spool.sqlite.references import PARTS

# ---- what is looked for ---------------------------------------------------------------------

#: The letters that a beginning of a reference has at least; a shorter text is a whole one.
MIN_BEGINNING: Final = 4

#: Up to how many events count as few: they are looked at one by one.
_FEW: Final = 2000
_FEW_TO_LOOK_AT: Final = 20_000

#: Events that are not in the index and are looked at together.
_SPAN: Final = 2048

#: Spans that are looked through for ids before it is asked where such ids are.
_SPANS_AT_LEAST: Final = 2

#: No longer text is looked for: it is no reference, no id and no key.
_LONGEST: Final = 64 * 1024

# A text is compared byte by byte, so that nothing in it means anything.
_IN_INDEX: Final = "text >= CAST(:first AS TEXT) AND text < CAST(:behind AS TEXT)"

# The first look at a head costs little and finds nearly all that the second one does.
_IN_HEAD: Final = """
CASE WHEN instr(head, :needle) AND json_valid(CAST(head AS TEXT)) THEN EXISTS (
    SELECT 1 FROM json_each(CAST(head AS TEXT), '$[11]') AS named
    WHERE iif(named.type = 'array', json_extract(named.value, '$[1]'), NULL)
            >= CAST(:first AS TEXT)
        AND iif(named.type = 'array', json_extract(named.value, '$[1]'), NULL)
            < CAST(:behind AS TEXT)
) ELSE 0 END
"""

_BY_ID: Final = "events.id >= CAST(:id AS TEXT) AND events.id < CAST(:behind_id AS TEXT)"

_PARTS_HIT: Final = f"""
SELECT seq FROM ({PARTS}) AS whole CROSS JOIN refs ON refs.part = whole.part AND {_IN_INDEX}
LIMIT :limit
"""  # noqa: S608 - no values

_TAIL_HIT: Final = f"""
SELECT seq FROM events WHERE seq > (SELECT seq FROM refs_to) AND {_IN_HEAD} LIMIT :limit
"""  # noqa: S608 - no values

_IDS_HIT: Final = f"SELECT seq FROM events WHERE {_BY_ID} LIMIT :limit"  # noqa: S608 - no values

_IN_PART: Final = f"SELECT DISTINCT seq FROM refs WHERE part = :part AND {_IN_INDEX}"  # noqa: S608 - no values

_IN_TAIL: Final = f"""
SELECT seq FROM events WHERE seq > :low AND seq <= :high AND {_IN_HEAD}
"""  # noqa: S608 - no values

# The plus keeps it from reading every id that begins so.
_IDS_BETWEEN: Final = """
SELECT seq FROM events WHERE seq > :low AND seq <= :high
    AND +id >= CAST(:id AS TEXT) AND +id < CAST(:behind_id AS TEXT)
"""

_ENDS_OF_IDS: Final = f"SELECT min(seq), max(seq) FROM events WHERE {_BY_ID}"  # noqa: S608 - no values


_IDS_STARTING: Final = f"SELECT id FROM events WHERE {_BY_ID} ORDER BY id LIMIT :limit"  # noqa: S608 - no values


class Needle:
    """A text that is looked for, as the values of the statements above."""

    def __init__(self, text: str) -> None:
        """Take it.

        Raises:
            UnicodeEncodeError: it is no text that could be stored.
        """
        raw = text.encode()
        is_beginning = len(text) >= MIN_BEGINNING
        quoted = orjson.dumps(text)
        #: Of the index, and of heads.
        self.text: Final[dict[str, Any]] = {
            "first": raw,
            # No text holds this byte; a whole one ends before any that goes on.
            "behind": raw + (b"\xff" if is_beginning else b"\0"),
        }
        self.head: Final = self.text | {"needle": quoted[:-1] if is_beginning else quoted}
        self.id: Final[dict[str, Any]] = {"id": raw, "behind_id": raw + b"\xff"}


@dataclass(frozen=True, slots=True)
class Sought:
    """Which events are looked for.

    few: their numbers, where they are few; else the needle decides, or it is one of the others.
    by_id: many ids begin like this.
    """

    needle: Needle
    few: frozenset[int] | None
    others: frozenset[int] = frozenset()
    by_id: bool = False


def seek(connection: apsw.Connection, shared: Tables, text: str, *, proxied: bool) -> Sought | None:
    """Return what is looked for by this text; None where nothing can be found."""
    if not text or len(text) > _LONGEST:
        return None
    try:
        needle = Needle(text)
    except UnicodeEncodeError:
        return None
    limit = {"limit": _FEW + 1}
    named = _hits(connection, _PARTS_HIT, needle.text | limit)
    if len(named) <= _FEW:
        named |= _hits(connection, _TAIL_HIT, needle.head | limit)
    ids = _hits(connection, _IDS_HIT, needle.id | limit)
    names = [*events.read_names(connection).values()]
    keys = frozenset(history.of_key(connection, shared, names, text, proxied=proxied))
    if len(named) <= _FEW and len(ids) <= _FEW:
        return Sought(needle, named | ids | keys)
    if len(ids) <= _FEW:
        return Sought(needle, None, keys | ids)
    return Sought(needle, None, keys, by_id=True)


def _hits(connection: apsw.Connection, statement: str, values: Mapping[str, Any]) -> frozenset[int]:
    return frozenset(seq for (seq,) in fetch(connection, statement, values))


def starting_with(connection: apsw.Connection, beginning: str, limit: int) -> tuple[str, ...]:
    """Return up to `limit` ids of events that begin like this, in their order."""
    try:
        sought = Needle(beginning).id | {"limit": limit}
    except UnicodeEncodeError:
        return ()
    return tuple(event_id for (event_id,) in fetch(connection, _IDS_STARTING, sought))


def bound(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as they are bound: a list of numbers can be bound once, and not without any."""
    return {
        name: numbers(value or [0]) if isinstance(value, list) else value
        for name, value in values.items()
    }


# ---- events in the order of their numbers, a span at a time -------------------------------------


@dataclass(frozen=True, slots=True)
class Way:
    """Between which numbers to go, both exclusive, and from which end."""

    above: int
    below: int
    ascending: bool = False

    def order(self, seqs: Sequence[int] | frozenset[int] | set[int]) -> list[int]:
        """Return those of these numbers that lie on it, in its order."""
        on_it = [seq for seq in seqs if self.above < seq < self.below]
        return sorted(on_it, reverse=not self.ascending)


def _sought(connection: apsw.Connection, sought: Sought, way: Way) -> Iterator[list[int]]:
    """Yield the numbers of what is looked for, in order."""
    if sought.few is not None:
        yield way.order(sought.few)
        return
    ids: tuple[int, int] | None = (0, way.below) if sought.by_id else None
    for number, (first, last, part) in enumerate(_spans(connection, way)):
        low, high = max(first, way.above), min(last, way.below - 1)
        if low >= high:
            continue
        found = {seq for seq in sought.others if low < seq <= high}
        span = {"low": low, "high": high}
        if part is not None:
            found |= _hits(connection, _IN_PART, sought.needle.text | {"part": part})
        else:
            found |= _hits(connection, _IN_TAIL, sought.needle.head | span)
        if sought.by_id and number == _SPANS_AT_LEAST:
            # Asked when the first ones have not been enough: it reads the index from end to end.
            [ids] = fetch(connection, _ENDS_OF_IDS, sought.needle.id)
        if ids is not None and ids[0] <= high and ids[1] > low:
            found |= _hits(connection, _IDS_BETWEEN, sought.needle.id | span)
        yield way.order(found)


def _spans(connection: apsw.Connection, way: Way) -> list[tuple[int, int, int | None]]:
    """Return spans of numbers, above the first to the last one, each with its part, in order."""
    parts = [part for (part,) in fetch(connection, PARTS)]
    [(filled,)] = fetch(connection, "SELECT seq FROM refs_to")
    [(newest,)] = fetch(connection, "SELECT ifnull(max(seq), 0) FROM events")
    # Events that have no references, or whose part is gone, may have an id.
    parts = [*dict.fromkeys([*parts, filled])]
    spans: list[tuple[int, int, int | None]] = [*zip([0, *parts], parts, parts, strict=False)]
    spans += [(low, min(low + _SPAN, newest), None) for low in range(filled, newest, _SPAN)]
    return spans if way.ascending else spans[::-1]


# Where an upstream's events lie, by number.
_SETTLED: Final = "SELECT seq FROM settled WHERE upstream = :upstream{} AND {}"
_QUEUED: Final = "SELECT seq FROM queue INDEXED BY queue_event WHERE upstream = :upstream AND {}"
_INHAND: Final = "SELECT seq FROM inhand WHERE upstream = :upstream AND {}"
_STOPPED: Final = (
    "SELECT seq FROM settled INDEXED BY settled_stopped"
    " WHERE upstream = :upstream AND state = {} AND state > 2 AND {{}}"
)
_AT_ONCE: Final = 1000


def _at_upstream(
    connection: apsw.Connection, upstream: int, status: Status | None, way: Way
) -> Iterator[list[int]]:
    """Yield the numbers of events with a destination there that has this status, in order."""
    between = "seq > :above AND seq < :below"
    if status is None:
        tables = [_SETTLED.format("", between), _QUEUED.format(between), _INHAND.format(between)]
    elif status is Status.PENDING:
        tables = [_QUEUED.format(between)]
    elif status is Status.LEASED:
        tables = [_INHAND.format(between)]
    elif status in {Status.DELIVERED, Status.PASSED}:
        tables = [_SETTLED.format(f" AND state = {STATES[status]}", between)]
    else:
        tables = [_STOPPED.format(STATES[status]).format(between)]
    order = "ASC" if way.ascending else "DESC"
    each = [
        f"SELECT * FROM ({table} ORDER BY seq {order} LIMIT :limit)"  # noqa: S608 - no values
        for table in tables
    ]
    statement = f"{' UNION '.join(each)} ORDER BY 1 {order} LIMIT :limit"
    above, below = way.above, way.below
    while True:
        values = {"upstream": upstream, "above": above, "below": below, "limit": _AT_ONCE}
        seqs = [seq for (seq,) in fetch(connection, statement, values)]
        if seqs:
            yield seqs
        if len(seqs) < _AT_ONCE:
            return
        above, below = (seqs[-1], below) if way.ascending else (above, seqs[-1])


# ---- the events of a query ------------------------------------------------------------------

#: Events of a span that are asked for the other filters together: first few, then more.
_FIRST_ASKED, _MOST_ASKED = 200, 4000

_LOOKED_AT: Final = "({} OR events.seq IN carray(:others){})"

_OF_STATUS: Final = "SELECT total(deliveries) FROM tallies WHERE status = ?"
_OF_ENDPOINT: Final = "SELECT total(deliveries) FROM tallies WHERE endpoint = ?"

_TIMES: Final = """
SELECT min(seq), max(seq) FROM events INDEXED BY events_received
WHERE received_at >= ?1 AND received_at < ?2
"""


def page(connection: apsw.Connection, shared: Tables, query: Query) -> Page:
    """Return one page of what is found, the newest first.

    Raises:
        ValueError: as `history.page`.
    """
    history.check(query)
    with connection:
        found = rows(
            connection,
            shared,
            query,
            history.RECORD,
            limit=query.limit + 1,
            proxied=query.status in {None, Status.PASSED},
        )
        records = history.records_of(connection, found[: query.limit])
    return history.page_of(records, found)


def is_for(query: Query) -> bool:
    """Return whether a query is answered here."""
    return query.find is not None or query.upstream is not None


def rows(
    connection: apsw.Connection,
    shared: Tables,
    query: Query,
    columns: str,
    *,
    limit: int,
    proxied: bool,
    also: str = "",
    values: Mapping[str, Any] = {},
    ascending: bool = False,
) -> list[Row]:
    """Return these columns of up to `limit` events of a query, the newest first, or the oldest.

    also, values: another condition, and what is bound to it.
    """
    given = history.values_of(connection, shared, query, proxied=proxied)
    if given is None:
        return []
    upstream = _upstream(connection, query)
    if query.upstream is not None and upstream is None:
        return []
    sought = None
    if query.find is not None:
        sought = seek(connection, shared, query.find, proxied=proxied)
        if sought is None:
            return []
    conditions = [history.CONDITIONS[name] for name in given]
    conditions += [f"({also})"] if also else []
    status = _has(query.status, upstream)
    after = None if query.after is None else history.position(query.after)[1]
    way = Way(0, 2**62 if after is None else after, ascending)
    binding = {**given, **values} | ({} if upstream is None else {"upstream": upstream})
    asked = _Asked(connection, columns, binding, limit, way)
    if sought is None:
        assert upstream is not None  # noqa: S101 - `is_for`
        return asked.of(_at_upstream(connection, upstream, query.status, way), conditions)
    if status is not None:
        conditions.append(status)
    if sought.few is None:
        source = _few(connection, query, given, upstream)
        if source is not None:
            return asked.looking(sought, source, conditions)
        if query.since is not None or query.until is not None:
            asked.way = _within(connection, given, way)
    return asked.of(_sought(connection, sought, asked.way), conditions)


@dataclass(slots=True)
class _Asked:
    """How events are asked for the other filters."""

    connection: apsw.Connection
    columns: str
    values: dict[str, Any]
    limit: int
    way: Way

    def of(self, spans: Iterator[list[int]], conditions: Sequence[str]) -> list[Row]:
        """Return the rows of the numbers that meet the conditions, until there are enough."""
        found: list[Row] = []
        size = _FIRST_ASKED
        where = " AND ".join(("events.seq IN carray(:span)", *conditions))
        for seqs in spans:
            at = 0
            while at < len(seqs):
                some, at = seqs[at : at + size], at + size
                size = min(2 * size, _MOST_ASKED)
                found += self._fetch("events", where, {"span": some}, len(found))
                if len(found) >= self.limit:
                    return found
        return found

    def looking(self, sought: Sought, source: str, conditions: Sequence[str]) -> list[Row]:
        """Return the rows of few events that meet the conditions, and what is looked for."""
        needle = sought.needle
        looked_at = _LOOKED_AT.format(_IN_HEAD, f" OR {_BY_ID}" if sought.by_id else "")
        between = "events.seq > :above AND events.seq < :below"
        values = {
            **needle.head,
            **(needle.id if sought.by_id else {}),
            "others": [*sought.others],
            "above": self.way.above,
            "below": self.way.below,
        }
        where = " AND ".join((between, *conditions, looked_at))
        return self._fetch(source, where, values, 0)

    def _fetch(self, source: str, where: str, values: Mapping[str, Any], found: int) -> list[Row]:
        order = "ASC" if self.way.ascending else "DESC"
        statement = (
            f"SELECT {self.columns} FROM {source} WHERE {where}"  # noqa: S608 - no values
            f" ORDER BY events.seq {order} LIMIT :limit"
        )
        given = self.values | dict(values) | {"limit": self.limit - found}
        return fetch(self.connection, statement, bound(given))


def _few(
    connection: apsw.Connection, query: Query, given: Mapping[str, Any], upstream: int | None
) -> str | None:
    """Return where the events of another filter lie, if that leaves few; else None."""
    if query.status is not None and query.status in history.SOURCES:
        [(number,)] = fetch(connection, _OF_STATUS, (STATES[query.status],))
        if number <= _FEW_TO_LOOK_AT:
            table, found, condition = history.SOURCES[query.status]
            there = "" if upstream is None else f" AND {table}.upstream = :upstream"
            return (
                f"(SELECT DISTINCT {table}.seq AS of FROM {found}"  # noqa: S608 - no values
                f" WHERE TRUE{condition}{there})"
                " CROSS JOIN events ON events.seq = of"
            )
    if query.endpoint is not None:
        [(number,)] = fetch(connection, _OF_ENDPOINT, (given["endpoint"],))
        if number <= _FEW_TO_LOOK_AT:
            return "events INDEXED BY events_endpoint"
    return "events" if query.ids or query.key is not None else None


def _within(connection: apsw.Connection, given: Mapping[str, Any], way: Way) -> Way:
    """Return the part of a way on which the events of a span of time lie."""
    times = given.get("since", events.EARLIEST), given.get("until", -events.EARLIEST)
    [(first, last)] = fetch(connection, _TIMES, times)
    if first is None:
        return Way(0, 0, way.ascending)
    return Way(max(way.above, first - 1), min(way.below, last + 1), way.ascending)


def _upstream(connection: apsw.Connection, query: Query) -> int | None:
    names = events.read_names(connection)
    return next((number for number, name in names.items() if name == query.upstream), None)


def _has(status: Status | None, upstream: int | None) -> str | None:
    """Return the condition of a destination with this status, at this upstream."""
    if upstream is None:
        return None if status is None else history.has_status(status)
    at = "seq = events.seq AND upstream = :upstream"
    queued, inhand = f"SELECT 1 FROM queue WHERE {at}", f"SELECT 1 FROM inhand WHERE {at}"  # noqa: S608 - no values
    settled = f"SELECT 1 FROM settled WHERE {at}"  # noqa: S608 - no values
    if status is None:
        return f"(EXISTS ({settled}) OR EXISTS ({queued}) OR EXISTS ({inhand}))"
    if status is Status.PENDING:
        return f"EXISTS ({queued})"
    if status is Status.LEASED:
        return f"EXISTS ({inhand})"
    return f"EXISTS ({settled} AND state = {STATES[status]})"
