"""Copies: what one does to the event that it repeats.

A copy of a dead event makes it due again, and so does one of an event that is held because its
provider did not confirm it. A copy that comes whole replaces an event that is damaged, or whose
body has been pruned. Anything else it leaves as it is. `intake` calls here for what it could not
insert: none of this is on the way of a new event.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from hashlib import sha256
from itertools import zip_longest
from typing import Final, NamedTuple, Protocol

import apsw
import orjson

from relay.core.event import FINAL, STATUS_CONTRADICTS_CODE
from relay.core.request import VerifiedDelivery
from relay.spool import Duplicate, PutResult
from relay.spool.sealing import KeyMissing
from relay.spool.sqlite import content, events, lanes, queue
from relay.spool.sqlite.events import Row, Tables, Tally, fetch, numbers
from relay.spool.sqlite.keyring import FindKey, Numbered


class Copy(Protocol):
    """A delivery whose event is known (`relay.spool.sqlite.intake.NewEvent`).

    now: steady time. result: which event it is. revived: the upstreams for which it has made that
        due.
    """

    id: str
    delivery: VerifiedDelivery
    content: bytes
    endpoint: int
    flags: int
    head: bytes
    body: bytes
    received_at: int
    now: int
    result: PutResult | None
    revived: Sequence[str]


@dataclass(frozen=True, slots=True)
class Known:
    """The event that a delivery seems to repeat.

    is_new: it has come in the same batch, and lies nowhere yet.
    same_content: whether both say the same.
    conflicts_with: the first event of its key, where it is a later one in conflict with that.
    look: of the delivery's key, where that is another one.
    """

    seq: int
    id: str
    is_new: bool
    same_content: bool = True
    conflicts_with: str | None = None
    look: bytes | None = None


# No copy makes an event due that has ended for one of these reasons.
_FOR_GOOD: Final = frozenset({FINAL.encode(), STATUS_CONTRADICTS_CODE.encode()})


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one destination of an event lies. last: the outcome of its last attempt."""

    upstream: int
    state: int
    attempts: int
    earlier: int
    last: bytes | None
    reason: bytes | None

    @property
    def damaged(self) -> bool:
        return self.state == events.DEAD and self.last == b"corrupt"

    def may_go(self, *, contradicts: bool, agrees: bool) -> bool:
        """Return whether a copy makes it due.

        contradicts: the event does what is signed. agrees: the provider says the same.
        """
        if self.state == events.HELD:
            return agrees or not (contradicts or self.reason in _FOR_GOOD)
        return self.state == events.DEAD and self.reason not in _FOR_GOOD


#: A copy revives an event at most once in this time.
REVIVAL_INTERVAL: Final = timedelta(minutes=1)
_INTERVAL: Final = REVIVAL_INTERVAL // timedelta(microseconds=1)

_PLACES: Final = """
SELECT upstream, state, attempts, earlier, CAST(outcome AS BLOB), CAST(reason AS BLOB)
FROM settled WHERE seq = ?1
UNION ALL SELECT upstream, -2, attempts, earlier, NULL, NULL FROM queue WHERE seq = ?1
UNION ALL SELECT upstream, -1, attempts, earlier, NULL, NULL FROM inhand WHERE seq = ?1
"""

EVENT: Final = f"SELECT {content.EVENT} FROM events WHERE seq = ?"  # noqa: S608 - columns

_REPLACE: Final = """
UPDATE events SET id = ?, look = ifnull(?, look), content = ?, endpoint = ?, flags = ?,
    conflicts_with = ?, head = ?, seal = ?, sealed_by = ?, body = ?
WHERE seq = ?
"""

# The first attempt of a round tells when that began.
_ROUND: Final = "SELECT at FROM attempts WHERE seq = ? AND upstream = ? AND number = ?"

_RESEAL: Final = "UPDATE events SET flags = ?, head = ?, seal = ? WHERE seq = ?"

_NEWEST: Final = "SELECT seq FROM subjects WHERE hash = ? AND seq > ?"

# What is leased may have reached its upstream already.
_GONE_OUT: Final = """
SELECT 1 FROM settled WHERE seq = ?1 AND state = 1 UNION ALL SELECT 1 FROM inhand WHERE seq = ?1
"""

_GONE_THERE: Final = """
SELECT 1 FROM settled WHERE seq = ?1 AND state = 1 AND upstream IN carray(?2)
UNION ALL SELECT 1 FROM inhand WHERE seq = ?1 AND upstream IN carray(?2)
"""

# No index has the events of a subject: those in between are read, so many of them. Many may be
# requeued together, and what comes in waits for that.
_BETWEEN: Final = """
SELECT seq, CASE WHEN flags & 1 = 0 AND instr(head, ?3) THEN head END FROM events
WHERE seq > ?1 AND seq < ?2 ORDER BY seq LIMIT ?4
"""
_MOST_BETWEEN: Final = 1000

TAKE: Final = "DELETE FROM settled WHERE seq = ? AND upstream = ?"


