"""The worker of one upstream: leases in, attempts out, within its concurrency and its breaker."""

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
from relay.delivery.circuit_breaker import BreakerPolicy, CircuitBreaker, SlowStart
from relay.spool import Spool, SpoolBroken

# ---- how many attempts start in one turn of the event loop ----------------------------------

STARTS_PER_ITERATION: Final = 4


class StartLimiter:
    """Lets so many through in each turn of the event loop, whoever they are.

    Who is turned away is called in one of the next turns, in order, and tries again.
    """

    def __init__(self, at_once: int = STARTS_PER_ITERATION) -> None:
        self._at_once = at_once
        self._left = at_once
        # A dictionary keeps the order, and each but once.
        self._deferred: dict[Callable[[], None], None] = {}

    def try_start(self, again: Callable[[], None]) -> bool:
        """Tell whether the caller may begin something now; if not, `again` is called later."""
        if not self._left:
            self._deferred[again] = None
            return False
        if self._left == self._at_once:
            asyncio.get_running_loop().call_soon(self._next_iteration)
        self._left -= 1
        return True

    def _next_iteration(self) -> None:
        self._left = self._at_once
        while self._deferred and self._left:
            again = next(iter(self._deferred))
            del self._deferred[again]
            again()


# ---- the worker -----------------------------------------------------------------------------

#: A lease outlasts its attempt by this much, for settling it while the spool has trouble.
LEASE_MARGIN = timedelta(seconds=30)

#: How many leases are held for each attempt that may be under way: while outcomes are written
#: down and more events are fetched, the upstream need not wait.
PREFETCH = 4

#: A worker attempts nothing for a while after ten failures in a row of at least three events.
BREAKER_POLICY: Final = BreakerPolicy(
    failures=10,
    events=3,
    first_pause=5.0,
    longest_pause=60.0,
    exclusive_trial=True,
    slow_start=SlowStart(first=2, full=64),
)

# An idle loop looks at the spool at least this often, and never more often than the other.
_MAX_WAIT = 30.0
_MIN_WAIT = 0.05

# Pauses while the spool is unavailable; they double.
_FIRST_PAUSE = 0.1
_MAX_PAUSE = 5.0


