"""Requeueing: which events a person makes due again, and what stands in the way of the others."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

import apsw
import orjson

from relay.spool.history import Query, Requeued
from relay.spool.sqlite import content, copies, events, history
from relay.spool.sqlite.events import STATUSES, Tables, Tally, fetch, numbers

_FROM: Final = "events.body IS NOT NULL AND events.flags < 256"

_ENDED: Final = """
EXISTS (
    SELECT 1 FROM settled AS ended WHERE ended.seq = events.seq AND ended.state IN {states}{others}
)
"""

# What is known to be damaged, or for an upstream that nobody serves, must not fill the page.
_NOT_DAMAGED: Final = " AND ended.outcome IS NOT 'corrupt'"
_SERVED: Final = " AND ended.upstream IN carray(:served)"
_LEFT: Final = " AND (ended.outcome IS 'corrupt' OR ended.upstream NOT IN carray(:served))"

_PLACES: Final = """
SELECT upstream, state, attempts, CAST(outcome AS BLOB) FROM settled
WHERE seq = ? AND state IN {states}
"""

_REMOVED: Final = """
SELECT id FROM events WHERE id IN (SELECT value FROM json_each(?)) AND flags & 64
"""


def requeue(
    connection: apsw.Connection,
    shared: Tables,
    query: Query,
    now: datetime,
    served: Collection[str] | None = None,
) -> tuple[Requeued, list[str]]:
    """Make events due again, the oldest first; return what became of them, and their upstreams.

    served: the upstreams that are configured; None for any.

    Raises:
        ValueError: the query has neither ids nor a filter, or a limit that is not positive.
    """
    history.check(query)
    if not history.narrows(query):
        raise ValueError("requeue needs ids or a filter; nothing was requeued")
    states: tuple[int, ...] = (events.DELIVERED, events.DEAD, events.HELD)
    if query.status is not None:
        states = tuple(state for state in states if STATUSES[state] is query.status)
    with connection:
        names = shared.names.by_number
        known = [number for number, name in names.items() if served is None or name in served]
        work = _Work(connection, shared, states, known, now)
        others = "" if query.ids else _NOT_DAMAGED + _SERVED
        for row in _select(connection, shared, query, work, others):
            work.requeue(row)
        if not query.ids:
            for row in _select(connection, shared, query, work, _LEFT):
                work.leave(row)
        work.tally.write(connection)
        named = (orjson.dumps(query.ids).decode(),)
        removed = tuple(event_id for (event_id,) in fetch(connection, _REMOVED, named))
    done = Requeued(
        tuple(event_id for _, event_id in sorted(dict.fromkeys(work.done))),
        tuple(dict.fromkeys(work.damaged)),
        tuple(dict.fromkeys(work.unserved)),
        removed,
    )
    return done, work.upstreams


def _select(
    connection: apsw.Connection, shared: Tables, query: Query, work: "_Work", others: str
) -> list[events.Row]:
    """Return number, id, endpoint and head of events that have ended in one of these states."""
    selected = history.select(connection, shared, query, proxied=False) if work.states else None
    if selected is None:
        return []
    ended = _ENDED.format(states=work.listed, others=others)
    values = selected.values | {"limit": query.limit}
    if ":served" in others:
        # Of no number at all, none is bound.
        values |= {"served": numbers(work.known or [0])}
    statement = (
        f"SELECT events.seq, id, endpoint, head FROM {selected.source}"  # noqa: S608 - no values
        f" WHERE {selected.conditions} AND {_FROM} AND {ended}"
        f" ORDER BY {selected.order.format('ASC')} LIMIT :limit"
    )
    return fetch(connection, statement, values)


class _Work:
    """What one call does to each event, and what it has done so far."""

    def __init__(
        self,
        connection: apsw.Connection,
        shared: Tables,
        states: Sequence[int],
        known: Sequence[int],
        now: datetime,
    ) -> None:
        self.states, self.known = states, known
        self.listed = f"({', '.join(map(str, states))})"
        self.tally = Tally()
        self.done: list[tuple[int, str]] = []
        self.damaged: list[str] = []
        self.unserved: list[tuple[str, str]] = []
        self.upstreams: list[str] = []
        self._connection, self._shared, self._now = connection, shared, now

    def requeue(self, row: events.Row) -> None:
        """Make the destinations of one event due that are served, if it is sound."""
        seq, event_id, endpoint, head = row
        [stored] = fetch(self._connection, copies.EVENT, (seq,))
        names, find = (
            self._shared.names.by_number,
            partial(self._shared.keyring.find, self._connection),
        )
        for upstream, state, attempts, outcome in self._places(seq):
            if content.event(stored, names, upstream, find) is None:
                self.damaged.append(event_id)
                history.quarantine(self._connection, event_id, self._now)
                return
            if upstream not in self.known:
                self.unserved.append((event_id, names.get(upstream, "")))
                continue
            self._connection.execute(copies.TAKE, (seq, upstream))
            self._mark(seq, stored)
            copies.put_due(
                self._connection,
                self._shared,
                (seq, upstream),
                head,
                now=events.micros(self._now),
                tried=attempts,
                last=outcome,
            )
            self.tally.move(endpoint, state, events.PENDING)
            self.done.append((seq, event_id))
            self.upstreams.append(names[upstream])

    def _mark(self, seq: int, stored: events.Row) -> None:
        """Let an event go out though it contradicts what is signed: a person has said so.

        One that a later event of its subject has overtaken is marked as out of order.
        """
        flags = stored[3] & ~events.CONTRADICTS
        if copies.is_overtaken(self._connection, self._shared, seq, stored[5]):
            flags |= events.OUT_OF_ORDER
        if flags != stored[3]:
            copies.reseal(self._connection, seq, stored, flags)

    def leave(self, row: events.Row) -> None:
        """Say what stands in the way of one event."""
        seq, event_id, _, _ = row
        for upstream, _, _, outcome in self._places(seq):
            if outcome == b"corrupt":
                self.damaged.append(event_id)
            elif upstream not in self.known:
                name = self._shared.names.by_number.get(upstream, "")
                self.unserved.append((event_id, name))

    def _places(self, seq: int) -> Iterator[Any]:
        yield from fetch(self._connection, _PLACES.format(states=self.listed), (seq,))
