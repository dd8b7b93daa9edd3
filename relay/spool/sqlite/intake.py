"""Storing: a batch of new events in a handful of statements.

An INSERT decides what is new. Only where it has stored fewer rows than there are events, each of
the others is looked at: a copy, a conflict, an event restated under another key.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

import apsw

from relay.core.errors import SpoolUnavailable
from relay.core.event import Lease, event_of
from relay.core.request import Keep, OnConflict, OnReplay, VerifiedDelivery
from relay.spool import Conflict, Handoff, PutResult, Stored
from relay.spool.sqlite import content, copies, events, removal
from relay.spool.sqlite.events import Digests, Names, Tables, Tally, fetch, numbers
from relay.spool.sqlite.keyring import Numbered

# ---- one event that is to be stored ---------------------------------------------------------

#: Called on the event loop: what it has become, or why it is not stored.
Done = Callable[[PutResult | SpoolUnavailable], None]

#: With whom one destination of an event has a seat, and the token of the lease that it has then.
Seat = tuple[Handoff, int]


class NewEvent:
    """An event from `put` to its answer, with the columns of its row.

    Made on the event loop; the writer completes it.

    now: steady time in microseconds. seats: of its upstreams, by name, those with whom it has a
    seat since the steady time `since`. revived: it is a copy, and its event is due there because of
    it.
    """

    __slots__ = (
        *("body", "conflicts_with", "content", "endpoint", "flags", "head", "id", "key_look"),
        *("look", "plain", "received_at", "repeats", "restated", "seal", "seq"),
        *("delivery", "done", "error", "now", "result", "revived", "seats", "since", "subject"),
        *("withdrawn",),
    )

    def __init__(self, delivery: VerifiedDelivery, digests: Digests, now: int, done: Done) -> None:
        """Take the parts.

        Raises:
            ValueError: a text holds half a surrogate pair, and could not be stored.
        """
        verification, received = delivery.verification, delivery.delivery
        endpoint = received.endpoint
        self.delivery, self.now, self.done = delivery, now, done
        self.seq = self.endpoint = 0
        self.id = delivery.event_id
        self.head = events.head_of(events.head_parts(delivery))
        self.look = digests.look(endpoint, verification.key)
        self.content = verification.content
        replay = verification.replay_digest
        self.restated = None if replay is None else digests.restated(endpoint, replay)
        subject = verification.subject
        self.subject = None if subject is None else digests.subject(endpoint, subject)
        self.received_at = events.micros(received.head.received_at)
        self.flags = (
            verification.is_initial * events.INITIAL
            | delivery.reconciled * events.RECONCILED
            | delivery.confirm * events.CONFIRM
            | verification.test * events.TEST_FLAG
            | (events.TOKENS if verification.tokens else 0)
        )
        if verification.hold is not None and not delivery.reconciled:
            self.flags |= events.CONTRADICTS
        self.key_look: bytes | None = None
        self.conflicts_with: str | None = None
        self.repeats: str | None = None
        self.plain: tuple[bytes, bytes | None, bytes] | None = None
        self.body = received.body
        self.put_seal()
        self.seats: dict[str, Seat] = {}
        self.withdrawn = False
        self.revived: Sequence[str] = ()
        self.result: PutResult | None = None
        self.error: SpoolUnavailable | None = None

    def put_seal(self) -> None:
        """Seal it; call it again when its flags or its conflict have changed."""
        first = None if self.conflicts_with is None else self.conflicts_with.encode()
        self.seal = events.seal(
            self.id.encode(),
            self.received_at,
            self.flags,
            first,
            head=self.head,
            body_sha256=self.delivery.delivery.body_sha256,
        )

    def in_order(self) -> None:
        """Forget that it was out of order, a repeat or in conflict: the transaction that found it
        failed.
        """
        if self.flags & events.OUT_OF_ORDER or self.plain is not None:
            self.flags &= ~events.OUT_OF_ORDER
            if self.plain is not None:
                self.look, self.restated, self.head = self.plain
            self.key_look = self.conflicts_with = self.repeats = self.plain = None
            self.put_seal()

    def conflict(self, first: str, look: bytes | None = None) -> None:
        """Mark it as in conflict with an event; `look` is its own from now on, where it has one.

        Call `put_seal` when it is marked in every way.
        """
        self._mark()
        self.conflicts_with = first
        if look is not None:
            self.look, self.key_look = look, self.look

    def replay(self, first: str | None) -> None:
        """Take its replay digest away, which another event has; `first`: it repeats that one."""
        self._mark()
        self.restated = None
        if first is not None:
            self.repeats, self.head = first, copies.with_repeats(self.head, first)

    def _mark(self) -> None:
        if self.plain is None:
            self.plain = self.look, self.restated, self.head

    def seat(self, upstream: str, handoff: Handoff, token: int, since: datetime) -> None:
        """Give it the seat that has been reserved with this handoff, from this steady time on."""
        self.seats[upstream] = handoff, token
        self.since = since

    def withdraw(self) -> None:
        """Do not store it, unless that has begun; it is not called back for."""
        self.withdrawn = True

    def resolve(self) -> None:
        """Call back with the result."""
        answer = self.result or self.error
        if answer is not None and not self.withdrawn:
            self.done(answer)

    def hand_over(self, release: Callable[[Lease], None]) -> Sequence[str]:
        """Offer the event where it has a seat, or free its seats; release what is refused.

        Returns the upstreams for which it has left an event to be claimed.
        """
        stored = self.result
        if not isinstance(stored, Stored):
            for handoff, _ in self.seats.values():
                handoff.seats.cancel()
                handoff.cancelled()
            return self.revived
        upstreams = self.delivery.upstreams
        for upstream, (handoff, token) in self.seats.items():
            seats = handoff.seats
            seats.reserved -= 1
            leased = event_of(
                self.delivery,
                stored.conflicts_with,
                out_of_order=stored.out_of_order,
                repeats=stored.repeats,
                upstream=upstream,
            )
            until = self.since + seats.lease_time
            lease = Lease(leased, 1, 1, self.since, until, None, token)
            if not handoff.offer(lease):
                release(lease)
        if len(self.seats) == len(upstreams):
            return ()
        return [each for each in upstreams if each not in self.seats]


# ---- storing a batch ------------------------------------------------------------------------

_LAST: Final = "SELECT max(ifnull((SELECT max(seq) FROM events), 0), (SELECT seq FROM refs_to))"

#: The columns that `_INSERT` writes, in their order.
_columns: Final = attrgetter(
    *("seq", "id", "look", "content", "restated", "endpoint", "received_at", "flags"),
    *("conflicts_with", "key_look", "head", "seal", "body"),
)

_INSERT: Final = """
INSERT INTO events VALUES (?,?,?,?,?,?,?,?,?,?,?,?,NULL,?) ON CONFLICT DO NOTHING
"""
_INSERT_SEALED: Final = _INSERT.replace("NULL", "?")

_STORED: Final = "SELECT seq FROM events WHERE seq IN carray(?)"

_LATER: Final = "SELECT hash, seq FROM subjects WHERE hash IN carray(?)"

_SUBJECT: Final = """
INSERT INTO subjects VALUES (?, ?) ON CONFLICT (hash) DO UPDATE SET seq = excluded.seq
"""

_HAND_OVER: Final = "INSERT INTO inhand VALUES (?,?,?,?,1,0,?,?,NULL,?)"

_QUEUE: Final = "INSERT INTO queue VALUES (?,0,0,?,0,0,?,?,NULL,?)"

_KEEP: Final = "INSERT INTO settled VALUES (?,?,?,?,0,0,NULL,NULL,?)"


def store(
    connection: apsw.Connection, shared: Tables, new: Sequence[NewEvent], tally: Tally
) -> None:
    """Store these, or say which event each is or stands against. Runs inside a transaction."""
    names, known_names = shared.names, shared.names.by_name
    seq = before = newest(connection, names)
    initial, others = [], []
    for each in new:
        if each.seq:
            # A transaction has tried to store it already, and failed.
            each.in_order()
            each.result, each.error, each.revived = None, None, ()
        seq += 1
        each.seq = seq
        name = each.delivery.delivery.endpoint
        each.endpoint = known_names.get(name) or names.number(connection, name)
        if each.subject is not None and each.flags & events.INITIAL:
            initial.append(each)
        else:
            others.append(each)
    names.newest = seq
    # Initial events go last: they are out of order where a later state has been stored.
    known = _later_states(connection, initial)
    stored = _insert(connection, shared, others, tally, before)
    subjects = [(each.subject, each.seq) for each in stored if each.subject is not None]
    if subjects:
        connection.executemany(_SUBJECT, subjects)
    if initial:
        for subject, number in subjects:
            known.setdefault(subject, number)
        for each in initial:
            if known.get(each.subject, each.seq) < each.seq:
                each.flags |= events.OUT_OF_ORDER
                each.put_seal()
        stored = stored + _insert(connection, shared, initial, tally, before)
    _place(connection, shared, stored, tally)


def newest(connection: apsw.Connection, names: Names) -> int:
    """Return the number of the last event that has been stored."""
    if names.newest is None:
        [(names.newest,)] = fetch(connection, _LAST)
    return names.newest or 0


def _later_states(
    connection: apsw.Connection, initial: Sequence[NewEvent]
) -> dict[int | None, int]:
    subjects = {each.subject for each in initial if each.subject is not None}
    return dict(fetch(connection, _LATER, (numbers(subjects),))) if subjects else {}


def _insert(
    connection: apsw.Connection, shared: Tables, new: list[NewEvent], tally: Tally, before: int
) -> list[NewEvent]:
    """Insert these; each has its result or its error afterwards. Return those that are stored.

    before: the last event before their batch.
    """
    if not new:
        return []
    changes = connection.total_changes()
    if (writes := shared.keyring.writes) is None:
        connection.executemany(_INSERT, list(map(_columns, new)))
    else:
        connection.executemany(_INSERT_SEALED, [_sealed(writes, each) for each in new])
    if connection.total_changes() - changes == len(new):
        for each in new:
            each.result = _stored(each)
        return new
    seqs = stored_of(connection, [each.seq for each in new])
    for each in new:
        if each.seq in seqs:
            each.result = _stored(each)
        else:
            _resolve_odd(connection, shared, each, tally, before)
    return [each for each in new if isinstance(each.result, Stored)]


def _sealed(writes: Numbered, new: NewEvent) -> tuple[Any, ...]:
    """Return the columns of an event that is sealed with this key, its number among them."""
    *readable, head, _, body = _columns(new)
    first = None if new.conflicts_with is None else new.conflicts_with.encode()
    told = content.stored(
        writes, new.id.encode(), new.received_at, new.flags, first, head=head, body=body
    )
    return *readable, *told


def stored_of(connection: apsw.Connection, seqs: Sequence[int]) -> set[int]:
    """Return those of these numbers, at least one, that are stored."""
    return {seq for (seq,) in fetch(connection, _STORED, (numbers(seqs),))}


def _stored(new: NewEvent) -> Stored:
    out_of_order = bool(new.flags & events.OUT_OF_ORDER)
    return Stored(new.id, new.conflicts_with, out_of_order, new.repeats)


def _place(  # noqa: C901, PLR0912 - one pass costs least
    connection: apsw.Connection, shared: Tables, stored: Sequence[NewEvent], tally: Tally
) -> None:
    """Put the destinations of these events, which have just been stored, where they lie now.

    One without destinations counts as delivered, and what is not kept of it then goes at once.
    """
    leased, ready, kept, private = [], [], [], []
    states = []
    known: dict[str, tuple[int, bool]] = {}
    for each in stored:
        seq, now, seats, lane = each.seq, each.now, each.seats, None
        aside = copies.aside(each.flags) if each.flags & events.ASIDE else None
        upstreams = each.delivery.upstreams
        for name in upstreams:
            upstream, unordered = known.get(name) or _upstream(connection, shared, name, known)
            if aside is not None:
                state, reason = aside
                kept.append((seq, upstream, state, each.received_at, reason))
                states.append((each.endpoint, state))
                continue
            if unordered:
                lane = None
            elif lane is None:
                lane = _lane(shared, each)
            if name in seats:
                handoff, token = seats[name]
                until = now + handoff.seats.lease_micros
                leased.append((token, seq, upstream, until, now, now, lane))
                states.append((each.endpoint, events.LEASED))
            else:
                ready.append((upstream, seq, now, now, lane))
                states.append((each.endpoint, events.PENDING))
        if not upstreams and (each.flags & events.TOKENS or each.delivery.keep is not Keep.ALL):
            private.append(seq)
    for at, number in Counter(states).items():
        tally.add(*at, number)
    if leased:
        connection.executemany(_HAND_OVER, leased)
    if ready:
        connection.executemany(_QUEUE, ready)
    if kept:
        connection.executemany(_KEEP, kept)
    if private:
        removal.remove_delivered(connection, shared, private)


def _upstream(
    connection: apsw.Connection, shared: Tables, name: str, known: dict[str, tuple[int, bool]]
) -> tuple[int, bool]:
    """Return, and remember, the number of an upstream and whether its events have no lanes."""
    number = shared.names.number(connection, name)
    known[name] = number, shared.names.order(number) == events.UNORDERED
    return known[name]


def _lane(shared: Tables, new: NewEvent) -> int:
    """Return the lane of an event, for an upstream that keeps order."""
    verification, endpoint = new.delivery.verification, new.delivery.delivery.endpoint
    return shared.digests.lane(endpoint, verification.subject, verification.key)


# ---- events that are not simply new ---------------------------------------------------------

# Ids as bytes: what is damaged may be no text any more.
_KNOWN: Final = """
SELECT seq, CAST(id AS BLOB), content, flags FROM events
WHERE look = ? AND look IS NOT NULL AND flags < 256
"""

_RESTATED: Final = """
SELECT seq, CAST(id AS BLOB), head FROM events WHERE restated = ? AND restated IS NOT NULL
"""


def _resolve_odd(
    connection: apsw.Connection, shared: Tables, new: NewEvent, tally: Tally, before: int
) -> None:
    """Say what an event is that was not inserted, or insert it marked as a conflict or a repeat.

    before: as in `_insert`.
    """
    if _is_known(connection, shared, new, tally, before):
        return
    verification = new.delivery.verification
    for seq, first, head in fetch(connection, _RESTATED, (new.restated,)):
        if verification.on_replay is OnReplay.DUPLICATE:
            known = copies.Known(seq, _id(first), seq > before, look=new.look)
            copies.take(connection, shared, known, new, tally)
            return
        new.replay(_id(first) if verification.on_replay is OnReplay.REPEATS else None)
        same_subject = events.parse_head(head)[events.SUBJECT] == verification.subject
        if verification.on_replay is OnReplay.CONFLICT and not same_subject:
            new.conflict(new.conflicts_with or _id(first))
    if new.plain is not None:
        new.put_seal()
        if _inserted(connection, shared, new):
            new.result = _stored(new)
            return
    new.error = SpoolUnavailable(f"the id {new.id} is taken")


def _is_known(
    connection: apsw.Connection, shared: Tables, new: NewEvent, tally: Tally, before: int
) -> bool:
    """Return whether it has its result by its key; mark it where it is a conflict."""
    for seq, first, found, flags in fetch(connection, _KNOWN, (new.look,)):
        same = found == new.content or bool((flags | new.flags) & events.RECONCILED)
        known = copies.Known(seq, _id(first), is_new=seq > before, same_content=same)
        if copies.take(connection, shared, known, new, tally):
            return True
        look = shared.digests.conflict(new.look, new.content)
        for again, second, _, _ in fetch(connection, _KNOWN, (look,)):
            known = copies.Known(again, _id(second), again > before, conflicts_with=_id(first))
            copies.take(connection, shared, known, new, tally)
            return True
        if new.delivery.verification.on_conflict is OnConflict.REFUSE:
            new.result = Conflict(_id(first))
            return True
        new.conflict(_id(first), look)
    return False


def _id(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _inserted(connection: apsw.Connection, shared: Tables, new: NewEvent) -> bool:
    before, writes = connection.total_changes(), shared.keyring.writes
    if writes is None:
        connection.execute(_INSERT, _columns(new))
    else:
        connection.execute(_INSERT_SEALED, _sealed(writes, new))
    return connection.total_changes() != before
