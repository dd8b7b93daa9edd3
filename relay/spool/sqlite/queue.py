"""SQL statements of the delivery queue: claim, settle, release, recover."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

import apsw
import orjson

from relay.core.errors import LeaseLost
from relay.core.event import AttemptResult, Dead, Decision, Done, Held, Lease, RetryAt
from relay.spool import Claimed
from relay.spool.sqlite import events

# ---- how old an event is, in SQL ------------------------------------------------------------
# Its age is what it was when it fell due, by whatever clock, and grows while a relay serves it. So
# neither a clock that was wrong, before or now, nor a time without a relay brings it any nearer to
# `give_up_after`.
#
# SQL over a row of `events`: `:now` is the time, `:began` the time since which the spool is open. A
# row that is damaged gives a time, too: it must not fail a statement that is about others as well.

#: When the event fell due: not before the spool was open, and not after now.
FELL_DUE: Final = "ifnull(max(min(due_at, :now), :began), :now)"

#: When its round started.
AGED_SINCE: Final = f"min(ifnull(CAST(since + {FELL_DUE} - due_at AS INTEGER), :now), :now)"

# ---- leases ---------------------------------------------------------------------------------

# The most rows that one claim moves or scans, so that it never holds up the writes behind it.
_SCAN_STEP: Final = 1000

_EXPIRED: Final = """
UPDATE events SET status = 'pending', place = 'ready', lease_until = NULL
WHERE seq IN (
    SELECT seq FROM events
    WHERE upstream = :upstream AND status = 'leased' AND lease_until <= :now
    ORDER BY lease_until LIMIT :step
)
"""

_DUE: Final = """
UPDATE events SET place = 'ready'
WHERE seq IN (
    SELECT seq FROM events
    WHERE upstream = :upstream AND place = 'waiting' AND due_at <= :now
    ORDER BY due_at LIMIT :step
)
"""

_ORPHANED: Final = """
UPDATE events SET status = 'pending', place = 'ready', lease_until = NULL WHERE status = 'leased'
"""

_PUT_OFF: Final = f"""
UPDATE events SET since = {AGED_SINCE}, due_at = :now, place = 'ready'
WHERE place = 'waiting' AND due_at > :horizon
"""  # noqa: S608 - an expression, no values

_LEASED_FOR_TOO_LONG: Final = """
UPDATE events SET status = 'pending', place = 'ready', lease_until = NULL
WHERE status = 'leased' AND lease_until > :horizon
"""

# The upstream was served in order before, and is not any more.
_UNORDERED: Final = """
UPDATE events SET place = 'ready'
WHERE seq IN (
    SELECT seq FROM events WHERE upstream = :upstream AND place = 'behind' ORDER BY seq LIMIT :step
)
"""

_READY: Final = """
SELECT seq FROM events WHERE upstream = :upstream AND place = 'ready' ORDER BY seq LIMIT :limit
"""

_READY_OR_BEHIND: Final = """
SELECT seq, EXISTS (
    SELECT 1 FROM events AS earlier
    WHERE earlier.upstream = events.upstream AND earlier.endpoint = events.endpoint
        AND earlier.lane = events.lane AND earlier.seq < events.seq
        AND earlier.status IN ('pending', 'leased')
)
FROM events WHERE upstream = :upstream AND place = 'ready' ORDER BY seq LIMIT :step
"""

_BEHIND: Final = """
UPDATE events SET place = 'behind' WHERE seq IN (SELECT value FROM json_each(:seqs))
"""

_READ: Final = f"""
SELECT seq, attempts, earlier_attempts, {AGED_SINCE}, {events.EVENT}
FROM events WHERE seq IN (SELECT value FROM json_each(:seqs)) ORDER BY seq
"""  # noqa: S608 - columns, no values

_LEASE: Final = f"""
UPDATE events SET status = 'leased', place = NULL, attempts = attempts + 1, lease_until = :until,
    since = {AGED_SINCE}, due_at = {FELL_DUE}