def take(
    connection: apsw.Connection, shared: Tables, known: Known, copy: Copy, tally: Tally
) -> bool:
    """Return whether this is a copy of a known event; if so, it has its result, and its effect.

    The event keeps its id, its time of receipt and its place in the order, and its destinations,
    too, unless its copies go to none of them any more: then what is due again goes where they go.
    What differs is a copy only of an event that is dead of damage, since damage is no content.
    """
    places = [] if known.is_new else _places(connection, known.seq)
    if not known.same_content and not any(place.damaged for place in places):
        return False
    if not known.is_new and not copy.flags & events.TEST_FLAG:
        copy.revived = _apply(connection, shared, known, copy, places=places, tally=tally)
    copy.result = Duplicate(_id(known, copy), revived=bool(copy.revived))
    return True


def _places(connection: apsw.Connection, seq: int) -> list[_Place]:
    return [_Place(*row) for row in fetch(connection, _PLACES, (seq,))]


def _apply(
    connection: apsw.Connection,
    shared: Tables,
    known: Known,
    copy: Copy,
    *,
    places: Sequence[_Place],
    tally: Tally,
) -> Sequence[str]:
    """Replace and revive what is to be; return the upstreams for which anything is due now."""
    [row] = fetch(connection, EVENT, (known.seq,))
    if row[-1] is None and row[3] & events.REMOVED:
        return ()
    names, head = shared.names, row[5]
    sound = _is_sound(row, names.by_number, partial(shared.keyring.find, connection))
    contradicts = bool((row[3] if sound else copy.flags) & events.CONTRADICTS)
    agrees = contradicts and bool(copy.flags & events.RECONCILED)
    going = [
        place
        for place in places
        if (place.damaged and not sound)
        or (
            place.may_go(contradicts=contradicts, agrees=agrees)
            and not _is_recent(connection, known.seq, copy, place)
        )
    ]
    written = events.upstreams_in(events.parse_head(head))
    named = [names.by_name[name] for name in written if name in names.by_name]
    copied = [names.number(connection, name) for name in copy.delivery.upstreams]
    held = [place.upstream for place in places]
    moves = _moves(going, held, named, copied, sound=sound) if held or written else []
    targets = {move.upstream for move in moves}
    after = {*held} - {place.upstream for place in going} | targets
    if not sound or agrees or not after <= {*named}:
        order = dict.fromkeys((*named, *copied, *held))
        head = _head(copy, [names.by_number[each] for each in order if each in after], head)
        writes = shared.keyring.writes
        row = _replace(connection, writes, known, copy, received_at=row[2], head=head)
    # Where none of it was before may be another name of where it was.
    there = [*targets] if targets <= {*held} else []
    if going and is_overtaken(connection, shared, known.seq, head, there):
        reseal(connection, known.seq, row, row[3] | events.OUT_OF_ORDER)
    for place in going:
        connection.execute(TAKE, (known.seq, place.upstream))
        tally.add(copy.endpoint, place.state, -1)
    for upstream, tried, last, counted in moves:
        target = known.seq, upstream
        put_due(connection, shared, target, head, now=copy.now, tried=tried, last=last)
        tally.add(copy.endpoint, events.PENDING, not counted)
    return [names.by_number[move.upstream] for move in moves]


class _Move(NamedTuple):
    """A destination that is due now, how often it has been tried, and with what outcome at last.

    counted: it was lost to damage, but not to the tallies.
    """

    upstream: int
    tried: int = 0
    last: bytes | None = None
    counted: bool = False


def _moves(
    going: Sequence[_Place],
    held: Sequence[int],
    named: Sequence[int],
    copied: Sequence[int],
    *,
    sound: bool,
) -> list[_Move]:
    """Return what is due now of an event that has upstreams: what goes, and what has been lost.

    held: where it lies. named: where its head says that it lies. copied: where its copy goes. What
    a destination that goes has been through counts where it goes to.
    """
    astray = bool(copied) and {*copied}.isdisjoint((*held, *named))
    # Where these lay is damaged, and no statement finds it any more.
    lost = [each for each in named if each not in held]
    if not held:
        to = copied if copied and (astray or not sound) else lost
        # One whose head cannot be read more likely went nowhere than that all its places are lost.
        return [_Move(each, counted=bool(named)) for each in to]
    stays, targets = [], copied
    if not (astray and going):
        stays, targets = [place for place in going if not sound or place.upstream in named], lost
    moves = [_Move(place.upstream, place.attempts, place.last) for place in stays]
    strays = [place for place in going if place not in stays]
    for target, place in zip_longest(targets, strays):
        if place is None:
            moves.append(_Move(target, counted=not astray))
        elif target is not None:
            moves.append(_Move(target, place.attempts, place.last))
    return moves


def _is_sound(row: Row, names: Mapping[int, str], find: FindKey) -> bool:
    """Return whether an event is what was stored, its body included.

    One whose key is not named is taken for sound.
    """
    try:
        return row[-1] is not None and content.event(row, names, None, find) is not None
    except KeyMissing:
        return True


def _is_recent(connection: apsw.Connection, seq: int, copy: Copy, place: _Place) -> bool:
    """Return whether a destination has been made due again a moment ago."""
    if not place.earlier:
        return False
    began = fetch(connection, _ROUND, (seq, place.upstream, place.earlier + 1))
    return any(abs(copy.received_at - at) < _INTERVAL for (at,) in began if isinstance(at, int))


