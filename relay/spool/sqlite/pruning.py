"""Removing what has been kept for long enough: bodies first, records of events later.

An event goes only when none of its destinations is unfinished, dead or held. Those that stay are
not looked at in each step: a sweep goes on where its last step has ended, and is over when it has
found nothing from the first event to the last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import apsw

from relay.spool.sqlite import events
from relay.spool.sqlite.events import fetch
from relay.spool.sqlite.tables import Tables, Tally, numbers

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


def _find(
    connection: apsw.Connection, statement: str, position: Position, before: int, limit: int
) -> tuple[list[int], bool]:
    """Return up to `limit` events that may go, and whether there may be more to look at."""
    looked_at = 0
    while looked_at < _LOOKED_AT:
        at = (before, position.received_at, position.seq, limit)
        rows = fetch(connection, statement, at)
        if not rows:
            return [], False
        looked_at += len(rows)
        seqs = [seq for _, seq in rows]
        stays = {seq for (seq,) in fetch(connection, _STAYS, (numbers(seqs),))}
        position.received_at, position.seq = rows[-1]
        if found := [seq for seq in seqs if seq not in stays]:
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
