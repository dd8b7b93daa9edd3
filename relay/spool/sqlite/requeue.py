"""Requeueing: which events a person makes due again, and what stands in the way of the others."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import apsw
import orjson

from relay.core.event import Status
from relay.spool import AT_ONCE
from relay.spool.history import Query, Requeueable, Requeued, Spread
from relay.spool.sqlite import attempts, content, copies, events, finding, history, upkeep
from relay.spool.sqlite.events import STATUSES, Tables, Tally, fetch, read_names


@dataclass(frozen=True, slots=True)
class Asked:
    """What `Spool.requeue` is asked for; to, ended_before: as there.

    served: the upstreams that are configured; None for any.
    """

    query: Query
    served: Collection[str] | None = None
    to: str | None = None
    ended_before: datetime | None = None

    def states(self) -> tuple[int, ...]:
        """Return the states of destinations that are requeued."""
        status = self.query.status
        wanted = (events.DELIVERED, events.DEAD, events.HELD)
        return tuple(each for each in wanted if status in (None, STATUSES[each]))


# ---- which events and destinations ----------------------------------------------------------

_FROM: Final = "events.body IS NOT NULL AND events.flags < 256"

_ENDED: Final = "EXISTS (SELECT 1 FROM settled AS ended WHERE ended.seq = events.seq AND {meant})"

# What is known to be damaged, or for an upstream that nobody serves, must not fill the page.
_NOT_DAMAGED: Final = " AND ended.outcome IS NOT 'corrupt'"
_SERVED: Final = " AND ended.upstream IN carray(:served)"
_LEFT: Final = " AND (ended.outcome IS 'corrupt' OR ended.upstream NOT IN carray(:served))"
_ONLY: Final = " AND ended.upstream = :only"
_BEFORE: Final = " AND ended.at < :before"

# No test message, and nothing that is on its way there, or has just been.
_ADDABLE: Final = f"""
events.flags & {events.TEST_FLAG} = 0
AND NOT EXISTS (SELECT 1 FROM queue WHERE queue.seq = events.seq AND queue.upstream = :to)
AND events.seq NOT IN (SELECT seq FROM inhand WHERE inhand.upstream = :to)
AND NOT EXISTS (
    SELECT 1 FROM settled AS there
    WHERE there.seq = events.seq AND there.upstream = :to AND there.at >= :before
)
"""  # noqa: S608 - a number

#: Later than any event.
_EVER: Final = (1 << 62) - 1

#: The number of no name at all.
_NOBODY: Final = 0


#: What has been looked up.
_FOUND: Final = history.Selection("events", "events.seq IN carray(:found)", "events.seq {0}", {})


class _Chosen:
    """The conditions that the events of one call meet, and their destinations that are meant.

    target: the number of the upstream that they go to besides; None without one.
    served: the numbers of the upstreams that are configured.
    found: the events, where they have been looked up.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        shared: Tables,
        names: Mapping[int, str],
        asked: Asked,
        found: Sequence[int] | None = None,
    ) -> None:
        query, states = replace(asked.query, after=None), asked.states()
        after = asked.query.after
        at, seq = (None, None) if after is None else history.position(after)
        by_name = {name: number for number, name in names.items()}
        self.target = None if asked.to is None else by_name.get(asked.to, _NOBODY)
        self.served = [
            number for number, name in names.items() if asked.served is None or name in asked.served
        ]
        only = query.upstream is not None and asked.to is None
        before = asked.ended_before
        self._values: dict[str, Any] = {
            "only": by_name.get(query.upstream or "", _NOBODY),
            "before": _EVER if before is None else events.micros(before),
            "to": self.target,
            "after_at": at,
            "after_seq": seq,
        }
        self._goes_on = after is not None
        self._by_ids = bool(query.ids)
        self._meant = f"ended.state IN ({', '.join(map(str, states))}) {_ONLY if only else ''}"
        self._meant += _BEFORE
        self._selected = None
        self._found = found
        if (states or self.target is not None) and found is not None:
            self._selected = _FOUND
        elif states or self.target is not None:
            self._selected = history.select(connection, shared, query, proxied=False)

    def events(self, columns: str, *, left: bool = False) -> str | None:
        """Return a statement for these columns of the events, the oldest first, up to `:limit`.

        None where there are none. left: of those that something stands in the way of.
        """
        if self._selected is None:
            return None
        behind = ""
        if self._goes_on:
            # By whatever the events are sorted.
            table = self._selected.order.partition(".")[0]
            by_receipt = "(events.received_at, events.seq) > (:after_at, :after_seq)"
            by_number = f"{table}.seq > :after_seq"
            behind = " AND " + (by_receipt if "received_at" in self._selected.order else by_number)
        return (
            f"SELECT {columns} FROM {self._selected.source}"  # noqa: S608 - no values
            f" WHERE {self._selected.conditions} AND {self.condition(left=left)}{behind}"
            f" ORDER BY {self._selected.order.format('ASC')} LIMIT :limit"
        )

    def condition(self, *, left: bool = False) -> str:
        """Return the condition that an event meets besides those of the query; left: as above."""
        if self.target is not None:
            return f"{_FROM} AND {_ADDABLE}"
        others = _LEFT if left else "" if self._by_ids else _NOT_DAMAGED + _SERVED
        return f"{_FROM} AND {_ENDED.format(meant=self._meant + others)}"

    def places(self) -> str:
        """Return a statement for the destinations of the event `:seq` that are meant."""
        meant = self._meant if self.target is None else "ended.upstream = :to"
        return (
            "SELECT ended.upstream, ended.state, ended.attempts, CAST(ended.outcome AS BLOB)"  # noqa: S608 - no values
            f" FROM settled AS ended WHERE ended.seq = :seq AND {meant}"
        )

    def counted(self, selected: str) -> str:
        """Return a statement that counts the destinations of the events that another one yields.

        Its rows are upstream, state and number; the last row has the number of events alone.
        """
        if self.target is not None:
            joined = "LEFT JOIN settled AS ended ON ended.seq = chosen.seq AND ended.upstream = :to"
        else:
            joined = "CROSS JOIN settled AS ended ON ended.seq = chosen.seq"
            joined += f" AND {self._meant}{_NOT_DAMAGED}{_SERVED}"
        return (
            f"WITH chosen AS ({selected}), meant AS ("  # noqa: S608 - no values
            f"SELECT DISTINCT chosen.seq, ended.upstream, ended.state FROM chosen {joined})"
            " SELECT upstream, state, count(*) FROM meant GROUP BY upstream, state"
            " UNION ALL SELECT NULL, NULL, count(DISTINCT seq) FROM meant"
        )

    def bound(self, statement: str, **more: object) -> dict[str, Any]:
        """Return the values that a statement of these has, and these."""
        return finding.bound(self.values(statement, **more))

    def values(self, statement: str, **more: object) -> dict[str, Any]:
        """Return the same; what is several numbers as a list."""
        values = self._values | more | {"served": self.served, "found": list(self._found or ())}
        if self._selected is not None:
            values |= self._selected.values
        return {name: value for name, value in values.items() if f":{name}" in statement}