def _head(copy: Copy, upstreams: Sequence[str], before: object) -> bytes:
    """Return the head of a copy with these upstreams.

    What its event repeats is kept, as far as the head before can be read.
    """
    parts, known = orjson.loads(copy.head), events.parse_head(before)
    parts[events.UPSTREAMS] = upstreams
    head = events.head_of(tuple(parts))
    if len(known) > events.REPEATS and isinstance(known[events.REPEATS], str):
        return with_repeats(head, known[events.REPEATS])
    return head


def _id(known: Known, copy: Copy) -> str:
    """Return the id of an event from now on: its own, unless that cannot be read any more."""
    return copy.id if "\ufffd" in known.id else known.id


def _replace(
    connection: apsw.Connection,
    writes: Numbered | None,
    known: Known,
    copy: Copy,
    *,
    received_at: int,
    head: bytes,
) -> Row:
    """Write a copy over the row of its event; return that row, as it was read."""
    event_id, first = _id(known, copy), known.conflicts_with
    raw_id, raw_first = event_id.encode(), None if first is None else first.encode()
    told = content.stored(
        writes, raw_id, received_at, copy.flags, raw_first, head=head, body=copy.body
    )
    kept = (copy.content, copy.endpoint, copy.flags, first, *told)
    connection.execute(_REPLACE, (event_id, known.look, *kept, known.seq))
    return raw_id, copy.endpoint, received_at, copy.flags, raw_first, *told


# ---- what is due again ----------------------------------------------------------------------


def put_due(
    connection: apsw.Connection,
    shared: Tables,
    destination: tuple[int, int],
    head: bytes,
    *,
    now: int,
    tried: int = 0,
    last: bytes | None = None,
    later: int = 0,
) -> None:
    """Queue a destination (event and upstream), which is due now with a fresh schedule.

    tried: how often it has been. last: what came of that. later: microseconds from now on until it
        is due, which do not count as waiting.
    """
    seq, upstream = destination
    lane, due = lanes.lane_of(shared, upstream, head), now + later
    place = (events.WAITING, due) if later else (events.READY, 0)
    row = (upstream, *place, seq, tried, tried, due, due, last, lane)
    queue.enqueue(connection, [row])


def is_overtaken(
    connection: apsw.Connection,
    shared: Tables,
    seq: int,
    head: bytes,
    upstreams: Sequence[int] = (),
) -> bool:
    """Return whether a later state of an event's subject has been delivered, or is under way.

    It is the newest one, or among the next so many events. upstreams: at one of these; none: at any
    upstream.
    """
    parts = events.parse_head(head)
    subject = parts[events.SUBJECT]
    if not isinstance(subject, str):
        return False
    place = shared.digests.subject(str(parts[events.ENDPOINT]), subject)
    for (newest,) in fetch(connection, _NEWEST, (place, seq)):
        if _gone_out(connection, newest, upstreams):
            return True
        written = orjson.dumps(subject)
        between = fetch(connection, _BETWEEN, (seq, newest, written, _MOST_BETWEEN))
        same = (number for number, found in between if found and _is_of(found, parts))
        return any(_gone_out(connection, number, upstreams) for number in same)
    return False


def _gone_out(connection: apsw.Connection, seq: int, upstreams: Sequence[int]) -> bool:
    if not upstreams:
        return bool(fetch(connection, _GONE_OUT, (seq,)))
    return bool(fetch(connection, _GONE_THERE, (seq, numbers(upstreams))))


def _is_of(head: bytes, parts: Sequence[object]) -> bool:
    """Return whether a head is one of the same endpoint and subject."""
    found = events.parse_head(head)
    return all(found[each] == parts[each] for each in (events.ENDPOINT, events.SUBJECT))


def reseal(
    connection: apsw.Connection, seq: int, row: Row, flags: int, head: bytes | None = None
) -> None:
    """Write these flags, and a head if given, to an event, with the seal that fits.

    Its row is sound.
    """
    event_id, _, received_at, _, conflicts_with, before, _, _, body = row
    head = before if head is None else head
    seal = events.seal(
        event_id, received_at, flags, conflicts_with, head=head, body_sha256=sha256(body).digest()
    )
    connection.execute(_RESEAL, (flags, head, seal, seq))


# ---- events of their own --------------------------------------------------------------------


def with_repeats(head: bytes, first: str) -> bytes:
    """Return the head of an event that repeats another one."""
    parts = orjson.loads(head)
    parts[events.REPEATS :] = [first, *parts[events.REPEATS + 1 :]]
    return events.head_of(tuple(parts))


def aside(flags: int) -> tuple[int, str | None] | None:
    """Return the state, and the reason, of a new event that is not to be delivered; else None."""
    if flags & events.TEST_FLAG:
        return events.TEST, None
    held = flags & (events.CONTRADICTS | events.CONFIRM) == events.CONTRADICTS
    return (events.HELD, STATUS_CONTRADICTS_CODE) if held else None
