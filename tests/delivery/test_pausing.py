"""Pauses are noticed at the start, within a second, and at once when that is asked for."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from relay.core.errors import SpoolUnavailable
from relay.core.event import Delivered
from relay.delivery.attempt import Upstream
from relay.delivery.dispatcher import Dispatcher
from relay.delivery.pausing import PauseWatch
from relay.delivery.retry import RetryPolicy
from relay.delivery.sender import SentEvent
from relay.spool import Spool, SpoolBroken
from relay.spool.audit import Actor
from relay.spool.pauses import Pause
from relay.spool.sqlite import open_spool
from tests.harness.clock import ManualClock, run_loop_until
from tests.harness.deliveries import RECEIVED, numbered
from tests.harness.spying_spool import RecordingObserver

POLICY = RetryPolicy((timedelta(seconds=5),), timedelta(hours=1))


class Store:
    """Pauses in memory; `fault` is what reading them raises."""

    def __init__(self) -> None:
        self.paused: dict[str, Pause] = {}
        self.fault: Exception | None = None

    async def all(self) -> Mapping[str, Pause]:
        if self.fault is not None:
            raise self.fault
        return self.paused

    async def pause(self, upstream: str, actor: Actor, at: datetime) -> bool:
        self.paused[upstream] = Pause(at, actor)
        return True

    async def resume(self, upstream: str) -> bool:
        del self.paused[upstream]
        return True


async def test_they_are_read_each_second_and_when_that_is_asked_for() -> None:
    store, clock = Store(), ManualClock()
    read: list[list[str]] = []
    failed: list[Exception] = []
    watch = PauseWatch(store, clock, lambda names: read.append([*names]), failed.append)
    running = asyncio.ensure_future(watch.run())
    await clock.advance(0)
    assert read == [[]]
    await store.pause("billing", Actor.CLI, RECEIVED)
    await clock.advance(1)
    assert read == [[], ["billing"]]
    await store.resume("billing")
    watch.refresh()
    await clock.advance(0)
    assert read == [[], ["billing"], []]
    store.fault = SpoolUnavailable("locked")
    await clock.advance(2)
    assert (len(read), failed) == (3, [store.fault, store.fault])
    store.fault = SpoolBroken("gone")
    await clock.advance(1)
    with pytest.raises(SpoolBroken):
        await running


# ---- with a dispatcher ----------------------------------------------------------------------


class Wire:
    """Takes every event."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def attempt(self, sending: SentEvent) -> None:
        self.sent.append(sending.lease.event.id)
        sending.end_soon(lambda: sending.told(Delivered(200)))


class Bench:
    def __init__(self, spool: Spool, clock: ManualClock) -> None:
        self.spool, self.clock = spool, clock
        self.observer, self.wire = RecordingObserver(), Wire()

    def upstream(self, *, paused: bool = False) -> Upstream:
        return Upstream("billing", self.wire, timedelta(seconds=1), 4, POLICY, paused=paused)

    def dispatcher(self, *, paused: bool = False) -> Dispatcher:
        return Dispatcher(
            spool=self.spool,
            upstreams=[self.upstream(paused=paused)],
            clock=self.clock,
            dice=Random(1),
            observer=self.observer,
        )


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = ManualClock()
    spool = await open_spool(tmp_path / "relay.db", clock)
    yield Bench(spool, clock)
    await spool.close()


@pytest.fixture
def unreadable(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The pauses of the bench, which cannot be read until their fault is taken away."""
    store = Store()
    store.fault = SpoolUnavailable("locked")
    monkeypatch.setattr(bench.spool, "pauses", store)
    return store


async def test_what_was_paused_before_the_start_stays_so_until_another_process_resumes_it(
    bench: Bench, tmp_path: Path
) -> None:
    other = await open_spool(tmp_path / "relay.db", bench.clock)
    await other.pauses.pause("billing", Actor.CLI, RECEIVED)
    dispatcher = bench.dispatcher()
    async with asyncio.TaskGroup() as group:
        group.create_task(dispatcher.run())
        await run_loop_until(lambda: dispatcher.paused() == {"billing": True})
        await bench.spool.put(numbered(1))
        for _ in range(5):
            await bench.clock.advance(1)
        assert bench.wire.sent == []
        await other.pauses.resume("billing")
        while not bench.observer.delivered():
            await bench.clock.advance(1)
        assert bench.observer.paused == [("billing", True), ("billing", False)]
        await dispatcher.stop(1)
    await other.close()


async def test_the_file_pauses_until_a_reload_and_a_person_meanwhile(bench: Bench) -> None:
    dispatcher = bench.dispatcher(paused=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(dispatcher.run())
        await run_loop_until(lambda: dispatcher.paused() == {"billing": True})
        await bench.spool.put(numbered(1))
        await bench.spool.pauses.pause("billing", Actor.TOKEN, RECEIVED)
        dispatcher.refresh_pauses()
        await bench.observer.until(lambda: bench.observer.paused == [("billing", True)])
        dispatcher.replace([bench.upstream()])
        await bench.clock.advance(7200)
        assert dispatcher.paused() == {"billing": True}
        await bench.spool.pauses.resume("billing")
        dispatcher.refresh_pauses()
        await bench.observer.until_delivered(1)
        assert dispatcher.paused() == {"billing": False}
        await dispatcher.stop(1)


async def test_nothing_is_delivered_before_the_pauses_are_known(
    bench: Bench, unreadable: Store
) -> None:
    await bench.spool.put(numbered(1))
    dispatcher = bench.dispatcher()
    async with asyncio.TaskGroup() as group:
        group.create_task(dispatcher.run())
        await bench.clock.advance(3)
        await bench.observer.until(lambda: bool(bench.observer.faults))
        assert bench.wire.sent == []
        assert bench.observer.faults[0] == ("billing", None, unreadable.fault)
        unreadable.fault = None
        await bench.clock.advance(1)
        await bench.observer.until_delivered(1)
        await dispatcher.stop(1)


async def test_an_upstream_may_be_replaced_before_the_pauses_are_known(
    bench: Bench, unreadable: Store
) -> None:
    await bench.spool.put(numbered(1))
    dispatcher = bench.dispatcher()
    async with asyncio.TaskGroup() as group:
        group.create_task(dispatcher.run())
        await bench.clock.advance(1)
        # The one before has no last attempt, and neither its successor nor anybody waits for it.
        assert dispatcher.replace([replace(bench.upstream(), concurrency=3)]) == ()
        unreadable.fault = None
        await bench.clock.advance(1)
        await bench.observer.until_delivered(1)
        await dispatcher.stop(1)


async def test_it_stops_though_the_pauses_were_never_known(bench: Bench, unreadable: Store) -> None:
    dispatcher = bench.dispatcher()
    async with asyncio.TaskGroup() as group:
        group.create_task(dispatcher.run())
        await bench.clock.advance(1)
        await dispatcher.stop(1)
