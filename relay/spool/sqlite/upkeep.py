"""Upkeep of the file: recover leases at the start, prune what is old enough, check, count.

Bodies are pruned first, records of events later. An event goes only when none of its destinations
is unfinished, dead or held. Those that stay are not looked at in each step: a sweep goes on where
its last step has ended, and is over when it has found nothing from the first event to the last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import apsw

from relay.spool.history import SpoolStats
from relay.spool.sqlite import disk, events, lanes
from relay.spool.sqlite.database import unavailable
from relay.spool.sqlite.events import STATUSES, Tables, Tally, fetch, numbers, read_names
from relay.spool.sqlite.queue import REST, QueueRow, aged, enqueue, sane

# ---- pruning --------------------------------------------------------------------------------

# Events that one step looks at, for each kind, before it lets other writes go first.
_LOOKED_AT: Final = 2000

_OLD: Final = """
SELECT received_at, seq FROM events INDEXED BY events_received
WHERE received_at < ?1 AND received_at >= ?2 AND (received_at, seq) > (?2, ?3)
ORDER BY received_at, seq LIMIT ?4
"""

_OLD_BODIES: Final = """
SELECT received_at, seq FROM events INDEXED BY events_body
WHERE body IS NOT NULL AND received_at < ?1 AND received_at >= ?2
    AND (received_at, seq) > (?2, ?3)
ORDER BY received_at, seq LIMIT ?4
"""

_STAYS: Final = """
SELECT seq FROM queue WHERE seq IN carray(?1)
UNION ALL SELECT seq FROM inhand WHERE seq IN carray(?1)
UNION ALL SELECT seq FROM settled WHERE seq IN carray(?1) AND state IN (3, 4)
"""

# What has a body and is not dead or held, or not with every destination.
_NOT_STOPPED: Final = """
SELECT seq FROM queue WHERE seq IN carray(?1)
UNION ALL SELECT seq FROM inhand WHERE seq IN carray(?1)
UNION ALL SELECT seq FROM events WHERE seq IN carray(?1) AND NOT EXISTS (
    SELECT 1 FROM settled WHERE settled.seq = events.seq AND state IN (3, 4)
)
"""

_BY_ENDPOINT: Final = """
SELECT name, count(*) FROM events JOIN names ON names.id = endpoint WHERE seq IN carray(?)
GROUP BY name
"""

# The numbers of what was received in a time: what is dead or held is looked through from the one to
# the other, since it stays when its body is gone.
_FIRST_SINCE: Final = """
SELECT seq FROM events INDEXED BY events_received WHERE received_at >= ?
ORDER BY received_at, seq LIMIT 1
"""
_LAST_BEFORE: Final = """
SELECT seq FROM events INDEXED BY events_received WHERE received_at < ?
ORDER BY received_at DESC, seq DESC LIMIT 1
"""
_STOPPED_WITH_BODY: Final = """
SELECT name, count(DISTINCT events.seq) FROM settled INDEXED BY settled_stopped
JOIN events ON events.seq = settled.seq JOIN names ON names.id = endpoint
WHERE settled.state > 2 AND settled.state IN (3, 4) AND settled.seq >= ?1 AND settled.seq <= ?2
    AND received_at >= ?3 AND received_at < ?4 AND body IS NOT NULL