WHERE seq IN (SELECT value FROM json_each(:seqs))
"""  # noqa: S608 - expressions, no values

_QUARANTINE: Final = """
UPDATE events
SET status = 'dead', place = NULL, due_at = NULL, settled_at = :now, last_outcome = 'corrupt'
WHERE seq IN (SELECT value FROM json_each(:seqs))
"""

# As bytes: a damaged text may be no UTF-8 any more.
_ID: Final = "SELECT CAST(id AS BLOB) FROM events WHERE seq = :seq"

_FIRST_READY: Final = """
SELECT due_at FROM events WHERE upstream = :upstream AND place = 'ready' ORDER BY seq LIMIT 1
"""

_FIRST_WAITING: Final = """
SELECT due_at FROM events
WHERE upstream = :upstream AND place = 'waiting' ORDER BY due_at LIMIT 1
"""

_FIRST_LEASED: Final = """
SELECT lease_until FROM events
WHERE upstream = :upstream AND status = 'leased' ORDER BY lease_until LIMIT 1
"""

# `attempts` alone is not enough: the lease after one that was released has the same number.
_HELD: Final = "id = :id AND status = 'leased' AND attempts = :attempt AND lease_until = :until"

_SETTLE: Final = f"""
UPDATE events
SET status = :status, place = :place, due_at = :due_at, lease_until = NULL,
    settled_at = :settled_at, last_outcome = :outcome
WHERE {_HELD} RETURNING upstream, endpoint, lane
"""  # noqa: S608 - a condition, no values

_RELEASE: Final = f"""
UPDATE events
SET status = 'pending', place = 'ready', attempts = attempts - 1, lease_until = NULL,
    due_at = :now
WHERE {_HELD} RETURNING 1
"""  # noqa: S608 - a condition, no values

# As if the event had been received later, by as much as it waits.
_PUT_OFF_UNTRIED: Final = f"""
UPDATE events
SET status = 'pending', place = 'waiting', attempts = attempts - 1, lease_until = NULL,
    due_at = :due, since = since + :due - :now
WHERE {_HELD} RETURNING 1
"""  # noqa: S608 - a condition, no values

_FOLLOWED: Final = """
SELECT 1 FROM events
WHERE upstream = ? AND endpoint = ? AND lane = ? AND status IN ('pending', 'leased')
    AND place IS NOT NULL
