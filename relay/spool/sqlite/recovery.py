"""What is done before the first claim: leases that nobody holds, and times that cannot be right."""

from datetime import datetime
from typing import Final

import apsw

from relay.spool.sqlite import events, tables
from relay.spool.sqlite.events import fetch
from relay.spool.sqlite.queue import REST, QueueRow, aged, enqueue, sane
from relay.spool.sqlite.tables import Tally, read_names

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
                queued.append((upstream, tables.READY, 0, *rest))
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
        enqueue(connection, [(upstream, tables.READY, 0, *row) for upstream, row in found])
        tally.move_all(connection, [row[1] for row in rows], tables.LEASED, tables.PENDING)
        tally.write(connection)
    return len(rows)
