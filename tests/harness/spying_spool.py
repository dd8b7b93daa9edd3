"""A spool and an observer that record what the delivery side does, and let a test wait for it.

Besides, the calling back of a sender that a test writes as a coroutine.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from relay.core.errors import LeaseLost, SpoolUnavailable
from relay.core.event import (
    AttemptRecord,
    AttemptResult,
    Decision,
    Event,
    Lease,
    Outcome,
    ProxiedDelivery,
)
from relay.core.request import VerifiedDelivery
from relay.spool import (
    AT_ONCE,
    Claimed,
    Conflict,
    Duplicate,
    Handoff,
    PendingPut,
    ProxiedRow,
    PutResult,
    Settlement,
    Spool,
    Stored,
)
from relay.spool.activity import ActivityStore
from relay.spool.audit import AuditStore
from relay.spool.erasure import ErasureStore
from relay.spool.history import (
    Attempt,
    Page,
    Query,
    Record,
    ReferenceIndex,
    Requeueable,
    Requeued,
    SpoolStats,
    Spread,
)
from relay.spool.overview import OverviewStore
from relay.spool.pauses import PauseStore
from relay.spool.refusals import RefusalStore
from relay.spool.sealing import SealingStore
from relay.spool.strangers import StrangerStore
from tests.harness.clock import ManualClock

# ---- the spool ------------------------------------------------------------------------------


class SpyingSpool:
    """Passes everything on to a real spool.

    broken: what the methods of these names raise while it is set.
    recorded: how many deliveries each `record_proxied` was given; `recording` is how many of
        them are under way.
    settled_together: how many outcomes each `settle_all` was given.
    claimed: the leases of each claim that found work; `has_claimed` is set with the first.
    released: the leases that were given back; `releasing` is how many are being so.
    may_answer: clear it to hold claims back after their leases have been taken.
    """

    def __init__(self, spool: Spool, clock: ManualClock) -> None:
        self.broken: dict[str, Exception] = {}
        self.claimed: list[tuple[Lease, ...]] = []
        self.released: list[Lease] = []
        self.releasing = 0
        self.claims = 0
        self.recorded: list[int] = []
        self.recording = 0
        self.settled_together: list[int] = []
        self.has_claimed = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._spool = spool
        self._clock = clock
        self._out = 0
        self._waiting = 0
        self._idle = asyncio.Event()

    async def pass_time_until(self, said: Callable[[], bool], step: float = 1.0) -> None:
        """Let the clock run, but only while nobody does anything but wait for work."""
        while not said():
            await self._idle.wait()
            await self._clock.advance(step)

    async def rests(self) -> None:
        """Return when somebody waits for work, and nothing is out."""
        await self._idle.wait()

    @property
    def refusals(self) -> RefusalStore:
        return self._spool.refusals

    @property
    def audit(self) -> AuditStore:
        return self._spool.audit

    @property
    def erasure(self) -> ErasureStore:
        return self._spool.erasure

    @property
    def references(self) -> ReferenceIndex:
        return self._spool.references

    @property
    def activity(self) -> ActivityStore:
        return self._spool.activity

    @property
    def overview(self) -> OverviewStore:
        return self._spool.overview

    @property
    def strangers(self) -> StrangerStore:
        return self._spool.strangers

    @property
    def pauses(self) -> PauseStore:
        return self._spool.pauses

    @property
    def sealing(self) -> SealingStore:
        return self._spool.sealing

    # ---- the contract -----------------------------------------------------------------------

    async def put(
        self, event: VerifiedDelivery, within: float | None = None
    ) -> Stored | Duplicate | Conflict:
        return await self._spool.put(event, within)

    def put_nowait(
        self, event: VerifiedDelivery, done: Callable[[PutResult | SpoolUnavailable], None]
    ) -> PendingPut:
        return self._spool.put_nowait(event, done)

    def proxied_row(self, proxied: ProxiedDelivery) -> ProxiedRow:
        return self._spool.proxied_row(proxied)

    async def record_proxied(self, passed: Sequence[ProxiedRow]) -> None:
        self.recorded.append(len(passed))
        self._break("record_proxied")
        self.recording += 1
        try:
            await self._spool.record_proxied(passed)
        finally:
            self.recording -= 1

    async def reserve_space(self) -> None:
        await self._spool.reserve_space()

    async def recover(self, horizon: timedelta) -> int:
        return await self._spool.recover(horizon)

    def subscribe(self, upstream: str, handoff: Handoff | None) -> None:
        self._spool.subscribe(upstream, handoff)

    async def claim(
        self,
        upstream: str,
        limit: int,
        lease: timedelta,
        *,
        ordered: bool,
        served_since: datetime | None = None,
    ) -> Claimed:
        self.claims += 1
        self._break("claim")
        claimed = await self._spool.claim(
            upstream, limit, lease, ordered=ordered, served_since=served_since
        )
        if claimed.leases:
            self.claimed.append(claimed.leases)
            self.has_claimed.set()
        self._out += len(claimed.leases)
        self._look()
        await self.may_answer.wait()
        return claimed

    async def settle(self, lease: Lease, decision: Decision, outcome: AttemptResult) -> None:
        self._break("settle")
        try:
            await self._spool.settle(lease, decision, outcome)
        except LeaseLost:
            self._back()
            raise
        self._back()

    def settle_all(
        self,
        settlements: Sequence[Settlement],
        done: Callable[[Sequence[bool] | SpoolUnavailable], None],
    ) -> None:
        self._break("settle")
        self.settled_together.append(len(settlements))

        def settled(recorded: Sequence[bool] | SpoolUnavailable) -> None:
            if not isinstance(recorded, SpoolUnavailable):
                for _ in recorded:
                    self._back()
            done(recorded)

        self._spool.settle_all(settlements, settled)

    async def release(self, lease: Lease, due: datetime | None = None) -> None:
        self._break("release")
        self.releasing += 1
        try:
            await self._spool.release(lease, due)
        finally:
            self.releasing -= 1
        self.released.append(lease)
        self._back()

    async def requeue(
        self,
        query: Query,
        upstreams: Collection[str] | None = None,
        *,
        to: str | None = None,
        ended_before: datetime | None = None,
        spread: Spread = AT_ONCE,
    ) -> Requeued:
        return await self._spool.requeue(
            query, upstreams, to=to, ended_before=ended_before, spread=spread
        )

    async def requeueable(
        self,
        query: Query,
        upstreams: Collection[str] | None = None,
        *,
        to: str | None = None,
        most: int | None = None,
    ) -> Requeueable:
        return await self._spool.requeueable(query, upstreams, to=to, most=most)

    async def page(self, query: Query) -> Page:
        return await self._spool.page(query)

    async def get(self, event_id: str) -> tuple[Record, Event | None] | None:
        return await self._spool.get(event_id)

    async def starting_with(self, beginning: str, limit: int) -> tuple[str, ...]:
        return await self._spool.starting_with(beginning, limit)

    async def attempts(self, event_id: str) -> tuple[Attempt, ...]:
        return await self._spool.attempts(event_id)

    async def expire_tokens(self, before: datetime, limit: int) -> int:
        return await self._spool.expire_tokens(before, limit)

    async def prune(self, bodies_before: datetime, keys_before: datetime, limit: int) -> int:
        return await self._spool.prune(bodies_before, keys_before, limit)

    async def prune_undelivered(self, before: datetime, limit: int) -> Mapping[str, int]:
        return await self._spool.prune_undelivered(before, limit)

    async def count_undelivered(self, since: datetime, until: datetime) -> Mapping[str, int]:
        return await self._spool.count_undelivered(since, until)

    async def probe(self) -> None:
        await self._spool.probe()

    async def check_integrity(self) -> tuple[str, ...]:
        return await self._spool.check_integrity()

    async def stats(self) -> SpoolStats:
        return await self._spool.stats()

    async def wait_for_work(self, upstream: str, seconds: float) -> None:
        self._break("wait_for_work")
        self._waiting += 1
        self._look()
        try:
            await self._spool.wait_for_work(upstream, seconds)
        finally:
            self._waiting -= 1
            self._look()

    async def close(self) -> None:
        await self._spool.close()

    # ---- inside -----------------------------------------------------------------------------

    def _break(self, verb: str) -> None:
        if verb in self.broken:
            raise self.broken[verb]

    def _back(self) -> None:
        self._out -= 1
        self._look()

    def _look(self) -> None:
        if self._waiting and not self._out:
            self._idle.set()
        else:
            self._idle.clear()


# ---- a sender -------------------------------------------------------------------------------

T = TypeVar("T")


def call_back(outcome: Coroutine[None, None, T], done: Callable[[T], None]) -> asyncio.Task[None]:
    """Call `done` with what the coroutine returns, unless it is cancelled before."""

    async def wait() -> None:
        done(await outcome)

    return asyncio.ensure_future(wait())


# ---- the observer ---------------------------------------------------------------------------
# What the outbound half has told, and a way to wait for it.


class RecordingObserver:
    """Passes as `relay.delivery.attempt.Observer`."""

    def __init__(self) -> None:
        self.attempts: list[AttemptRecord] = []
        self.faults: list[tuple[str, str | None, Exception]] = []
        self.ruined: list[tuple[str, str]] = []
        self.paused: list[tuple[str, bool]] = []
        self._news = asyncio.Event()

    def attempted(self, attempted: AttemptRecord, at: datetime) -> None:
        self.attempts.append(attempted)
        self._news.set()

    def forwarded(
        self, delivery: VerifiedDelivery, outcome: Outcome, at: datetime, duration: float
    ) -> None:
        """Keep it as an attempt that was not for a lease."""
        received = delivery.delivery
        delay = (at - received.head.received_at).total_seconds()
        attempt = AttemptRecord(
            event_id=delivery.event_id,
            endpoint=received.endpoint,
            provider=delivery.provider,
            upstream=delivery.upstreams[0],
            attempt=1,
            outcome=outcome.name,
            status=outcome.status,
            cause=outcome.cause,
            decision="passed",
            due=None,
            duration=duration,
            delay=delay if outcome.name == "delivered" else None,
        )
        self.attempted(attempt, at)

    def event_corrupt(self, upstream: str, event_id: str) -> None:
        self.ruined.append((upstream, event_id))
        self._news.set()

    def upstream_paused(self, upstream: str, *, paused: bool) -> None:
        self.paused.append((upstream, paused))
        self._news.set()

    def dispatch_error(self, upstream: str, event_id: str | None, fault: Exception) -> None:
        self.faults.append((upstream, event_id, fault))
        self._news.set()

    async def until(self, said: Callable[[], bool]) -> None:
        """Return when this holds; it is looked at again whenever something is told."""
        while not said():
            self._news.clear()
            await self._news.wait()

    async def until_delivered(self, number: int) -> None:
        """Return when this many events have been delivered."""
        await self.until(lambda: len(self.delivered()) >= number)

    def delivered(self) -> list[str]:
        """Return the ids of the events that were delivered, in that order."""
        return [each.event_id for each in self.attempts if each.decision == "done"]