def _check(query: Query) -> None:
    history.check(query)
    if not history.narrows(query):
        raise ValueError("requeue needs ids or a filter; nothing was requeued")


# ---- making them due ------------------------------------------------------------------------

_REMOVED: Final = """
SELECT id FROM events WHERE id IN (SELECT value FROM json_each(?)) AND flags & 64
"""

# Of these a destination is lost, and a copy alone brings that back.
_LOST: Final = f"""
SELECT id FROM events
WHERE id IN (SELECT value FROM json_each(?)) AND flags < 256 AND {upkeep.LOST}
"""  # noqa: S608 - no values


def requeue(
    connection: apsw.Connection,
    shared: Tables,
    asked: Asked,
    now: datetime,
    spread: Spread = AT_ONCE,
    *,
    found: Sequence[int] | None = None,
) -> tuple[Requeued, list[str]]:
    """Make events due again, the oldest first; return what became of them, and their upstreams.

    found: what `look_up` has returned, of a query that `finding` answers.

    Raises:
        ValueError: the query has neither ids nor a filter, or a limit that is not positive.
    """
    _check(asked.query)
    with connection:
        if asked.to is not None:
            shared.names.number(connection, asked.to)
        chosen = _Chosen(connection, shared, shared.names.by_number, asked, found)
        work = _Work(connection, shared, chosen, now, spread)
        rows = _select(connection, chosen, asked.query.limit)
        for *row, _ in rows:
            if chosen.target is None:
                work.requeue(row)
            else:
                work.add(row, chosen.target)
        if not asked.query.ids and chosen.target is None:
            for *row, _ in _select(connection, chosen, asked.query.limit, left=True):
                work.leave(row)
        work.tally.write(connection)
        named = (orjson.dumps(asked.query.ids).decode(),)
        removed = tuple(event_id for (event_id,) in fetch(connection, _REMOVED, named))
        if chosen.target is None:
            work.damaged += [event_id for (event_id,) in fetch(connection, _LOST, named)]
    done = Requeued(
        tuple(event_id for _, event_id in sorted(dict.fromkeys(work.done))),
        tuple(dict.fromkeys(work.damaged)),
        tuple(dict.fromkeys(work.unserved)),
        removed,
        f"{rows[-1][-1]}-{rows[-1][0]}" if rows and found is None else None,
    )
    return done, work.upstreams


