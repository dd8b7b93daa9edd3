"""The statements of the queue: claim, settle, release.

A destination moves between `queue`, `inhand` and `settled` by DELETE and INSERT in one transaction.
A row of `inhand` is found by the token of its lease: that fences, too.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import apsw

from relay.core.errors import LeaseLost, SpoolUnavailable
from relay.core.event import Dead, Done, Event, Held, Lease, RetryAt
from relay.core.request import Keep
from relay.spool import Claimed, Settlement
from relay.spool.sealing import KeyMissing
from relay.spool.sqlite import content, events, lanes, removal
from relay.spool.sqlite.attempts import Tried, keep_attempts
from relay.spool.sqlite.events import Tables, Tally, fetch, numbers

# ---- rows of the queue ----------------------------------------------------------------------

#: What the tables of unfinished destinations have in common, in the order of `queue`. Text is read
#: as bytes, since not all bytes are text where it is damaged, and written as text again.
REST: Final = "seq, attempts, earlier, since, due, CAST(last AS BLOB), lane"

_QUEUE: Final = "INSERT INTO queue VALUES (?,?,?,?,?,?,?,?,CAST(? AS TEXT),?)"
_LEASE: Final = "INSERT INTO inhand VALUES (?,?,?,?,?,?,?,?,CAST(? AS TEXT),?)"

_SETTLED: Final = "INSERT INTO settled VALUES (?,?,?,?,?,?,?,?,?)"

QueueRow = tuple[int, int, int, int, int, int, int, int, str | bytes | None, int | None]


def enqueue(connection: apsw.Connection, rows: Sequence[QueueRow]) -> None:
    """Insert rows of `queue`."""
    if rows:
        connection.executemany(_QUEUE, rows)


def sane(rows: Sequence[events.Row]) -> list[events.Row]:
    """Return rows of the columns `REST` with a number wherever there has to be one."""
    return [
        (seq, *(each if isinstance(each, int) else 0 for each in counts), last, _number(lane))
        for seq, *counts, last, lane in rows
    ]


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def aged(since: int, due: int, now: int, opened_at: int) -> tuple[int, int]:
    """Return since when an event is in its round, and when it fell due.

    Its age is what it was when it fell due, by whatever clock, and grows while a relay serves it.
    So neither a clock that was wrong, before or now, nor a time without a relay brings it any
    nearer to `give_up_after`. It fell due not before the spool was open, and not after now; a
    number that is damaged gives a time, too.
    """
    fell = max(min(due, now), opened_at)
    return max(min(since + fell - due, now), events.EARLIEST), fell


# ---- claiming -------------------------------------------------------------------------------

# The most that one claim moves or looks through: writes wait behind it.
_SCAN_STEP: Final = 1000

_EXPIRED: Final = f"""
DELETE FROM inhand WHERE upstream = ? AND until <= ? RETURNING {REST}
"""  # noqa: S608 - columns, no values

_DUE: Final = """
SELECT at, seq FROM queue WHERE upstream = ? AND place = 1 AND at <= ? ORDER BY at, seq LIMIT ?
"""

_TAKE_DUE: Final = f"""
DELETE FROM queue WHERE upstream = ? AND place = 1 AND at <= ?2 AND (at, seq) <= (?2, ?3)
RETURNING {REST}
"""  # noqa: S608 - columns, no values

_FIRST_READY: Final = f"""
SELECT {REST} FROM queue WHERE upstream = ? AND place = 0 AND at = 0 ORDER BY seq LIMIT ?
"""  # noqa: S608 - columns, no values

_READY: Final = f"""
SELECT {REST} FROM queue WHERE upstream = ? AND place = 0 AND at = 0 AND seq IN carray(?)
ORDER BY seq
"""  # noqa: S608 - columns, no values

_TAKE_FIRST: Final = """
DELETE FROM queue WHERE upstream = ? AND place = 0 AND at = 0 AND seq <= ?
"""

_TAKE: Final = """
DELETE FROM queue WHERE upstream = ? AND place = 0 AND at = 0 AND seq IN carray(?)
"""

_EVENTS: Final = f"""
SELECT seq, {content.EVENT} FROM events WHERE seq IN carray(?) ORDER BY seq
"""  # noqa: S608 - columns, no values

# Microseconds until an event is looked at again whose key is not named.
_KEY_WAIT: Final = 60_000_000

_ID: Final = "SELECT CAST(id AS BLOB) FROM events WHERE seq = ?"

_NEXT_READY: Final = """
SELECT due FROM queue WHERE upstream = ? AND place = 0 AND at = 0 ORDER BY seq LIMIT 1
"""

_NEXT_WAITING: Final = """
SELECT at FROM queue WHERE upstream = ? AND place = 1 ORDER BY at LIMIT 1
"""

_NEXT_EXPIRING: Final = "SELECT min(until) FROM inhand WHERE upstream = ?"


def claim(
    connection: apsw.Connection,
    shared: Tables,
    upstream: str,
    limit: int,
    *,
    now: datetime,
    lease: timedelta,
    ordered: bool,
    opened_at: datetime,
) -> Claimed:
    """Lease due events, in order of receipt; an event whose seal is wrong becomes dead.

    opened_at: since when the spool is open.

    Raises:
        ValueError: the limit is not positive.
    """
    if limit < 1:
        raise ValueError(f"a limit is at least 1, not {limit}")
    time, until, tally = events.micros(now), events.moment(events.micros(now + lease)), Tally()
    with connection:
        number = shared.names.number(connection, upstream)
        _make_ready(connection, number, time, tally)
        if not lanes.set_order(connection, shared, number, ordered=ordered):
            # Lanes are being written down: there is more to do before anything may go.
            return Claimed((), now)
        rows = _take(connection, number, limit, ordered=ordered)
        found = _read(connection, shared, number, [row[0] for row in rows])
        leases, leased, damaged, locked = [], [], [], []
        for row in rows:
            seq, attempts, earlier, since, due, last, lane = row
            event = found.get(seq)
            if event is None:
                damaged.append(row)
                continue
            if isinstance(event, KeyMissing):
                locked.append((row, event))
                continue
            since, due = aged(since, due, time, events.micros(opened_at))
            token = shared.tokens.next()
            leases.append(
                events.lease(event, attempts + 1, earlier, since, until=until, token=token)
            )
            mine = (token, seq, number, events.micros(until), attempts + 1, earlier, since, due)
            leased.append((*mine, last, lane))
        lost = _quarantine(connection, number, damaged, time, tally)
        put_off = _put_off(connection, number, locked, time)
        others = fetch(connection, _NEXT_EXPIRING, (number,))
        if leased:
            connection.executemany(_LEASE, leased)
            tally.move_all(connection, [row[1] for row in leased], events.PENDING, events.LEASED)
        ready = [(min(due, time),) for (due,) in fetch(connection, _NEXT_READY, (number,))]
        waiting = fetch(connection, _NEXT_WAITING, (number,))
        tally.write(connection)
    times = [at for (at,) in (*ready, *waiting, *others) if at is not None]
    next_due = events.moment(min(times)) if times else None
    return Claimed(tuple(leases), next_due, lost, put_off)


def _make_ready(connection: apsw.Connection, upstream: int, now: int, tally: Tally) -> None:
    """Move what has expired, and what has fallen due, among the ready."""
    expired = sane(fetch(connection, _EXPIRED, (upstream, now)))
    tally.move_all(connection, [row[0] for row in expired], events.LEASED, events.PENDING)
    due = fetch(connection, _DUE, (upstream, now, _SCAN_STEP))
    taken = sane(fetch(connection, _TAKE_DUE, (upstream, *due[-1]))) if due else []
    enqueue(connection, [(upstream, events.READY, 0, *row) for row in (*expired, *taken)])
    lanes.advance(connection, upstream, [row[-1] for row in expired])


def _take(
    connection: apsw.Connection, upstream: int, limit: int, *, ordered: bool
) -> list[events.Row]:
    """Take up to `limit` ready destinations out of the queue."""
    if ordered:
        heads = lanes.heads(connection, upstream, limit, _SCAN_STEP)
        if not heads:
            return []
        rows = sane(fetch(connection, _READY, (upstream, numbers(heads))))
        connection.execute(_TAKE, (upstream, numbers(heads)))
        return rows
    rows = sane(fetch(connection, _FIRST_READY, (upstream, limit)))
    if rows:
        # They are the first ones: one range.
        connection.execute(_TAKE_FIRST, (upstream, rows[-1][0]))
    return rows


def _read(
    connection: apsw.Connection, shared: Tables, upstream: int, seqs: Sequence[int]
) -> dict[int, Event | KeyMissing | None]:
    """Return the events of these destinations, or what keeps each from being read.

    Those that are damaged or gone are left out, or None.
    """
    if not seqs:
        return {}
    try:
        rows = fetch(connection, _EVENTS, (numbers(seqs),))
    except UnicodeDecodeError:
        if len(seqs) == 1:
            return {}
        # One of them is damaged so that its text is no text: each is read by itself.
        found: dict[int, Event | KeyMissing | None] = {}
        for seq in seqs:
            found |= _read(connection, shared, upstream, [seq])
        return found
    names, find = shared.names.by_number, partial(shared.keyring.find, connection)
    return {
        seq: content.event_or_missing(tuple(rest), names, upstream, find) for seq, *rest in rows
    }


def _quarantine(
    connection: apsw.Connection,
    upstream: int,
    damaged: Sequence[events.Row],
    now: int,
    tally: Tally,
) -> tuple[str, ...]:
    """Make these destinations dead; return the ids of their events, as far as they can be read."""
    ids = []
    for seq, attempts, earlier, _, _, _, lane in damaged:
        settled = (seq, upstream, events.DEAD, now, attempts, earlier, None, "corrupt", None)
        connection.execute(_SETTLED, settled)
        tally.move_all(connection, [seq], events.PENDING, events.DEAD)
        lanes.advance(connection, upstream, [lane])
        found = fetch(connection, _ID, (seq,)) or [(b"number %d" % seq,)]
        ids.append(bytes(found[0][0] or b"").decode("utf-8", "backslashreplace"))
    return tuple(ids)


def _put_off(
    connection: apsw.Connection,
    upstream: int,
    locked: Sequence[tuple[events.Row, KeyMissing]],
    now: int,
) -> tuple[tuple[str, KeyMissing], ...]:
    """Let these destinations wait a while for their keys; return the ids, and what is missing.

    Those behind them in their lanes wait, too. The wait does not count against `give_up_after`.
    """
    later, waiting, told = now + _KEY_WAIT, [], []
    for (seq, attempts, earlier, since, _, last, lane), missing in locked:
        rest = (seq, attempts, earlier, since + _KEY_WAIT, later, last, lane)
        waiting.append((upstream, events.WAITING, later, *rest))
        told += [(bytes(found).decode(), missing) for (found,) in fetch(connection, _ID, (seq,))]
    enqueue(connection, waiting)
    return tuple(told)


# ---- settling -------------------------------------------------------------------------------

#: Called on the event loop: for each settlement whether it is recorded, or why none is.
Settled = Callable[[Sequence[bool] | SpoolUnavailable], None]

# Two statements each: RETURNING gathers its rows in a table of its own first, which costs more, and
# so does `carray` where there is but one.
_LEASED: Final = f"""
SELECT token, upstream, {REST} FROM inhand WHERE token IN carray(?)
"""  # noqa: S608 - columns, no values

_LEASED_ALONE: Final = f"""
SELECT token, upstream, {REST} FROM inhand WHERE token = ?
"""  # noqa: S608 - columns, no values

_UNLEASE: Final = "DELETE FROM inhand WHERE token IN carray(?)"
_UNLEASE_ALONE: Final = "DELETE FROM inhand WHERE token = ?"

_STATE_OF: Final = {Done: events.DELIVERED, Dead: events.DEAD, Held: events.HELD}


class Settlements:
    """The outcomes of one call of `settle_all`. `now`: microseconds of the wall clock."""

    __slots__ = ("done", "error", "given", "now", "recorded")

    def __init__(self, given: Sequence[Settlement], now: int, done: Settled) -> None:
        self.given = given
        self.now = now
        self.done = done
        self.recorded: list[bool] = []
        self.error: SpoolUnavailable | None = None

    def resolve(self) -> None:
        """Call back with what became of them."""
        self.done(self.recorded if self.error is None else self.error)


def settle(  # noqa: C901, PLR0912 - one pass costs least
    connection: apsw.Connection, shared: Tables, all_given: Sequence[Settlements], tally: Tally
) -> set[int]:
    """Record what came of attempts, where their leases still hold. Runs inside a transaction.

    Returns the upstreams that are served in order and may have more to claim now.
    """
    if not (tokens := [each.lease.token for group in all_given for each in group.given]):
        return set()
    held = {row[0]: row for row in _take_leased(connection, tokens)}
    names = shared.names.by_name
    states: list[tuple[int, int]] = []
    private: list[int] = []
    settled: list[tuple[Any, ...]] = []
    again: list[QueueRow] = []
    tried: list[Tried] = []
    ended: dict[int, list[int]] = {}
    for each, now, row in _held(all_given, held):
        _, upstream, seq, attempts, earlier, since, _, _, lane = row
        event = each.lease.event
        endpoint = names.get(event.endpoint) or shared.names.number(connection, event.endpoint)
        decision, outcome = each.decision, events.outcome_text(each.outcome)
        if isinstance(decision, RetryAt):
            due, state = events.micros(decision.due), events.PENDING
            rest = (seq, attempts, earlier, since, due, outcome, lane)
            again.append((upstream, events.WAITING, due, *rest))
        else:
            state = _STATE_OF[type(decision)]
            if state == events.DELIVERED and (event.tokens or event.keep is not Keep.ALL):
                private.append(seq)
            took, reason = each.took, each.reason
            settled.append((seq, upstream, state, now, attempts, earlier, took, outcome, reason))
        states.append((endpoint, state))
        if lane is not None:
            ended.setdefault(upstream, []).append(lane)
        if attempts > 1 or state != events.DELIVERED:
            tried.append((seq, upstream, attempts, now, each))
    for (endpoint, state), number in Counter(states).items():
        tally.move(endpoint, events.LEASED, state, number)
    if settled:
        connection.executemany(_SETTLED, settled)
    if again:
        enqueue(connection, again)
    if tried:
        keep_attempts(connection, shared.keyring, tried)
    if private:
        removal.remove_delivered(connection, shared, private)
    for upstream, ordered in ended.items():
        lanes.advance(connection, upstream, ordered)
    return set(ended)


def _take_leased(connection: apsw.Connection, tokens: Sequence[int]) -> list[events.Row]:
    """Delete the leases with these tokens, at least one, and return those that there were."""
    if len(tokens) == 1:
        rows = fetch(connection, _LEASED_ALONE, tokens)
        connection.execute(_UNLEASE_ALONE, tokens)
    else:
        rows = fetch(connection, _LEASED, (numbers(tokens),))
        connection.execute(_UNLEASE, (numbers(tokens),))
    return rows


def _held(
    groups: Sequence[Settlements], held: dict[int, events.Row]
) -> Iterator[tuple[Settlement, int, events.Row]]:
    """Yield what is to be recorded, its time and its row; note for each whether there was one."""
    for group in groups:
        group.recorded, group.error = [], None
        for each in group.given:
            row = held.pop(each.lease.token, None)
            group.recorded.append(row is not None)
            if row is not None:
                yield each, group.now, row


# ---- releasing ------------------------------------------------------------------------------


def release(
    connection: apsw.Connection,
    shared: Tables,
    lease: Lease,
    now: datetime,
    due: datetime | None = None,
) -> None:
    """Make the event due at once, or at `due`, as if it had not been claimed.

    Raises:
        LeaseLost: the lease is not held any more.
    """
    with connection:
        if not _release(connection, shared, [lease], events.micros(now), due):
            raise lost(lease)


def lost(lease: Lease) -> LeaseLost:
    """Return what to raise where a lease is not held any more."""
    return LeaseLost(f"attempt {lease.attempt} of event {lease.event.id} holds no lease any more")


def give_back(
    connection: apsw.Connection, shared: Tables, leases: Sequence[Lease], now: datetime
) -> None:
    """Release those of these leases that are still held."""
    with connection:
        _release(connection, shared, leases, events.micros(now), None)


def _release(
    connection: apsw.Connection,
    shared: Tables,
    leases: Sequence[Lease],
    now: int,
    due: datetime | None,
) -> int:
    """Release these; return how many were held."""
    if not leases:
        return 0
    rows = _take_leased(connection, [each.token for each in leases])
    later = max(now, now if due is None else events.micros(due))
    queued: list[QueueRow] = []
    for _, upstream, seq, attempts, earlier, since, _, last, lane in rows:
        place = (events.WAITING, later) if later > now else (events.READY, 0)
        # What it waits does not count: as if the event had come later by that.
        rest = (seq, attempts - 1, earlier, since + later - now, later, last, lane)
        queued.append((upstream, *place, *rest))
    enqueue(connection, queued)
    lanes.advance_all(connection, [(row[1], row[-1]) for row in rows])
    tally, endpoints = Tally(), {each.token: each.event.endpoint for each in leases}
    for token, *_ in rows:
        endpoint = shared.names.number(connection, endpoints[token])
        tally.move(endpoint, events.LEASED, events.PENDING)
    tally.write(connection)
    return len(rows)