class UpstreamWorker:
    """The loop of one upstream, and its attempts. It passes as `relay.spool.Handoff`.

    Leases come from claims and, while nothing waits to be claimed, from the spool as it stores.
    They wait here for their turn; attempts begin whenever one has ended.
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
        """Take the parts. `turnstile`: attempts of all upstreams begin through one."""
        self.name = upstream.name
        self.upstream = upstream
        self.breaker = CircuitBreaker(BREAKER_POLICY)
        # Whether `run` goes on, or did; set when it claims nothing more, and at its end.
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
        # What waits here longest waits for all before it, each as long as an attempt may take.
        self._lease_time = upstream.timeout * PREFETCH + LEASE_MARGIN
        self._group: asyncio.TaskGroup | None = None
        # Who served the same place before and may have attempts under way; who serves it now.
        self._predecessors: list[UpstreamWorker] = []
        self.successor: UpstreamWorker | None = None
        # Seats kept for events that are being stored; leases that wait for their turn; attempts
        # under way; outcomes that are being written down.
        self._reserved = 0
        self._waiting: deque[Lease] = deque()
        self._in_flight = 0
        self._settling = 0
        # Whether everything that was due has been claimed: only then may new events go first.
        self._caught_up = False
        self._stopping = False
        self._backoff = Backoff(_FIRST_PAUSE, _MAX_PAUSE)
        # Set when there may be more room than before, when there may be more work, and to stop.
        self._capacity_changed = asyncio.Event()
        self._work_arrived = asyncio.Event()

    async def run(self, before: "Sequence[UpstreamWorker]" = ()) -> None:
        """Serve the upstream until `stop`; after other lines, once they claim no more.

        What those have under way counts, where their events went to the same place: together they
        never exceed the concurrency.
        """
        try:
            async with asyncio.TaskGroup() as self._group:
                for worker in before:
                    if worker.upstream.url == self.upstream.url:
                        worker.successor = self
                        self._predecessors.append(worker)
                for worker in before:
                    await worker.claiming_ended.wait()
                try:
                    await self._claim()
                finally:
                    self._spool.subscribe(self.name, None)
                self.claiming_ended.set()
                while self._reserved:
                    self._capacity_changed.clear()
                    await self._capacity_changed.wait()
                await self._release_unstartable()
        finally:
            self.claiming_ended.set()
            self.ended.set()

    def stop(self) -> None:
        """Begin nothing more; `run` ends with the last attempt."""
        self._stopping = True
        self._capacity_changed.set()
        self._work_arrived.set()

    def cut(self) -> None:
        """Cut short the attempts that are under way."""
        self._runner.cut()

    async def _claim(self) -> None:
        if not self.upstream.order_by_key:
            self._spool.subscribe(self.name, self)
        while not self._stopping:
            self._capacity_changed.clear()
            self._work_arrived.clear()
            room = self._capacity()
            if room > 0:
                await self._fill(room)
            else:
                await self._release_unstartable()
                await self._wait_for_capacity()

    # ---- events that are handed over as they are stored -----------------------------------------

    def reserve(self) -> timedelta | None:
        if not self._caught_up or self.breaker.is_open or self._capacity() < 1:
            self._caught_up = False
            return None
        self._reserved += 1
        return self._lease_time

    def accept(self, lease: Lease) -> None:
        self._reserved -= 1
        self._waiting.append(lease)
        self._start_attempts()
        if self._stopping:
            self._capacity_changed.set()

    def cancel(self) -> None:
        self._reserved -= 1
        self._capacity_changed.set()

    # ---- events that are claimed ----------------------------------------------------------------

    def _capacity(self) -> int:
        """Return how many more leases may be had."""
        if self._stopping:
            return 0
        leased = self._reserved + len(self._waiting) + self._in_flight
        free = self.upstream.concurrency * PREFETCH - leased - self._settling
        allowance = self.breaker.permits(self._clock.steady().timestamp(), leased)
        return free if allowance is None else min(free, allowance)

    async def _wait_for_capacity(self) -> None:
        pause = self.breaker.paused_for(self._clock.steady().timestamp())
        if pause > 0:
            await first_completed(self._capacity_changed.wait(), self._clock.sleep(pause))
        else:
            await self._capacity_changed.wait()

    async def _fill(self, room: int) -> None:
        # What is stored while we look may not have been seen: it must not go before what was.
        self._caught_up = False
        try:
            claimed = await self._spool.claim(
                self.name, room, self._lease_time, ordered=self.upstream.order_by_key
            )
        except SpoolBroken:
            raise
        except Exception as fault:  # noqa: BLE001 - nothing else may end the loop of an upstream
            await self._back_off(fault)
            return
        self._backoff.reset()
        for event_id in claimed.damaged:
            self._observer.event_corrupt(self.name, event_id)
        self._waiting.extend(claimed.leases)
        self._start_attempts()
        # Claiming took a while: the breaker may have opened, or `stop` may have been called.
        await self._release_unstartable()
        if len(claimed.leases) < room:
            self._caught_up = True
            await first_completed(self._work_arrived.wait(), self._wait_for_work(claimed.next_due))

    async def _wait_for_work(self, next_due: datetime | None) -> None:
        wait = _MAX_WAIT
        if next_due is not None:
            wait = min(wait, (next_due - self._clock.steady()).total_seconds())
        try:
            await self._spool.wait_for_work(self.name, max(wait, _MIN_WAIT))
        except Exception as fault:  # noqa: BLE001 - the next claim tells whether it is over
            await self._back_off(fault)

    async def _back_off(self, fault: Exception) -> None:
        self._observer.dispatch_error(self.name, None, fault)
        pause = self._backoff.next()
        await first_completed(self._work_arrived.wait(), self._clock.sleep(pause))

    async def _release_unstartable(self) -> None:
        """Give leases back that would only run out here: we stop, or the upstream is left alone."""
        while self._waiting and (self._stopping or self.breaker.is_open):
            lease = self._waiting.popleft()
            try:
                await self._spool.release(lease)
            except Exception as fault:  # noqa: BLE001 - it comes again when the lease has run out
                self._observer.dispatch_error(self.name, lease.event.id, fault)

    # ---- attempts -------------------------------------------------------------------------------

    def _start_attempts(self) -> None:
        """Begin as many attempts as may be under way, a few in each turn of the event loop."""
        if not self._waiting:
            return
        now = self._clock.steady()
        while self._waiting and self._free_slots(now) > 0:
            if not self._start_limiter.try_start(self._start_attempts):
                return
            lease = self._waiting.popleft()
            if lease.until - now < self.upstream.timeout:
                # Somebody else may have it before we were done: it is claimed anew.
                self._work_arrived.set()
                continue
            self._in_flight += 1
            self.breaker.on_start(lease.event.id, now.timestamp())
            if self._group is None:
                raise RuntimeError("nothing can begin before `run`")
            self._group.create_task(self._deliver(lease, now))

    def _free_slots(self, now: datetime) -> int:
        if self._stopping:
            return 0
        free = self.upstream.concurrency - self._in_flight_together()
        allowance = self.breaker.permits(now.timestamp(), self._in_flight)
        return free if allowance is None else min(free, allowance)

    @property
    def in_flight(self) -> int:
        """How many attempts the upstream has in hand from this line."""
        return self._in_flight

    def _in_flight_together(self) -> int:
        """Return how many attempts the upstream has in hand, with those of who served it before."""
        # Nobody who was replaced begins anything more.
        self._predecessors = [worker for worker in self._predecessors if worker.in_flight]
        return self._in_flight + sum(worker.in_flight for worker in self._predecessors)

    async def _deliver(self, lease: Lease, began: datetime) -> None:
        try:
            done = await self._runner.deliver(lease, began, self._answered)
        finally:
            self._settling -= 1
            self._capacity_changed.set()
        if not done:
            # It is due again, perhaps sooner than anything we are waiting for.
            self._work_arrived.set()

    def _answered(self) -> None:
        """The upstream is done with one attempt; its outcome is yet to be written down."""
        self._in_flight -= 1
        self._settling += 1
        self.capacity_freed()

    def capacity_freed(self) -> None:
        """There may be room for another attempt, here or with whom comes after."""
        self._start_attempts()
        self._capacity_changed.set()
        if self.successor is not None:
            self.successor.capacity_freed()