LIMIT 1
"""


def claim(
    connection: apsw.Connection,
    upstream: str,
    limit: int,
    now: datetime,
    lease: timedelta,
    *,
    ordered: bool,
    opened_at: datetime,
) -> Claimed:
    """Lease due events, in order of receipt; an event whose checksum is wrong becomes dead.

    opened_at: when the spool was opened.

    Raises:
        ValueError: the limit is not positive.
    """
    if limit < 1:
        raise ValueError(f"a limit is at least 1, not {limit}")
    until = events.micros(now + lease)
    times: events.Parameters = {
        "now": events.micros(now),
        "began": events.micros(opened_at),
        "until": until,
    }
    at = times | {"upstream": upstream, "step": _SCAN_STEP}
    with connection:
        connection.execute(_EXPIRED, at)
        connection.execute(_DUE, at)
        if ordered:
            seqs = _unblocked(connection, upstream, limit)
        else:
            connection.execute(_UNORDERED, at)
            found = events.fetch(connection, _READY, {"upstream": upstream, "limit": limit})
            seqs = [seq for (seq,) in found]
        read = _read(connection, seqs, times, until)
        damaged = [seq for seq, got in read if got is None]
        if damaged:
            connection.execute(_QUARANTINE, {"seqs": _array(damaged), "now": at["now"]})
        lost = _ids(connection, damaged)
        others = _first(connection, _FIRST_LEASED, upstream)
        intact = [seq for seq, got in read if got is not None]
        connection.execute(_LEASE, times | {"seqs": _array(intact)})
        ready = _first(connection, _FIRST_READY, upstream)
        waiting = _first(connection, _FIRST_WAITING, upstream)
    return Claimed(
        leases=tuple(got for _, got in read if got is not None),
        next_due=_earliest(
            None if ready is None else min(ready, events.micros(now)), waiting, others
        ),
        damaged=lost,
    )


def recover(connection: apsw.Connection) -> int:
    """Make every leased event due; return how many. No process may hold a lease."""
    connection.execute(_ORPHANED)
    return connection.changes()


def advance(connection: apsw.Connection, now: datetime, horizon: datetime) -> int:
    """Make every event due that would be later than `horizon`; return how many."""
    times = {
        "now": events.micros(now),
        "began": events.micros(now),
        "horizon": events.micros(horizon),
    }
    connection.execute(_PUT_OFF, times)
    waiting = connection.changes()
    connection.execute(_LEASED_FOR_TOO_LONG, times)
    return waiting + connection.changes()


def _ids(connection: apsw.Connection, seqs: Sequence[int]) -> tuple[str, ...]:
    """Return the ids of these events; a damaged id is shown as far as it can be."""
    found = [events.fetch(connection, _ID, {"seq": seq}) for seq in seqs]
    return tuple(event_id.decode("utf-8", "backslashreplace") for ((event_id,),) in found)


def settle(
    connection: apsw.Connection,
    lease: Lease,
    decision: Decision,
    outcome: AttemptResult,
    now: datetime,
    *,
    ordered: bool,
) -> bool:
    """Record what came of an attempt; return whether there may be more to claim now.

    ordered: its upstream is served in order, so that others may have been blocked by this event.

    Raises:
        LeaseLost: the lease is not held any more.
    """
    status, place, due = _state(decision)
    settled = events.fetch(
        connection,
        _SETTLE,
        _lease_values(lease)
        | {
            "status": status,
            "place": place,
            "due_at": None if due is None else events.micros(due),
            "settled_at": events.micros(now) if due is None else None,
            "outcome": events.outcome_text(outcome),
        },
    )
    if not settled:
        raise _lost(lease)
    return ordered and bool(events.fetch(connection, _FOLLOWED, settled[0]))


def release(
    connection: apsw.Connection, lease: Lease, now: datetime, due: datetime | None = None
) -> None:
    """Make the event due at once, or at `due`, and uncount its attempt.

    Raises:
        LeaseLost: the lease is not held any more.
    """
    held = _lease_values(lease) | {"now": events.micros(now)}
    statement = _RELEASE
    if due is not None and due > now:
        held["due"] = events.micros(due)
        statement = _PUT_OFF_UNTRIED
    if not events.fetch(connection, statement, held):
        raise _lost(lease)


def give_back(connection: apsw.Connection, leases: Iterable[Lease], now: datetime) -> None:
    """Release those of these leases that are still held."""
    with connection:
        for lease in leases:
            events.fetch(connection, _RELEASE, _lease_values(lease) | {"now": events.micros(now)})


def _unblocked(connection: apsw.Connection, upstream: str, limit: int) -> list[int]:
    """Return up to `limit` ready events with no earlier unsettled one of their lane.

    The others are marked as blocked, so that the next claim does not scan them again.
    """
    unblocked: list[int] = []
    blocked: list[int] = []
    found = connection.execute(_READY_OR_BEHIND, {"upstream": upstream, "step": _SCAN_STEP})
    row: events.Row
    for row in found:
        seq, follows = row
        if follows:
            blocked.append(seq)
        else:
            unblocked.append(seq)
            if len(unblocked) == limit:
                break
    found.close(force=True)
    connection.execute(_BEHIND, {"seqs": _array(blocked)})
    return unblocked


def _read(
    connection: apsw.Connection, seqs: Sequence[int], times: events.Parameters, until: int
) -> list[tuple[int, Lease | None]]:
    """Return the leases that these events are about to get; None for a damaged one."""
    try:
        found = events.fetch(connection, _READ, times | {"seqs": _array(seqs)})
    except UnicodeDecodeError:
        if len(seqs) == 1:
            return [(seqs[0], None)]
        # One of them is damaged so that its text is no UTF-8: each is read by itself.
        return [read for seq in seqs for read in _read(connection, [seq], times, until)]
    return [(seq, _lease(tuple(row), until)) for seq, *row in found]


def _lease(row: events.Row, until: int) -> Lease | None:
    attempts, earlier, since, *columns = row
    event = events.event(tuple(columns))
    if event is None:
        return None
    return events.lease(event, attempts + 1, earlier, since, events.moment(until))


def _state(decision: Decision) -> tuple[str, str | None, datetime | None]:
    match decision:
        case Done():
            return "delivered", None, None
        case Dead():
            return "dead", None, None
        case Held():
            return "held", None, None
        case RetryAt(due):
            return "pending", "waiting", due


def _lease_values(lease: Lease) -> events.Parameters:
    return {"id": lease.event.id, "attempt": lease.attempt, "until": events.micros(lease.until)}


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"attempt {lease.attempt} of event {lease.event.id} holds no lease any more")


def _array(seqs: Iterable[int]) -> str:
    return orjson.dumps(list(seqs)).decode()


def _first(connection: apsw.Connection, statement: str, upstream: str) -> int | None:
    time: int
    for (time,) in events.fetch(connection, statement, {"upstream": upstream}):
        return time
    return None


def _earliest(*times: int | None) -> datetime | None:
    known = [time for time in times if time is not None]
    return events.moment(min(known)) if known else None