def _select(
    connection: apsw.Connection, chosen: _Chosen, limit: int, *, left: bool = False
) -> list[events.Row]:
    """Return number, id, endpoint, head and receipt of the events that are chosen, or left."""
    columns = "events.seq, id, endpoint, head, events.received_at"
    statement = chosen.events(columns, left=left)
    if statement is None:
        return []
    return fetch(connection, statement, chosen.bound(statement, limit=limit))


class _Work:
    """What one call does to each event, and what it has done so far."""

    def __init__(
        self,
        connection: apsw.Connection,
        shared: Tables,
        chosen: _Chosen,
        now: datetime,
        spread: Spread,
    ) -> None:
        self.tally = Tally()
        self.done: list[tuple[int, str]] = []
        self.damaged: list[str] = []
        self.unserved: list[tuple[str, str]] = []
        self.upstreams: list[str] = []
        self._connection, self._shared = connection, shared
        self._chosen, self._now = chosen, now
        self._interval, self._later = spread.interval, spread.delay

    def requeue(self, row: Sequence[Any]) -> None:
        """Make the destinations of one event due that are served, if it is sound."""
        seq, event_id, endpoint, head = row
        [stored] = fetch(self._connection, copies.EVENT, (seq,))
        going = []
        for upstream, state, tried, outcome in self._places(seq):
            if not self._is_sound(stored, upstream):
                self._quarantine(event_id)
                return
            if upstream in self._chosen.served:
                going.append((upstream, state, tried, outcome))
            else:
                self._unserved(event_id, upstream)
        for upstream, state, tried, outcome in going:
            self._take(seq, upstream, state)
            self._put_due((seq, upstream), head, tried, outcome)
            self.tally.move(endpoint, state, events.PENDING)
        if going:
            self._finish(seq, event_id, stored, head, [upstream for upstream, *_ in going])

    def add(self, row: Sequence[Any], target: int) -> None:
        """Make one event due for an upstream that it may not have come for, if it is sound."""
        seq, event_id, endpoint, head = row
        [stored] = fetch(self._connection, copies.EVENT, (seq,))
        names, parts = self._shared.names, events.parse_head(head)
        if not self._is_sound(stored, None):
            self._quarantine(event_id)
            return
        if names.by_number[target] not in parts[events.UPSTREAMS]:
            parts[events.UPSTREAMS].append(names.by_number[target])
            head = events.head_of(tuple(parts))
        there = self._places(seq)
        for _, state, tried, outcome in there:
            self._take(seq, target, state)
            self._put_due((seq, target), head, tried, outcome)
            self.tally.move(endpoint, state, events.PENDING)
        if not there:
            self._put_due((seq, target), head, 0, None)
            self.tally.add(endpoint, events.PENDING)
        self._finish(seq, event_id, stored, head, [target] if there else [])

    def leave(self, row: Sequence[Any]) -> None:
        """Say what stands in the way of one event."""
        seq, event_id, _, _ = row
        for upstream, _, _, outcome in self._places(seq):
            if outcome == b"corrupt":
                self.damaged.append(event_id)
            elif upstream not in self._chosen.served:
                self._unserved(event_id, upstream)

    def _places(self, seq: int) -> list[events.Row]:
        statement = self._chosen.places()
        return fetch(self._connection, statement, self._chosen.bound(statement, seq=seq))

    def _is_sound(self, stored: events.Row, upstream: int | None) -> bool:
        names, find = self._shared.names.by_number, self._shared.keyring.find
        return content.event(stored, names, upstream, partial(find, self._connection)) is not None

    def _quarantine(self, event_id: str) -> None:
        self.damaged.append(event_id)
        history.quarantine(self._connection, event_id, self._now)

    def _unserved(self, event_id: str, upstream: int) -> None:
        self.unserved.append((event_id, self._shared.names.by_number.get(upstream, "")))

    def _take(self, seq: int, upstream: int, state: int) -> None:
        if state == events.DELIVERED:
            attempts.keep_first(self._connection, seq, upstream)
        self._connection.execute(copies.TAKE, (seq, upstream))

    def _put_due(
        self, destination: tuple[int, int], head: bytes, tried: int, outcome: bytes | None
    ) -> None:
        copies.put_due(
            self._connection,
            self._shared,
            destination,
            head,
            now=events.micros(self._now),
            tried=tried,
            last=outcome,
            later=self._later // timedelta(microseconds=1),
        )
        self.upstreams.append(self._shared.names.by_number[destination[1]])

    def _finish(
        self, seq: int, event_id: str, stored: events.Row, head: bytes, there: Sequence[int]
    ) -> None:
        """Let an event go out though it contradicts what is signed: a person has said so.

        One that a later event of its subject has overtaken is marked as out of order.
        head: the one from now on. there: where it goes; none, where it has not been there.
        """
        flags = stored[3] & ~events.CONTRADICTS
        if copies.is_overtaken(self._connection, self._shared, seq, head, there):
            flags |= events.OUT_OF_ORDER
        if (flags, head) != (stored[3], stored[5]):
            copies.reseal(self._connection, seq, stored, flags, head)
        self.done.append((seq, event_id))
        self._later += self._interval


