"""Keeping order: which events of an upstream have to wait for an earlier one.

Events of one lane are about one subject, or else of one key. The first unfinished one may be
leased; the others are `behind` as soon as a claim has met them, and the next moves up when the one
before it is finished. Lanes are written down only for upstreams that are served in order.
"""

from collections.abc import Sequence
from typing import Final

import apsw
import orjson

from relay.spool.sqlite import events
from relay.spool.sqlite.events import Tables, fetch, numbers

# ---- turning order on and off ---------------------------------------------------------------

# How many destinations one claim looks at while lanes are written down, and moves at most when
# order is not wanted any more: a few milliseconds, since what is to be stored waits for it.
_LANE_STEP: Final = 500
_BEHIND_STEP: Final = 500

# By number of the event: that stays when a destination moves within the queue.
_STEP_END: Final = """
SELECT count(*), max(seq) FROM (SELECT seq FROM queue WHERE seq > ? ORDER BY seq LIMIT ?)
"""

_UNLANED: Final = """
SELECT queue.seq, head FROM queue INDEXED BY queue_event JOIN events USING (seq)
WHERE queue.seq > ? AND queue.seq <= ? AND upstream = ? AND lane IS NULL
"""

_UNLANED_LEASED: Final = """
SELECT inhand.seq, head FROM inhand JOIN events USING (seq) WHERE upstream = ? AND lane IS NULL
"""

_SET_LANE: Final = "UPDATE queue SET lane = ? WHERE seq = ? AND upstream = ?"

_SET_LANE_LEASED: Final = "UPDATE inhand SET lane = ? WHERE seq = ? AND upstream = ?"

_UNORDERED: Final = """
UPDATE queue SET place = 0
WHERE upstream = ?1 AND place = 2 AND at = 0 AND seq IN (
    SELECT seq FROM queue WHERE upstream = ?1 AND place = 2 AND at = 0 ORDER BY seq LIMIT ?2
)
"""

_ANY_BEHIND: Final = "SELECT 1 FROM queue WHERE upstream = ? AND place = 2 LIMIT 1"


def set_order(connection: apsw.Connection, shared: Tables, upstream: int, *, ordered: bool) -> bool:
    """Write down whether this upstream is served in order; return False while that takes longer.

    What was stored before has no lanes yet. They are made here: of what is leased at once, of what
    is queued from the first event to the last, so many in each call.
    """
    names = shared.names
    before = names.order(upstream)
    if not ordered:
        if before != events.UNORDERED:
            names.set_order(connection, upstream, events.UNORDERED)
        if fetch(connection, _ANY_BEHIND, (upstream,)):
            connection.execute(_UNORDERED, (upstream, _BEHIND_STEP))
        return True
    if before == events.ORDERED:
        return True
    if before == events.UNORDERED:
        before = events.BECOMING_ORDERED
        leased = fetch(connection, _UNLANED_LEASED, (upstream,))
        _set_lanes(connection, shared, _SET_LANE_LEASED, upstream, leased)
    start = before - events.BECOMING_ORDERED
    [(number, end)] = fetch(connection, _STEP_END, (start, _LANE_STEP))
    if number:
        rows = fetch(connection, _UNLANED, (start, end, upstream))
        _set_lanes(connection, shared, _SET_LANE, upstream, rows)
    complete: bool = number < _LANE_STEP
    state = events.ORDERED if complete else events.BECOMING_ORDERED + end
    names.set_order(connection, upstream, state)
    return complete


def _set_lanes(
    connection: apsw.Connection,
    shared: Tables,
    statement: str,
    upstream: int,
    rows: Sequence[events.Row],
) -> None:
    if rows:
        made = [(_lane(shared, head), seq, upstream) for seq, head in rows]
        connection.executemany(statement, made)


def lane_of(shared: Tables, upstream: int, head: bytes) -> int | None:
    """Return the lane of an event of this upstream; None where order is not kept."""
    return None if shared.names.order(upstream) == events.UNORDERED else _lane(shared, head)


def _lane(shared: Tables, head: bytes) -> int:
    try:
        parts = orjson.loads(head)
        endpoint, subject, key = parts[events.ENDPOINT], parts[events.SUBJECT], parts[events.KEY]
        return shared.digests.lane(endpoint, subject, key)
    except (TypeError, ValueError, LookupError, AttributeError):
        # It is damaged, and dies as soon as it is read: a lane of its own.
        return shared.digests.lane("", None, repr(head))


# ---- who may go -----------------------------------------------------------------------------

_READY: Final = """
SELECT seq, lane FROM queue WHERE upstream = ? AND place = 0 AND at = 0 ORDER BY seq LIMIT ?
"""

_FIRST: Final = """
SELECT seq, place FROM queue WHERE upstream = ? AND lane = ? AND lane IS NOT NULL
ORDER BY seq LIMIT 1
"""

_LEASED: Final = "SELECT DISTINCT lane FROM inhand WHERE upstream = ? AND lane IS NOT NULL"

_PUT_BEHIND: Final = """
UPDATE queue SET place = 2 WHERE upstream = ? AND place = 0 AND at = 0 AND seq IN carray(?)
"""

_MOVE_UP: Final = """
UPDATE queue SET place = 0 WHERE upstream = ? AND place = 2 AND at = 0 AND seq = ?
"""


def heads(connection: apsw.Connection, upstream: int, limit: int, step: int) -> list[int]:
    """Return up to `limit` ready events with nothing before them in their lane.

    The others move out of the way, so that the next claim need not look at them again.
    """
    first: list[int] = []
    behind: list[int] = []
    # A later one may be leased, too, where one is due again that had left its lane.
    leased = {lane for (lane,) in fetch(connection, _LEASED, (upstream,))}
    for seq, lane in fetch(connection, _READY, (upstream, step)):
        [(earliest, _)] = fetch(connection, _FIRST, (upstream, lane)) or [(seq, None)]
        if earliest < seq or lane in leased:
            behind.append(seq)
        else:
            first.append(seq)
            if len(first) == limit:
                break
    if behind:
        connection.execute(_PUT_BEHIND, (upstream, numbers(behind)))
    return first


def advance(connection: apsw.Connection, upstream: int, lanes: Sequence[int | None]) -> None:
    """Let the next event of each of these lanes move up: one has ended, or is leased no more."""
    known = [lane for lane in dict.fromkeys(lanes) if lane is not None]
    if not known or not fetch(connection, _ANY_BEHIND, (upstream,)):
        return
    for lane in known:
        for seq, place in fetch(connection, _FIRST, (upstream, lane)):
            if place == events.BEHIND:
                connection.execute(_MOVE_UP, (upstream, seq))


def advance_all(connection: apsw.Connection, returned: Sequence[tuple[int, int | None]]) -> None:
    """Do as `advance` with what is leased no more: upstream and lane of each."""
    for upstream in {upstream for upstream, _ in returned}:
        advance(connection, upstream, [lane for each, lane in returned if each == upstream])
