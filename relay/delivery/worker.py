"""The worker of one upstream: takes leases and runs attempts, within concurrency and breaker.

Leases come from claims, and from the spool as it stores (`relay.spool.Handoff`). `StartLimiter`
spreads the starts of all workers over iterations of the event loop.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Final

from relay.core.clock import Clock
from relay.core.concurrency import first_completed
from relay.core.event import Lease
from relay.core.rate_limit import Backoff
from relay.delivery.attempt import AttemptRunner, Observer, Upstream
from relay.delivery.circuit_breaker import UPSTREAM_BREAKER, CircuitBreaker
from relay.delivery.pacing import Pacer
from relay.spool import Seats, Spool, SpoolBroken

# ---- attempts that start in one iteration of the event loop ---------------------------------

#: Attempts that start together delay everything else on the event loop, and yet their requests
#: cost less to send together. This many take less than a millisecond.
STARTS_PER_ITERATION: Final = 16


class StartLimiter:
    """Starts at most so many attempts per iteration of the event loop, over all upstreams.

    A caller that is refused is called back in one of the next iterations, first come, first served.
    """

    def __init__(self, per_iteration: int = STARTS_PER_ITERATION) -> None:
        self._per_iteration = per_iteration
        # How many more may start until one of the next iterations sets it back.
        self._left = per_iteration
        # A dictionary keeps the order, and each callback once.
        self._deferred: dict[Callable[[], None], None] = {}

    def try_start(self, retry: Callable[[], None]) -> bool:
        """Return whether the caller may start an attempt now; if not, `retry` is called later."""
        if not self._left:
            self._deferred[retry] = None
            return False
        self._left -= 1
        if not self._left:
            # Not before: each attempt would cost an iteration more where few are under way.
            asyncio.get_running_loop().call_soon(self._next_iteration)
        return True

    def _next_iteration(self) -> None:
        self._left = self._per_iteration
        while self._deferred and self._left:
            retry = next(iter(self._deferred))
            del self._deferred[retry]
            retry()


# ---- the worker -----------------------------------------------------------------------------

#: A lease outlasts its attempt by this much, for settling it while the spool has trouble.
LEASE_MARGIN = timedelta(seconds=30)

#: How many leases are held for each attempt that may be under way, so that the upstream stays busy
#: while outcomes are settled and more events are claimed.
PREFETCH = 4

# Seconds for which an idle worker waits for work, at most and at least.
_MAX_WAIT = 30.0
_MIN_WAIT = 0.05

# Back-off while the spool is unavailable, in seconds.
_FIRST_PAUSE = 0.1
_MAX_PAUSE = 5.0


class UpstreamWorker:
    """Claims leases for one upstream, queues them and runs their attempts.

    It implements `relay.spool.Handoff`: while nothing is left to claim, the spool hands events over
    as it stores them. An attempt starts whenever another has ended.
    """

    def __init__(
        self,
        spool: Spool,
        upstream: Upstream,
        *,
        start_limiter: StartLimiter,
        clock: Clock,
        dice: Random,
        observer: Observer,
    ) -> None:
        """Take the parts. `start_limiter`: shared by the workers of all upstreams."""
        self.name = upstream.name
        self.upstream = upstream
        self.breaker = CircuitBreaker(UPSTREAM_BREAKER)
        # Whether `run` was started; set when it has stopped claiming, and when it has ended.
        self.started, self.claiming_ended, self.ended = False, asyncio.Event(), asyncio.Event()
        self._spool = spool
        self._start_limiter = start_limiter
        self._clock = clock
        self._observer = observer
        self._runner = AttemptRunner(
            upstream=upstream,
            spool=spool,
            breaker=self.breaker,
            clock=clock,
            dice=dice,
            observer=observer,
        )
        # The last lease in the queue waits for all before it, each as long as an attempt may take.
        self._lease_time = upstream.timeout * PREFETCH + LEASE_MARGIN
        self.seats = Seats(self._lease_time)
        # Replaced workers of the same URL that may have attempts under way; the one that replaces
        # this one.
        self._predecessors: list[UpstreamWorker] = []
        self.successor: UpstreamWorker | None = None
        # Leases in the queue; attempts under way; outcomes that are being settled.
        self._queue: deque[Lease] = deque()
        self._in_flight = 0
        self._settling = 0
        # Whether the last claim left nothing that was due: only then may new events be handed over,
        # also while the next claim is under way, which takes at most `_claiming` leases.
        self._caught_up = False
        self._claiming = 0
        self._stopping = False
        #: Whether nothing is delivered, by a person's word or the configuration's. Plain: it is
        #: asked several times for each attempt.
        self.is_paused = upstream.paused
        self._backoff = Backoff(_FIRST_PAUSE, _MAX_PAUSE)
        # None where there is no rate.
        self._pacer: Pacer | None = None
        if upstream.rate is not None:
            self._pacer = Pacer(upstream.rate, clock, self._start_attempts)
        #: Since when it is served, where it was not before, or was held back by its rate; what
        #: waited till then is no older.
        self.served_since: datetime | None = None
        # Set when there may be more capacity, or more work than before; both to stop.
        self._capacity_changed = asyncio.Event()
        self._work_arrived = asyncio.Event()

    async def run(self, predecessors: "Sequence[UpstreamWorker]" = ()) -> None:
        """Serve the upstream until `stop`; claim only when its predecessors have stopped claiming.

        The attempts that predecessors of the same URL have under way count: together they never
        exceed the concurrency.
        """
        try:
            for worker in predecessors:
                if worker.upstream.url == self.upstream.url:
                    worker.successor = self
                    self._predecessors.append(worker)
            for worker in predecessors:
                await worker.claiming_ended.wait()
            try:
                await self._claim_until_stopped()
            finally:
                self._spool.subscribe(self.name, None)
            self.claiming_ended.set()
            while self.seats.reserved:
                await self._wait_for_change()
            await self._release_unstartable()
            while self._in_flight or self._settling:
                await self._wait_for_change()
        finally:
            if self._pacer is not None:
                self._pacer.close()
            self._runner.abandon()
            self.claiming_ended.set()
            self.ended.set()

    async def _wait_for_change(self) -> None:
        self._capacity_changed.clear()
        await self._capacity_changed.wait()

    def stop(self) -> None:
        """Start no further attempt; `run` ends with the last one under way."""
        self._stopping = True
        self.seats.free = 0
        self._capacity_changed.set()
        self._work_arrived.set()

    def set_paused(self, paused: bool) -> None:
        """Start no further attempt while a person, or the configuration, pauses the upstream.

        paused: whether a person does. Attempts under way end as they would; leases that are not
            started are released.
        """
        before, self.is_paused = self.is_paused, paused or self.upstream.paused
        if before == self.is_paused:
            return
        if self.is_paused:
            self.seats.free = 0
        else:
            self.served_since = self._clock.steady()
        self._capacity_changed.set()
        self._work_arrived.set()

    def cut(self) -> None:
        """Cut short the attempts that are under way."""
        self._runner.cut()

    async def _claim_until_stopped(self) -> None:
        if not self.upstream.order_by_key:
            self._spool.subscribe(self.name, self)
        while not self._stopping:
            self._capacity_changed.clear()
            self._work_arrived.clear()
            capacity = self._capacity()
            if capacity > 0:
                await self._claim_and_start(capacity)
            else:
                await self._release_unstartable()
                await self._wait_for_capacity()

    # ---- events that are handed over as they are stored (`Handoff`) -----------------------------

    def offer(self, lease: Lease) -> bool:
        if self._stopping or self.is_paused or self.breaker.is_open:
            self._capacity_changed.set()
            return False
        self._queue.append(lease)
        self._start_attempts()
        return True

    def cancelled(self) -> None:
        self._capacity_changed.set()

    def _publish_seats(self) -> None:
        """Tell the spool how many events it may hand over, from now on."""
        if self.seats.missed:
            self._caught_up = False
        takes_new = self._caught_up and not self.breaker.is_open
        self.seats.free = max(0, self._capacity()) if takes_new else 0

    # ---- events that are claimed ----------------------------------------------------------------

    def _capacity(self) -> int:
        """Return how many more leases may be taken."""
        if self._stopping or self.is_paused:
            return 0
        waiting = self.seats.reserved + self._claiming + len(self._queue)
        leased = waiting + self._in_flight
        free = self.upstream.concurrency * PREFETCH - leased - self._settling
        if self._pacer is not None:
            # A trial is not leased ahead: while the breaker is open no lease may wait.
            free = min(free, self._pacer.room(waiting, ahead=not self.breaker.is_open))
        if self.breaker.is_unlimited:
            return free
        allowance = self.breaker.permits(self._clock.steady().timestamp(), leased)
        return free if allowance is None else min(free, allowance)

    async def _wait_for_capacity(self) -> None:
        pause, is_held = self.breaker.paused_for(self._clock.steady().timestamp()), False
        if self._pacer is not None and not (pause or self._stopping or self.is_paused):
            is_held = self._pacer.is_held and not self.breaker.is_open
            if not self._queue and not self.seats.reserved:
                pause = self._pacer.wait_for_room(ahead=not self.breaker.is_open)
        if pause > 0:
            await first_completed(self._capacity_changed.wait(), self._clock.sleep(pause))
        else:
            await self._capacity_changed.wait()
        if is_held:
            # No event comes nearer to its `give_up_after` by that.
            self.served_since = self._clock.steady()

    async def _claim_and_start(self, limit: int) -> None:
        # An event without a reserved slot has to be claimed. Were none reserved during a claim, it
        # would take another claim for what is stored meanwhile, and so on for as long as events
        # arrive. So one that probably finds little leaves slots free, and as many new events as
        # these may overtake what it finds.
        if self._caught_up:
            limit = max(1, limit // PREFETCH)
        self._claiming = limit
        self._publish_seats()
        try:
            claimed = await self._spool.claim(
                self.name,
                limit,
                self._lease_time,
                ordered=self.upstream.order_by_key,
                served_since=self.served_since,
            )
        except SpoolBroken:
            raise
        except Exception as fault:  # noqa: BLE001 - nothing else may end the loop of an upstream
            self._claiming, self._caught_up = 0, False
            self._publish_seats()
            await self._back_off(fault)
            return
        finally:
            self._claiming = 0
        self._backoff.reset()
        self._caught_up, self.seats.missed = len(claimed.leases) < limit, False
        for event_id in claimed.damaged:
            self._observer.event_corrupt(self.name, event_id)
        for event_id, missing in claimed.locked:
            self._observer.dispatch_error(self.name, event_id, missing)
        self._queue.extend(claimed.leases)
        self._publish_seats()
        self._start_attempts()
        # Claiming took a while: the breaker may have opened, or `stop` may have been called.
        await self._release_unstartable()
        if len(claimed.leases) < limit:
            await first_completed(self._work_arrived.wait(), self._wait_for_work(claimed.next_due))

    async def _wait_for_work(self, next_due: datetime | None) -> None:
        wait = _MAX_WAIT
        if next_due is not None:
            wait = min(wait, (next_due - self._clock.steady()).total_seconds())
        try:
            await self._spool.wait_for_work(self.name, max(wait, _MIN_WAIT))
        except Exception as fault:  # noqa: BLE001 - the next claim shows whether it is over
            await self._back_off(fault)

    async def _back_off(self, fault: Exception) -> None:
        self._observer.dispatch_error(self.name, None, fault)
        pause = self._backoff.next()
        await first_completed(self._work_arrived.wait(), self._clock.sleep(pause))

    async def _release_unstartable(self) -> None:
        """Release queued leases while none may be started: they would only expire."""
        while self._queue and (self._stopping or self.is_paused or self.breaker.is_open):
            lease = self._queue.popleft()
            try:
                await self._spool.release(lease)
            except Exception as fault:  # noqa: BLE001 - it is due again when the lease has expired
                self._observer.dispatch_error(self.name, lease.event.id, fault)

    # ---- attempts -------------------------------------------------------------------------------

    def _start_attempts(self) -> None:
        """Start as many attempts as may be under way, a few in each iteration of the event loop."""
        now = self._clock.steady()
        while self._queue and self._free_slots(now) > 0:
            if self._pacer is not None and not self._pacer.may_start():
                return
            if not self._start_limiter.try_start(self._start_attempts):
                return
            lease = self._queue.popleft()
            if lease.until - now < self.upstream.timeout:
                # It could expire during the attempt, and be claimed by another: claim it anew.
                self._work_arrived.set()
                continue
            self._in_flight += 1
            if self._pacer is not None:
                self._pacer.start()
                self._capacity_changed.set()
            if not self.breaker.is_unlimited:
                self.breaker.on_start(lease.event.id, now.timestamp())
            self._runner.start(lease, now, self._on_answered, self._on_settled)

    def _free_slots(self, now: datetime) -> int:
        if self._stopping or self.is_paused:
            return 0
        together = self._in_flight_together() if self._predecessors else self._in_flight
        free = self.upstream.concurrency - together
        if self.breaker.is_unlimited:
            return free
        allowance = self.breaker.permits(now.timestamp(), self._in_flight)
        return free if allowance is None else min(free, allowance)

    @property
    def in_flight(self) -> int:
        """How many attempts of this worker are under way."""
        return self._in_flight

    def _in_flight_together(self) -> int:
        """Return how many attempts are under way, those of predecessors included."""
        # A replaced worker starts no further attempt.
        self._predecessors = [worker for worker in self._predecessors if worker.in_flight]
        return self._in_flight + sum(worker.in_flight for worker in self._predecessors)

    def _on_answered(self) -> None:
        """The upstream has finished one attempt; its outcome is still to be settled."""
        self._in_flight -= 1
        self._settling += 1
        if not self.breaker.is_unlimited:
            self._publish_seats()
        self.capacity_freed()

    def _on_settled(self, finished: bool) -> None:
        self._settling -= 1
        if self.seats.free and self.breaker.is_unlimited and self._pacer is None:
            self.seats.free += 1
        else:
            self._publish_seats()
        self._capacity_changed.set()
        if not finished:
            # It is due again, perhaps sooner than anything that is waited for.
            self._work_arrived.set()

    def capacity_freed(self) -> None:
        """Another attempt may start, here or in the successor."""
        if self._queue:
            self._start_attempts()
        self._capacity_changed.set()
        if self.successor is not None:
            self.successor.capacity_freed()