# ---- counting -------------------------------------------------------------------------------


def look_up(connection: apsw.Connection, shared: Tables, asked: Asked, most: int) -> list[int]:
    """Return the events, up to so many, that a call of `requeue` is about; the oldest first.

    Of a query that `finding` answers.
    """
    _check(asked.query)
    if asked.to is None and not asked.states():
        return []
    with connection:
        chosen = _Chosen(connection, shared, read_names(connection), asked, ())
        seqs: list[int] = []
        for left in (False, True) if chosen.target is None else (False,):
            condition = chosen.condition(left=left)
            rows = finding.rows(
                connection,
                shared,
                asked.query,
                "events.seq",
                limit=most,
                proxied=False,
                also=condition,
                values=chosen.values(condition),
                ascending=True,
            )
            seqs += [seq for (seq,) in rows]
    return seqs


def count(
    connection: apsw.Connection, shared: Tables, asked: Asked, most: int | None
) -> Requeueable:
    """Return what `requeue` would do, with at most so many events.

    Raises:
        ValueError: as `requeue`.
    """
    _check(asked.query)
    limit = -1 if most is None else most
    found = None
    if finding.is_for(asked.query):
        found = look_up(connection, shared, asked, _EVER if most is None else most)
    with connection:
        names = read_names(connection)
        chosen = _Chosen(connection, shared, names, asked, found)
        if (selected := chosen.events("events.seq AS seq")) is None:
            return Requeueable(0, {})
        statement = chosen.counted(selected)
        *by, total = fetch(connection, statement, chosen.bound(statement, limit=limit))
        overtaken: tuple[str, ...] = ()
        if asked.query.ids and (heads := chosen.events("events.seq, id, head")) is not None:
            rows, places = (
                fetch(connection, heads, chosen.bound(heads, limit=limit)),
                chosen.places(),
            )
            overtaken = tuple(
                event_id
                for seq, event_id, head in rows
                for there in [fetch(connection, places, chosen.bound(places, seq=seq))]
                if copies.is_overtaken(connection, shared, seq, head, [each[0] for each in there])
            )
    destinations: dict[tuple[str, Status | None], int] = {}
    for upstream, state, number in by:
        name = names.get(upstream, "") if asked.to is None else asked.to
        destinations[name, None if state is None else STATUSES[state]] = number
    return Requeueable(total[2], destinations, overtaken)
