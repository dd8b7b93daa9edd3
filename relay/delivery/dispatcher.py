"""Runs one worker for each upstream: starts, replaces and stops them.

Each worker claims, sends, decides and settles in a loop of its own, so that a dead or slow upstream
never delays another.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from functools import partial
from random import Random

from relay.core.clock import Clock
from relay.core.concurrency import first_completed
from relay.delivery.attempt import Observer, Upstream
from relay.delivery.pausing import PauseWatch
from relay.delivery.worker import StartLimiter, UpstreamWorker
from relay.spool import Spool

# Seconds for settling the attempts that `stop` has cut short.
_SHUTDOWN_TIMEOUT = 1.0


class Dispatcher:
    """Delivers the events of a spool to their upstreams, until stopped."""

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
        self._observer = observer
        self._new_worker = partial(
            UpstreamWorker,
            spool,
            start_limiter=StartLimiter(),
            clock=clock,
            dice=dice,
            observer=observer,
        )
        self._workers = {each.name: self._new_worker(each) for each in upstreams}
        self._replaced: list[UpstreamWorker] = []  # some may have attempts under way
        self._running: asyncio.TaskGroup | None = None
        # Upstreams that a person has paused; None until that is known, and no worker starts before.
        self._paused: frozenset[str] | None = None
        self._pauses = PauseWatch(spool.pauses, clock, self._set_paused, self._pauses_unread)
        self._watching: asyncio.Task[None] | None = None
        self._stopping = False
        self._limit = asyncio.timeout(None)
        self._ended = asyncio.Event()
        self._ended.set()

    def breakers(self) -> dict[str, bool]:
        """Return for each upstream whether its circuit breaker is open."""
        return {name: worker.breaker.is_open for name, worker in self._workers.items()}

    def paused(self) -> dict[str, bool]:
        """Return for each upstream whether it is paused, as far as that is noticed."""
        return {name: worker.is_paused for name, worker in self._workers.items()}

    def refresh_pauses(self) -> None:
        """Look now which upstreams are paused. Returns at once."""
        self._pauses.refresh()

    async def run(self) -> None:
        """Run the workers until `stop`. Call it once.

        Raises:
            ExceptionGroup: of `SpoolBroken`; nothing can be delivered without a restart.
        """
        self._ended.clear()
        try:
            # A time-out here is `stop` cancelling everything: what is under way stays leased.
            with suppress(TimeoutError):
                async with self._limit, asyncio.TaskGroup() as self._running:
                    self._watching = self._running.create_task(self._pauses.run())
                    if self._stopping:
                        self._watching.cancel()
        finally:
            self._running = None
            self._ended.set()

    def replace(self, upstreams: Iterable[Upstream]) -> tuple[asyncio.Event, ...]:
        """Replace the upstreams. Workers of those that are equal to before go on undisturbed.

        The worker of one that has changed, or is gone, starts no further attempt: it releases the
        leases that it has not started, and its attempts under way end as they would; they count in
        the concurrency of its successor at the same URL. Events of an upstream that is gone stay in
        the spool.

        Returns an event for each worker that ends, set when its last attempt is settled. After
        `stop` nothing is replaced.
        """
        if self._stopping:
            return ()
        before, self._workers = self._workers, {}
        for upstream in upstreams:
            worker = before.get(upstream.name)
            if worker is not None and worker.upstream == upstream:
                self._workers[upstream.name] = before.pop(upstream.name)
            else:
                self._workers[upstream.name] = self._worker(upstream, worker)
        if self._running is None:
            return ()
        # One that waits for the pauses has nothing under way, and nobody has to wait for it.
        started = [worker for worker in before.values() if worker.started]
        for worker in started:
            worker.stop()
        replaced = (*self._replaced, *started)
        self._replaced = [worker for worker in replaced if not worker.ended.is_set()]
        self._start_workers()
        return tuple(worker.ended for worker in started)

    async def stop(self, grace: float) -> None:
        """Stop claiming, let attempts under way finish for `grace` seconds, and end `run`.

        Leases that are not started are released. An attempt that takes longer is cut short and its
        event is due again at once: the upstream may have taken it, so it may get it twice. Returns
        at most a second after the grace.
        """
        self._stopping = True
        if self._watching is not None:
            self._watching.cancel()
        for worker in self._workers.values():
            worker.stop()
        await first_completed(self._ended.wait(), self._clock.sleep(grace))
        for worker in (*self._workers.values(), *self._replaced):
            worker.cut()
        await first_completed(self._ended.wait(), self._clock.sleep(_SHUTDOWN_TIMEOUT))
        if not self._ended.is_set():
            self._limit.reschedule(asyncio.get_running_loop().time())
            await self._ended.wait()

    def _worker(self, upstream: Upstream, before: UpstreamWorker | None) -> UpstreamWorker:
        """Return a new worker for an upstream that has changed, or had none before."""
        worker = self._new_worker(upstream)
        worker.set_paused(upstream.name in (self._paused or ()))
        if before is None or (before.is_paused and not worker.is_paused):
            worker.served_since = self._clock.steady()
        else:
            worker.served_since = before.served_since
        return worker

    def _set_paused(self, paused: Collection[str]) -> None:
        before, self._paused = self._paused or frozenset(), frozenset(paused)
        for name in sorted(before ^ self._paused):
            self._observer.upstream_paused(name, paused=name in self._paused)
        for name, worker in self._workers.items():
            worker.set_paused(name in self._paused)
        self._start_workers()

    def _pauses_unread(self, error: Exception) -> None:
        for name, worker in self._workers.items():
            # Once they run, they find out for themselves.
            if not worker.started:
                self._observer.dispatch_error(name, None, error)

    def _start_workers(self) -> None:
        if self._running is None or self._paused is None or self._stopping:
            return
        for worker in self._workers.values():
            if not worker.started:
                self._start(worker, self._running)

    def _start(self, worker: UpstreamWorker, group: asyncio.TaskGroup) -> None:
        worker.started = True
        predecessors = [each for each in self._replaced if each.name == worker.name]
        group.create_task(worker.run(predecessors), name=f"upstream {worker.name}")
