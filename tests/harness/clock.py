"""A clock that moves only when told to, and polling for what cannot be awaited."""

import asyncio
import heapq
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

from relay.core.clock import Clock, Epoch, SystemClock

# ---- the clock ------------------------------------------------------------------------------


class CountingClock:
    """Another clock, the system's by default; `reads` counts who asked, by module and method."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self.reads: Counter[tuple[str, str]] = Counter()

    def now(self) -> datetime:
        self._count("now")
        return self._clock.now()

    def monotonic(self) -> float:
        self._count("monotonic")
        return self._clock.monotonic()

    def steady(self) -> datetime:
        self._count("steady")
        return self._clock.steady()

    def epoch(self) -> Epoch | None:
        return self._clock.epoch()

    def adopt(self, epoch: Epoch) -> None:
        self._clock.adopt(epoch)

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    def _count(self, method: str) -> None:
        caller = sys._getframe(2).f_globals["__name__"]
        self.reads[caller, method] += 1


class ManualClock:
    """A `relay.core.clock.Clock`; `advance` wakes the sleepers whose time has come, in order.

    boot: names the life of a machine whose processes share one steady time.
    """

    def __init__(
        self, start: datetime = datetime(2026, 1, 5, 12, tzinfo=UTC), boot: str | None = None
    ) -> None:
        self.boot = boot
        self._now = start
        self._monotonic = 1000.0
        self._began = start - timedelta(seconds=self._monotonic)
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def steady(self) -> datetime:
        return self._began + timedelta(seconds=self._monotonic)

    def epoch(self) -> Epoch | None:
        return None if self.boot is None else Epoch(self.boot, self._began)

    def adopt(self, epoch: Epoch) -> None:
        self._began = epoch.began

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        waiter = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), waiter))
        await waiter

    @property
    def sleeping(self) -> int:
        """How many sleepers there are."""
        return sum(not waiter.done() for _, _, waiter in self._sleepers)

    def jump(self, delta: timedelta) -> None:
        """Move the wall clock alone, as an operator or NTP does."""
        self._now += delta

    async def advance(self, seconds: float) -> None:
        """Move both clocks; each sleeper wakes at its own moment and gets to run."""
        end = self._monotonic + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, waiter = heapq.heappop(self._sleepers)
            self._move_to(due)
            if not waiter.done():
                waiter.set_result(None)
            await self._settle()
        self._move_to(end)
        await self._settle()

    def _move_to(self, monotonic: float) -> None:
        self._now += timedelta(seconds=monotonic - self._monotonic)
        self._monotonic = monotonic

    @staticmethod
    async def _settle() -> None:
        """Let every task that can run do so; bounded, so a busy loop cannot hang a test."""
        for _ in range(50):
            await asyncio.sleep(0)


# ---- polling --------------------------------------------------------------------------------

_LOOK = 0.05


async def wait_until(happened: Callable[[], bool], within: float) -> bool:
    """Return True as soon as it has happened, False when it has not within these seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    while not happened():
        if loop.time() >= end:
            return False
        await asyncio.sleep(_LOOK)
    return True


async def run_loop_until(condition: Callable[[], bool]) -> None:
    """Run the event loop until this holds, 10 s at most; for what gives no signal of its own."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - an iteration of the loop is what it waits for
            await asyncio.sleep(0)
