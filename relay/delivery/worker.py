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
from relay.delivery.attempt import Attempts, Observer, Upstream
from relay.delivery.circuit_breaker import Breaker
from relay.spool import Spool, SpoolBroken

# ---- how many attempts start in one turn of the event loop ----------------------------------

AT_ONCE: Final = 4


class Turnstile:
    """Lets so many through in each turn of the event loop, whoever they are.

    Who is turned away is called in one of the next turns, in order, and tries again.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._left = at_once
        # A dictionary keeps the order, and each but once.
        self._turned_away: dict[Callable[[], None], None] = {}

    def enter(self, again: Callable[[], None]) -> bool:
        """Tell whether the caller may begin something now; if not, `again` is called later."""
        if not self._left:
            self._turned_away[again] = None
            return False
        if self._left == self._at_once:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._left -= 1
        return True

    def _next_turn(self) -> None:
        self._left = self._at_once
        while self._turned_away and self._left:
            again = next(iter(self._turned_away))
            del self._turned_away[again]
            again()


# ---- the worker -----------------------------------------------------------------------------

#: A lease outlasts its attempt by this much, for settling it while the spool has trouble.
LEASE_MARGIN = timedelta(seconds=30)

#: How many leases are held for each attempt that may be under way: while outcomes are written
#: down and more events are fetched, the upstream need not wait.
AHEAD = 4

# An idle loop looks at the spool at least this often, and never more often than the other.
_LONGEST_WAIT = 30.0
_SHORTEST_WAIT = 0.05

# Pauses while the spool is unavailable; they double.
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0


class Line:
    """The loop of one upstream, and its attempts. It passes as `relay.spool.Handoff`.

    Leases come from claims and, while nothing waits to be claimed, from the spool as it stores.
    They wait here for their turn; attempts begin whenever one has ended.
    """

    def __init__(
        self,
        spool: Spool,
        upstream: Upstream,
        *,
        turnstile: Turnstile,
        clock: Clock,
        dice: Random,
        observer: Observer,
    ) -> None:
        """Take the parts. `turnstile`: attempts of all upstreams begin through one."""
        self.name = upstream.name
        self.upstream = upstream
        self.breaker = Breaker()
        # Whether `run` goes on, or did; set when it claims nothing more, and at its end.
        self.started, self.left, self.ended = False, asyncio.Event(), asyncio.Event()
        self._spool = spool
        self._turnstile = turnstile
        self._clock = clock
        self._observer = observer
        self._attempts = Attempts(
            upstream=upstream,
            spool=spool,
            breaker=self.breaker,
            clock=clock,
            dice=dice,
            observer=observer,
        )
        # What waits here longest waits for all before it, each as long as an attempt may take.
        self._lease = upstream.timeout * AHEAD + LEASE_MARGIN
        self._group: asyncio.TaskGroup | None = None
        # Who served the same place before and may have attempts under way; who serves it now.
        self._before: list[Line] = []
        self.successor: Line | None = None
        # Seats kept for events that are being stored; leases that wait for their turn; attempts
        # under way; outcomes that are being written down.
        self._promised = 0
        self._waiting: deque[Lease] = deque()
        self._under_way = 0
        self._settling = 0
        # Whether everything that was due has been claimed: only then may new events go first.
        self._caught_up = False
        self._stopping = False
        self._pause = _FIRST_PAUSE
        # Set when there may be more room than before, when there may be more work, and to stop.
        self._room_grew = asyncio.Event()
        self._work_came = asyncio.Event()

    async def run(self, before: "Sequence[Line]" = ()) -> None:
        """Serve the upstream until `stop`; after other lines, once they claim no more.

        What those have under way counts, where their events went to the same place: together they
        never exceed the concurrency.
        """
        try:
            async with asyncio.TaskGroup() as self._group:
                for line in before:
                    if line.upstream.url == self.upstream.url:
                        line.successor = self
                        self._before.append(line)
                for line in before:
                    await line.left.wait()
                try:
                    await self._claim()
                finally:
                    self._spool.subscribe(self.name, None)
                self.left.set()
                while self._promised:
                    self._room_grew.clear()
                    await self._room_grew.wait()
                await self._give_back_what_may_not_begin()
        finally:
            self.left.set()
            self.ended.set()

    def stop(self) -> None:
        """Begin nothing more; `run` ends with the last attempt."""
        self._stopping = True
        self._room_grew.set()
        self._work_came.set()

    def cut(self) -> None:
        """Cut short the attempts that are under way."""
        self._attempts.cut()

    async def _claim(self) -> None:
        if not self.upstream.order_by_key:
            self._spool.subscribe(self.name, self)
        while not self._stopping:
            self._room_grew.clear()
            self._work_came.clear()
            room = self._room()
            if room > 0:
                await self._fill(room)
            else:
                await self._give_back_what_may_not_begin()
                await self._wait_for_room()

    # ---- events that are handed over as they are stored -----------------------------------------

    def reserve(self) -> timedelta | None:
        if not self._caught_up or self.breaker.is_open or self._room() < 1:
            self._caught_up = False
            return None
        self._promised += 1
        return self._lease

    def accept(self, lease: Lease) -> None:
        self._promised -= 1
        self._waiting.append(lease)
        self._begin()
        if self._stopping:
            self._room_grew.set()

    def cancel(self) -> None:
        self._promised -= 1
        self._room_grew.set()

    # ---- events that are claimed ----------------------------------------------------------------

    def _room(self) -> int:
        """Return how many more leases may be had."""
        if self._stopping:
            return 0
        leased = self._promised + len(self._waiting) + self._under_way
        free = self.upstream.concurrency * AHEAD - leased - self._settling
        allowance = self.breaker.allowance(self._clock.monotonic(), leased)
        return free if allowance is None else min(free, allowance)

    async def _wait_for_room(self) -> None:
        pause = self.breaker.probe_in(self._clock.monotonic())
        if pause > 0:
            await first_completed(self._room_grew.wait(), self._clock.sleep(pause))
        else:
            await self._room_grew.wait()

    async def _fill(self, room: int) -> None:
        # What is stored while we look may not have been seen: it must not go before what was.
        self._caught_up = False
        try:
            claimed = await self._spool.claim(
                self.name, room, self._lease, ordered=self.upstream.order_by_key
            )
        except SpoolBroken:
            raise
        except Exception as fault:  # noqa: BLE001 - nothing else may end the loop of an upstream
            await self._back_off(fault)
            return
        self._pause = _FIRST_PAUSE
        for event_id in claimed.damaged:
            self._observer.event_corrupt(self.name, event_id)
        self._waiting.extend(claimed.leases)
        self._begin()
        # Claiming took a while: the breaker may have opened, or `stop` may have been called.
        await self._give_back_what_may_not_begin()
        if len(claimed.leases) < room:
            self._caught_up = True
            await first_completed(self._work_came.wait(), self._wait_for_work(claimed.next_due))

    async def _wait_for_work(self, next_due: datetime | None) -> None:
        wait = _LONGEST_WAIT
        if next_due is not None:
            wait = min(wait, (next_due - self._clock.steady()).total_seconds())
        try:
            await self._spool.wait_for_work(self.name, max(wait, _SHORTEST_WAIT))
        except Exception as fault:  # noqa: BLE001 - the next claim tells whether it is over
            await self._back_off(fault)

    async def _back_off(self, fault: Exception) -> None:
        self._observer.dispatch_error(self.name, None, fault)
        pause, self._pause = self._pause, min(self._pause * 2, _LONGEST_PAUSE)
        await first_completed(self._work_came.wait(), self._clock.sleep(pause))

    async def _give_back_what_may_not_begin(self) -> None:
        """Give leases back that would only run out here: we stop, or the upstream is left alone."""
        while self._waiting and (self._stopping or self.breaker.is_open):
            lease = self._waiting.popleft()
            try:
                await self._spool.release(lease)
            except Exception as fault:  # noqa: BLE001 - it comes again when the lease has run out
                self._observer.dispatch_error(self.name, lease.event.id, fault)

    # ---- attempts -------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Begin as many attempts as may be under way, a few in each turn of the event loop."""
        while self._waiting and self._turns() > 0:
            if not self._turnstile.enter(self._begin):
                return
            lease = self._waiting.popleft()
            if lease.until - self._clock.steady() < self.upstream.timeout:
                # Somebody else may have it before we were done: it is claimed anew.
                self._work_came.set()
                continue
            self._under_way += 1
            self.breaker.begun(lease.event.id)
            if self._group is None:
                raise RuntimeError("nothing can begin before `run`")
            self._group.create_task(self._deliver(lease))

    def _turns(self) -> int:
        if self._stopping:
            return 0
        free = self.upstream.concurrency - self._in_hand()
        allowance = self.breaker.allowance(self._clock.monotonic(), self._under_way)
        return free if allowance is None else min(free, allowance)

    @property
    def under_way(self) -> int:
        """How many attempts the upstream has in hand from this line."""
        return self._under_way

    def _in_hand(self) -> int:
        """Return how many attempts the upstream has in hand, with those of who served it before."""
        # Nobody who was replaced begins anything more.
        self._before = [line for line in self._before if line.under_way]
        return self._under_way + sum(line.under_way for line in self._before)

    async def _deliver(self, lease: Lease) -> None:
        left = (lease.until - self._clock.steady()).total_seconds()
        try:
            done = await self._attempts.deliver(
                lease, self._clock.monotonic() + left, self._answered
            )
        finally:
            self._settling -= 1
            self._room_grew.set()
        if not done:
            # It is due again, perhaps sooner than anything we are waiting for.
            self._work_came.set()

    def _answered(self) -> None:
        """The upstream is done with one attempt; its outcome is yet to be written down."""
        self._under_way -= 1
        self._settling += 1
        self.let_begin()

    def let_begin(self) -> None:
        """There may be room for another attempt, here or with whom comes after."""
        self._begin()
        self._room_grew.set()
        if self.successor is not None:
            self.successor.let_begin()