GROUP BY name
"""

_EMPTY: Final = "UPDATE events SET body = NULL WHERE seq IN carray(?)"


@dataclass(slots=True)
class Position:
    """How far a sweep has come: the last event that was looked at."""

    received_at: int = events.EARLIEST
    seq: int = 0


@dataclass(slots=True)
class Sweep:
    """How far a sweep has come through the records, and through the bodies.

    fruitless: nothing was found since it was at the first event.
    """

    records: Position
    bodies: Position
    fruitless: bool = True


def new_sweep() -> Sweep:
    """Return one that has not begun."""
    return Sweep(Position(), Position())


def prune(
    connection: apsw.Connection,
    shared: Tables,
    sweep: Sweep,
    *,
    bodies_before: int,
    keys_before: int,
    limit: int,
) -> tuple[int, bool]:
    """Remove up to `limit` records and up to `limit` bodies of what was received before.

    Both times are microseconds. Returns how many events were changed, and whether there may be
    more to change; when there are none, the sweep has begun anew.
    """
    with connection:
        records, more_records = _find(connection, _OLD, sweep.records, keys_before, limit)
        _remove(connection, shared, records)
        bodies, more_bodies = _find(connection, _OLD_BODIES, sweep.bodies, bodies_before, limit)
        if bodies:
            connection.execute(_EMPTY, (numbers(bodies),))
    changed = len(records) + len(bodies)
    if changed:
        sweep.fruitless = False
    elif not more_records and not more_bodies:
        over, sweep.fruitless = sweep.fruitless, True
        sweep.records, sweep.bodies = Position(), Position()
        return 0, not over
    return changed, True


def prune_undelivered(
    connection: apsw.Connection, position: Position, *, before: int, limit: int
) -> tuple[dict[str, int], bool]:
    """Remove up to `limit` bodies of dead and held events that were received before.

    Returns how many, by endpoint, and whether there may be more; if not, the sweep begins anew.
    """
    with connection:
        found, more = _find(connection, _OLD_BODIES, position, before, limit, stays=_NOT_STOPPED)
        if not more:
            position.received_at, position.seq = events.EARLIEST, 0
        if not found:
            return {}, more
        removed: dict[str, int] = dict(fetch(connection, _BY_ENDPOINT, (numbers(found),)))
        connection.execute(_EMPTY, (numbers(found),))
    return removed, more


def count_undelivered(connection: apsw.Connection, since: int, until: int) -> dict[str, int]:
    """Return how many dead and held events with a body were received in a time, by endpoint."""
    with connection:
        for (first,) in fetch(connection, _FIRST_SINCE, (since,)):
            for (last,) in fetch(connection, _LAST_BEFORE, (until,)):
                return dict(fetch(connection, _STOPPED_WITH_BODY, (first, last, since, until)))
    return {}


def _find(
    connection: apsw.Connection,
    statement: str,
    position: Position,
    before: int,
    limit: int,
    *,
    stays: str = _STAYS,
) -> tuple[list[int], bool]:
    """Return up to `limit` events that may go, and whether there may be more to look at.

    stays: selects those of some numbers that may not go.
    """
    looked_at = 0
    while looked_at < _LOOKED_AT:
        at = (before, position.received_at, position.seq, limit)
        rows = fetch(connection, statement, at)
        if not rows:
            return [], False
        looked_at += len(rows)
        seqs = [seq for _, seq in rows]
        staying = {seq for (seq,) in fetch(connection, stays, (numbers(seqs),))}
        position.received_at, position.seq = rows[-1]
        if found := [seq for seq in seqs if seq not in staying]:
            return found, True
    return [], True


# ---- records --------------------------------------------------------------------------------

_GOING: Final = "SELECT seq, endpoint, flags, look, head FROM events WHERE seq IN carray(?)"

_FORGET_SUBJECT: Final = "DELETE FROM subjects WHERE hash = ? AND seq = ?"

_FORGET_SETTLED: Final = "DELETE FROM settled WHERE seq IN carray(?) RETURNING seq, state"

_FORGET_ATTEMPTS: Final = "DELETE FROM attempts WHERE seq IN carray(?)"

_FORGET: Final = "DELETE FROM events WHERE seq IN carray(?)"

_NEXT_OF_KEY: Final = """
SELECT seq FROM events WHERE key_look = ? AND key_look IS NOT NULL ORDER BY seq LIMIT 1
"""

_REHOME: Final = "UPDATE events SET look = ? WHERE seq = ?"


def _remove(connection: apsw.Connection, shared: Tables, seqs: Sequence[int]) -> None:
    if not seqs:
        return
    going = fetch(connection, _GOING, (numbers(seqs),))
    endpoints = {seq: endpoint for seq, endpoint, *_ in going}
    tally = Tally()
    for seq, state in fetch(connection, _FORGET_SETTLED, (numbers(seqs),)):
        if seq in endpoints:
            tally.add(endpoints[seq], state, -1)
    tally.write(connection)
    subjects = [each for row in going if (each := _subject(shared, row)) is not None]
    if subjects:
        connection.executemany(_FORGET_SUBJECT, subjects)
    connection.execute(_FORGET_ATTEMPTS, (numbers(seqs),))
    connection.execute(_FORGET, (numbers(seqs),))
    for _, _, flags, look, _ in going:
        if look is not None and flags < events.PROXIED:
            # Copies of what is left of a conflict are found by the key again.
            for (heir,) in fetch(connection, _NEXT_OF_KEY, (look,)):
                connection.execute(_REHOME, (look, heir))


def _subject(shared: Tables, row: events.Row) -> tuple[int, int] | None:
    """Return the digest of the subject that this event may be the newest state of."""
    seq, _, flags, _, raw = row
    head: list[Any] = events.parse_head(raw)
    subject = head[events.SUBJECT]
    if flags & (events.INITIAL | events.PROXIED) or not isinstance(subject, str):
        return None
    try:
        return shared.digests.subject(str(head[events.ENDPOINT]), subject), seq
    except UnicodeEncodeError:
        return None


# ---- leases that nobody holds, and times that cannot be right -------------------------------

_ORPHANED: Final = f"""
DELETE FROM inhand WHERE until > ? RETURNING upstream, {REST}
"""  # noqa: S608 - columns, no values

_PUT_OFF: Final = f"""
DELETE FROM queue WHERE upstream = ? AND place = 1 AND at > ? RETURNING {REST}
"""  # noqa: S608 - columns, no values


def recover(connection: apsw.Connection) -> int:
    """Make every leased event due; return how many. No process may hold a lease."""
    return _orphan(connection, events.EARLIEST)


def advance(connection: apsw.Connection, now: datetime, horizon: datetime) -> int:
    """Make every event due that would be later than `horizon`; return how many."""
    time, limit = events.micros(now), events.micros(horizon)
    with connection:
        queued: list[QueueRow] = []
        for upstream in read_names(connection):
            for row in sane(fetch(connection, _PUT_OFF, (upstream, limit))):
                seq, attempts, earlier, since, due, last, lane = row
                rest = (seq, attempts, earlier, *aged(since, due, time, time), last, lane)
                queued.append((upstream, events.READY, 0, *rest))
        enqueue(connection, queued)
        orphaned = _orphan(connection, limit)
    return len(queued) + orphaned


def _orphan(connection: apsw.Connection, after: int) -> int:
    """Queue what is leased until later than that."""
    tally = Tally()
    with connection:
        rows = fetch(connection, _ORPHANED, (after,))
        upstreams = [row[0] for row in rows]
        found = zip(upstreams, sane([row[1:] for row in rows]), strict=True)
        enqueue(connection, [(upstream, events.READY, 0, *row) for upstream, row in found])
        lanes.advance_all(connection, [(row[0], row[-1]) for row in rows])
        tally.move_all(connection, [row[1] for row in rows], events.LEASED, events.PENDING)
        tally.write(connection)
    return len(rows)


# ---- counting and checking ------------------------------------------------------------------

_PROBE: Final = "INSERT OR REPLACE INTO probe (one, filler) VALUES (1, zeroblob(16384))"

_FINDINGS: Final = 20

# Everything but whether each index holds what its table does, which takes several times as long.
_INSPECT: Final = f"PRAGMA quick_check({_FINDINGS})"

# Events of which fewer destinations are found than they name. Few are in hand: those are counted
# only where that may matter.
LOST: Final = """
NOT flags & 64 AND CASE WHEN json_valid(CAST(head AS TEXT))
    THEN json_array_length(CAST(head AS TEXT), '$[1]') ELSE 1 END
