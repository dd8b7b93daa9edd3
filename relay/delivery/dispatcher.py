"""Use-case two: events go out.

claim -> forward -> decide -> settle, in one loop an upstream: one that is dead or slow never holds
up another.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from random import Random

from relay.core.clock import Clock
from relay.core.concurrency import first_completed
from relay.delivery.attempt import Observer, Upstream
from relay.delivery.worker import StartLimiter, UpstreamWorker
from relay.spool import Spool

# What is left to write down the outcomes of attempts that `stop` has cut short.
_SHUTDOWN_TIMEOUT = 1.0


class Dispatcher:
    """Delivers what lies in the spool, until stopped."""

    def __init__(
        self,
        *,
        spool: Spool,
        upstreams: Sequence[Upstream],
        clock: Clock,
        dice: Random,
        observer: Observer,
    ) -> None:
        self._clock = clock
        self._new_worker = partial(
            UpstreamWorker,
            spool,
            start_limiter=StartLimiter(),
            clock=clock,
            dice=dice,
            observer=observer,
        )
        self._workers = {each.name: self._new_worker(each) for each in upstreams}
        self._leaving: list[UpstreamWorker] = []  # replaced, and perhaps not at their end
        self._running: asyncio.TaskGroup | None = None
        self._stopping = False
        self._limit = asyncio.timeout(None)
        self._ended = asyncio.Event()
        self._ended.set()

    def breakers(self) -> dict[str, bool]:
        """Return for each upstream whether it is being left alone after failures in a row."""
        return {name: worker.breaker.is_open for name, worker in self._workers.items()}

    async def run(self) -> None:
        """Deliver until `stop`. Call it once.

        Raises:
            ExceptionGroup: of `SpoolBroken`; nothing can be delivered without a restart.
        """
        self._ended.clear()
        try:
            # A time-out here is `stop` cutting everything off: what is in hand stays leased.
            with suppress(TimeoutError):
                async with self._limit, asyncio.TaskGroup() as self._running:
                    for worker in self._workers.values():
                        self._start(worker, self._running)
        finally:
            self._running = None
            self._ended.set()

    def replace(self, upstreams: Iterable[Upstream]) -> tuple[asyncio.Event, ...]:
        """Serve these upstreams from now on. Those that are as they were go on undisturbed.

        One that has changed, or is gone, begins nothing more: what was claimed but not begun is
        given back, and attempts under way end as they began; they count in the concurrency of
        what takes its place at the same URL. Events of one that is gone stay where they are.

        Returns what is set when the last attempt of one that leaves is written down. After `stop`
        nothing is replaced.
        """
        if self._stopping:
            return ()
        before, self._workers = self._workers, {}
        for upstream in upstreams:
            worker = before.get(upstream.name)
            if worker is not None and worker.upstream == upstream:
                self._workers[upstream.name] = before.pop(upstream.name)
            else:
                self._workers[upstream.name] = self._new_worker(upstream)
        if self._running is None:
            return ()
        for worker in before.values():
            worker.stop()
        leaving = (*self._leaving, *before.values())
        self._leaving = [worker for worker in leaving if not worker.ended.is_set()]
        for worker in self._workers.values():
            if not worker.started:
                self._start(worker, self._running)
        return tuple(worker.ended for worker in before.values())

    async def stop(self, grace: float) -> None:
        """Claim nothing more, let attempts in hand finish for `grace` seconds, end `run`.

        What was claimed but not begun is given back. An attempt that takes longer is cut short
        and its event is due again at once: the upstream may have taken it, so it may come twice.
        Returns at most a second after the grace.
        """
        self._stopping = True
        for worker in self._workers.values():
            worker.stop()
        await first_completed(self._ended.wait(), self._clock.sleep(grace))
        for worker in (*self._workers.values(), *self._leaving):
            worker.cut()
        await first_completed(self._ended.wait(), self._clock.sleep(_SHUTDOWN_TIMEOUT))
        if not self._ended.is_set():
            self._limit.reschedule(asyncio.get_running_loop().time())
            await self._ended.wait()

    def _start(self, worker: UpstreamWorker, group: asyncio.TaskGroup) -> None:
        worker.started = True
        before = [each for each in self._leaving if each.name == worker.name]
        group.create_task(worker.run(before), name=f"upstream {worker.name}")
