"""The `Spool` contract: the durable store between receiving and delivering, and its types.

An acknowledged event stays until it is delivered. `Handoff` is how a stored event goes straight to
the worker of its upstream.

`tests/contracts/spool.py` is the contract in executable form; every backend passes it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from relay.core.errors import SpoolUnavailable
from relay.core.event import AttemptResult, Decision, Event, Lease, ProxiedDelivery
from relay.core.request import VerifiedDelivery, frozen
from relay.spool.history import (
    Attempt,
    Page,
    Query,
    Record,
    Requeueable,
    Requeued,
    SpoolStats,
    Spread,
)
from relay.spool.sealing import KeyMissing
from relay.spool.stores import Stores

#: Events that are due as soon as they are requeued.
AT_ONCE = Spread()


class SpoolOverloaded(SpoolUnavailable):
    """The queue of writes is full."""


class SpoolFull(SpoolUnavailable):
    """No space for anything new; outcomes of stored events can still be written for a while."""


class SpoolBroken(SpoolUnavailable):
    """The store can no longer be trusted, for good: only a restart may help.

    After a failed sync, for one, it is unknown what is on disk.
    """


@frozen
class Stored:
    """On disk as an event of its own. `conflicts_with` and `repeats` as in `Event`."""

    id: str
    conflicts_with: str | None = None
    out_of_order: bool = False
    repeats: str | None = None


@frozen
class Duplicate:
    """Already on disk as this event: same key and content, or the same replay digest.

    revived: the event was dead or held, and is due again because of this copy.
    """

    id: str
    revived: bool = False


@dataclass(frozen=True, slots=True)
class Conflict:
    """The key is known with other content, and the verification refuses to store it then."""

    id: str


#: What `put` has made of an event.
PutResult = Stored | Duplicate | Conflict


#: A proxied delivery until it is recorded: endpoint, event id, bytes that it takes, then what only
#: the spool reads. It keeps no request, head or verification alive.
ProxiedRow = tuple[str, str, int, *tuple[Any, ...]]


class PendingPut(Protocol):
    """An event that `put_nowait` has taken, until it is answered."""

    def withdraw(self) -> None:
        """Do not store it, unless that has begun; it is not called back for."""


@frozen
class Settlement:
    """What came of one attempt, for `settle_all`.

    took: microseconds of the attempt, where known. answer: the beginning of what the upstream
        said, where it is kept. reason: why it is dead or held, where the outcome does not tell.
    """

    lease: Lease
    decision: Decision
    outcome: AttemptResult
    took: int | None = None
    answer: bytes | None = None
    reason: str | None = None


@frozen
class Claimed:
    """Leases, in order of receipt, and when the next event of that upstream falls due.

    damaged: ids of events whose checksum was wrong; they are dead now.
    locked: events that are sealed with a key that is not named, and which one; they wait for it,
        a minute each time.
    """

    leases: tuple[Lease, ...]
    next_due: datetime | None
    damaged: tuple[str, ...] = ()
    locked: tuple[tuple[str, KeyMissing], ...] = ()


class Seats:
    """How many events of one upstream may go straight to delivery as they are stored.

    A worker publishes the number, the spool counts it down: neither calls the other before an event
    is stored. Both do so on the event loop.

    free: how many more. reserved: events that are being stored, a seat for each.
    missed: one has found no seat; a worker that claims sets it back.
    lease_time: for how long an event is leased that has a seat; the same in microseconds.
    """

    __slots__ = ("free", "lease_micros", "lease_time", "missed", "reserved")

    def __init__(self, lease_time: timedelta) -> None:
        self.free = self.reserved = 0
        self.missed = False
        self.lease_time = lease_time
        self.lease_micros = lease_time // timedelta(microseconds=1)

    def reserve(self) -> bool:
        """Reserve a seat for one event; return False if none is free."""
        if self.free < 1:
            self.missed = True
            return False
        self.free -= 1
        self.reserved += 1
        return True

    def cancel(self) -> None:
        """Free a seat: its event was not stored."""
        self.reserved -= 1
        if not self.missed:
            self.free += 1


class Handoff(Protocol):
    """Takes events of one upstream as they are stored, without a claim.

    Every method is called on the event loop; none raises or blocks.
    """

    @property
    def seats(self) -> Seats:
        """The seats of this upstream."""

    def offer(self, lease: Lease) -> bool:
        """Take an event that had a seat: it is stored, and leased. Its seat is free by then.

        Returns False to have it released: it cannot be delivered now.
        """

    def cancelled(self) -> None:
        """A seat has been freed: its event was not stored."""


class Spool(Stores, Protocol):
    """Stores verified deliveries and hands them out under leases.

    Every method raises `SpoolUnavailable` when the store cannot do its work, and `SpoolBroken`,
    which is one, when it never will again.
    """

    async def put(
        self, event: VerifiedDelivery, within: float | None = None
    ) -> Stored | Duplicate | Conflict:
        """Store and dedupe in one statement; when this returns, the event has been synced to disk.

        A key is unique per endpoint. The same key with the same content is a `Duplicate`; so is
        an event whose `replay_digest` one under another key has, where `on_replay` says
        `DUPLICATE`. With `REPEATS` it is stored, `repeats` that one; with `CONFLICT` stored, in
        conflict with that one where their subjects differ. A known key with other content is
        `Stored` under its own id with `conflicts_with`, or a `Conflict` and not stored when
        the verification says `OnConflict.REFUSE`. An initial event of a subject that has a later
        state already is stored `out_of_order`. A test message is stored as `test`, and one with a
        `hold` that is not to be confirmed as `held` for that reason.
        Proxied deliveries count for none of this. One that is `reconciled` and any other of the
        same key are one event, whichever comes first, whatever their content.

        The event has one destination for each of its upstreams, which are claimed, settled and
        requeued by themselves. Without upstreams it counts as delivered from now on.

        A duplicate makes those destinations of its event due again, with a fresh schedule, that are
        dead, or held because its provider did not confirm it: each at most once a minute, and not
        where the reason is `final` or a `hold`, unless what is reconciled agrees. If its upstreams
        are none of the event's, what is due goes to them. It replaces an event that is damaged, or
        whose body has been pruned, and makes due what was dead of that, or lost. It changes nothing
        else: what `VerifiedDelivery.keep` had removed, or `ErasureStore`, stays so.

        within: seconds until `TimeoutError`; None for no limit.

        Raises:
            TimeoutError: it is not stored yet, and may still be.
        """

    def put_nowait(
        self, event: VerifiedDelivery, done: Callable[[PutResult | SpoolUnavailable], None]
    ) -> PendingPut:
        """Do as `put` without a task: `done` is called on the event loop with what came of it.

        It is called once, after the event has been synced or has failed, never before this
        returns. Events that are put close together are written together.

        Raises:
            SpoolUnavailable: it is not taken; `done` is not called.
        """

    def proxied_row(self, proxied: ProxiedDelivery) -> ProxiedRow:
        """Return a delivery that was passed on as `record_proxied` takes it; write nothing."""

    async def record_proxied(self, passed: Sequence[ProxiedRow]) -> None:
        """Store the history of deliveries that were passed on: all of these, or none.

        Each is an event of its own with the status `passed`, however many have the same key and
        content; one that is stored already stays as it is. `claim` and `requeue` skip them.

        Raises:
            ValueError: one of them holds a text that cannot be stored.
        """

    async def reserve_space(self) -> None:
        """Reserve space for stored events: from now on a disk without it refuses new ones."""

    async def recover(self, horizon: timedelta) -> int:
        """Make events due whose leases are held by no process any more; return how many.

        While another process may hold leases, they expire on schedule. An event that is due, or a
        lease that ends, later than `horizon` from now comes from a clock that was wrong, and is due
        at once. Call it before the first claim, in a process that claims: from then on it counts
        as one that holds leases.
        """

    def subscribe(self, upstream: str, handoff: Handoff | None) -> None:
        """Hand the events of this upstream over as they are stored; None ends that.

        An event without a seat, or without a handoff, has to be claimed.
        """

    async def claim(
        self,
        upstream: str,
        limit: int,
        lease: timedelta,
        *,
        ordered: bool,
        served_since: datetime | None = None,
    ) -> Claimed:
        """Lease up to `limit` due events of one upstream; an expired lease counts as due.

        The time that an event was due before this spool was opened does not count towards its age,
        and neither does a clock error of that time. The same goes for the time before
        `served_since`, in steady time: the upstream was paused till then.

        An event whose checksum is wrong is not leased: it becomes dead, with the outcome `corrupt`.

        ordered: lease an event only when no earlier one of this upstream, its endpoint and
            subject (its key where it has no subject) is pending or leased.
        """

    async def settle(self, lease: Lease, decision: Decision, outcome: AttemptResult) -> None:
        """Record what came of an attempt.

        Raises:
            LeaseLost: the lease is not held any more; nothing was recorded.
        """

    def settle_all(
        self,
        settlements: Sequence[Settlement],
        done: Callable[[Sequence[bool] | SpoolUnavailable], None],
    ) -> None:
        """Do as `settle` with several, without a task, all of them or none.

        `done` is called once, on the event loop: for each settlement whether it is recorded (its
        lease was held still), or why none is. The write may wait a moment for others.

        Raises:
            SpoolUnavailable: they are not taken; `done` is not called.
        """

    async def release(self, lease: Lease, due: datetime | None = None) -> None:
        """Give a lease back without an attempt: the event is due at once, no attempt is counted.

        due: the time when it is due instead, in steady time; the wait does not count against
            `give_up_after` either.

        Raises:
            LeaseLost: the lease is not held any more.
        """

    async def requeue(
        self,
        query: Query,
        upstreams: Collection[str] | None = None,
        *,
        to: str | None = None,
        ended_before: datetime | None = None,
        spread: Spread = AT_ONCE,
    ) -> Requeued:
        """Make these events due again, with a fresh retry schedule.

        Dead, delivered and held destinations are requeued, the oldest events first, up to the
        query's limit of events; all others, and events whose body has been pruned, are skipped.
        With a status, or an upstream, in the query, only destinations of that are.

        upstreams: those that are configured: what is for another one would wait for ever. None:
            any.
        to: make them due for this upstream instead, and leave their other destinations as they
            are; also those that are pending elsewhere. Events that are pending there are skipped.
        ended_before: skip what has ended at this wall-clock time or later. So a caller that goes on
            until there are none left requeues none twice, if it was delivered meanwhile.
        spread: over what time they are due.

        Raises:
            ValueError: the query has neither ids nor a filter.
        """

    async def requeueable(
        self,
        query: Query,
        upstreams: Collection[str] | None = None,
        *,
        to: str | None = None,
        most: int | None = None,
    ) -> Requeueable:
        """Return what `requeue` would do with these, called until there are none left.

        most: count up to so many events; the limit of the query is none.

        Raises:
            ValueError: as `requeue`.
        """

    async def page(self, query: Query) -> Page:
        """Return one page of history.

        Raises:
            ValueError: `after` is not the `next` of a page.
        """

    async def get(self, event_id: str) -> tuple[Record, Event | None] | None:
        """Return one event, with its content unless that is pruned or damaged; None if unknown."""

    async def starting_with(self, beginning: str, limit: int) -> tuple[str, ...]:
        """Return up to `limit` ids of events that begin like this, in their order."""

    async def attempts(self, event_id: str) -> tuple[Attempt, ...]:
        """Return the attempts of one event that are kept, the oldest first.

        Of each destination these are the first 10 and the newest 40.
        """

    async def prune(self, bodies_before: datetime, keys_before: datetime, limit: int) -> int:
        """Remove up to `limit` bodies and up to `limit` records of settled events received before.

        Dead, held, pending and leased events are never pruned. Returns how many were changed, so
        that a caller can repeat it in small steps until 0.
        """

    async def prune_undelivered(self, before: datetime, limit: int) -> Mapping[str, int]:
        """Remove up to `limit` bodies of dead and held events received before.

        Their records stay, and a copy brings its body back. Returns how many there were, by
        endpoint, so that a caller can repeat it until there are none.
        """

    async def count_undelivered(self, since: datetime, until: datetime) -> Mapping[str, int]:
        """Return how many dead and held events that have their body were received in this time.

        By endpoint; `since` is inclusive, `until` exclusive.
        """

    async def expire_tokens(self, before: datetime, limit: int) -> int:
        """Mask the tokens in the bodies of up to `limit` events received before; return how many.

        They are masked in any case once their event is delivered by all its destinations, or passed
        on.
        """

    async def probe(self) -> None:
        """Return once as much as a large delivery has been written and synced."""

    async def check_integrity(self) -> tuple[str, ...]:
        """Check the structure of the whole store; return what is wrong, nothing when it is sound.

        It takes as long as reading everything does, at low priority. Each event's checksum is
        checked whenever it is read; this finds what keeps events from being found at all.
        """

    async def stats(self) -> SpoolStats:
        """Return counts and sizes."""

    async def wait_for_work(self, upstream: str, seconds: float) -> None:
        """Return when there may be an event to claim for this upstream, or after `seconds`.

        An event that another process stores is noticed within a second.
        """

    async def close(self) -> None:
        """Finish the calls under way and close the store."""