> (SELECT count(*) FROM settled WHERE settled.seq = events.seq)
+ (SELECT count(*) FROM queue WHERE queue.seq = events.seq)
+ iif(events.seq IN (SELECT seq FROM inhand),
    (SELECT count(*) FROM inhand WHERE inhand.seq = events.seq), 0)
"""

_ALL_LOST: Final = f"SELECT count(*) FROM events WHERE {LOST}"  # noqa: S608 - no values

_TALLIES: Final = "SELECT endpoint, status, deliveries FROM tallies WHERE deliveries > 0"

# The oldest ready and the oldest behind are the first of their places; what waits is looked at.
_OLDEST: Final = """
SELECT min(seq) FROM (
    SELECT * FROM (
        SELECT seq FROM queue WHERE upstream = ?1 AND place = 0 AND at = 0 ORDER BY seq LIMIT 1
    )
    UNION ALL
    SELECT * FROM (
        SELECT seq FROM queue WHERE upstream = ?1 AND place = 2 AND at = 0 ORDER BY seq LIMIT 1
    )
    UNION ALL SELECT min(seq) FROM queue WHERE upstream = ?1 AND place = 1
    UNION ALL SELECT min(seq) FROM inhand WHERE upstream = ?1
)
"""

_RECEIVED: Final = "SELECT received_at FROM events WHERE seq = ?"


def probe(connection: apsw.Connection) -> None:
    """Write as much as a large delivery would need, in a place that nobody reads."""
    connection.execute(_PROBE)


def check_integrity(connection: apsw.Connection) -> tuple[str, ...]:
    """Return what SQLite finds wrong with the file, at most `_FINDINGS` lines.

    Raises:
        SpoolUnavailable: it could not be checked.
    """
    try:
        found = [str(line) for (line,) in fetch(connection, _INSPECT)]
        [(lost,)] = fetch(connection, _ALL_LOST) if found == ["ok"] else [(0,)]
    except apsw.Error as error:
        if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
            return (str(error),)
        raise unavailable(error) from error
    if lost:
        return (f"{lost} events are neither waiting nor leased nor settled for each upstream",)
    return () if found == ["ok"] else tuple(found)


def oldest_pending(connection: apsw.Connection) -> dict[str, datetime]:
    """Return the time of receipt of the oldest unfinished event, by upstream."""
    return {
        name: events.moment(time)
        for number, name in read_names(connection).items()
        for (seq,) in fetch(connection, _OLDEST, (number,))
        for (time,) in fetch(connection, _RECEIVED, (seq,))
    }


def stats(connection: apsw.Connection, path: Path) -> SpoolStats:
    """Return counts and sizes."""
    with connection:
        names = read_names(connection)
        tallies = fetch(connection, _TALLIES)
        oldest = oldest_pending(connection)
    return SpoolStats(
        events={
            (names[endpoint], STATUSES[status]): number
            for endpoint, status, number in tallies
            if endpoint in names and status in STATUSES
        },
        oldest_pending=oldest,
        size=disk.size(path),
        free=disk.free(path),
    )
