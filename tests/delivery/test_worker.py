"""A line takes events as they are stored, while it has room and nothing waits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from relay.core.event import Delivered, Lease, Outcome, Unreachable
from relay.delivery.attempt import Upstream
from relay.delivery.retry import RetryPolicy
from relay.delivery.sender import Cause
from relay.delivery.worker import LEASE_MARGIN, PREFETCH, StartLimiter, UpstreamWorker
from relay.spool.sqlite import open_spool
from tests.harness.clock import ManualClock
from tests.harness.leases import verified
from tests.harness.tapped import SpyingSpool
from tests.harness.witness import RecordingObserver

TIMEOUT = timedelta(seconds=10)
POLICY = RetryPolicy((timedelta(seconds=5),), timedelta(hours=1))


class Wire:
    """Answers when it is let go."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.go = asyncio.Event()
        self.sent: list[str] = []

    async def attempt(self, lease: Lease) -> Outcome:
        self.sent.append(lease.event.id)
        await self.go.wait()
        return self.outcome


class Bench:
    def __init__(self, spool: SpyingSpool, clock: ManualClock) -> None:
        self.spool, self.clock = spool, clock
        self.witness = RecordingObserver()
        self.wire = Wire(Delivered(200))

    @asynccontextmanager
    async def running(self, concurrency: int = 1) -> AsyncIterator[UpstreamWorker]:
        worker = UpstreamWorker(
            self.spool,
            Upstream("billing", self.wire, TIMEOUT, concurrency, POLICY),
            start_limiter=StartLimiter(),
            clock=self.clock,
            dice=Random(1),
            observer=self.witness,
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run())
            await self.clock.advance(0)
            # Its first look has found nothing: from now on it takes what is stored.
            await self.spool.rests()
            yield worker
            self.wire.go.set()
            worker.stop()

    async def store(self, *numbers: int) -> list[str]:
        for number in numbers:
            await self.spool.put(verified(number))
            await asyncio.sleep(0)
        return [verified(number).event_id for number in numbers]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = ManualClock()
    spool = await open_spool(tmp_path / "relay.db", clock)
    yield Bench(SpyingSpool(spool, clock), clock)
    await spool.close()


async def test_what_is_stored_goes_out_without_being_claimed(bench: Bench) -> None:
    bench.wire.go.set()
    async with bench.running() as worker:
        events = await bench.store(1, 2, 3)
        await bench.witness.until_delivered(3)
        assert worker.reserve() == TIMEOUT * PREFETCH + LEASE_MARGIN
        worker.cancel()
    assert bench.witness.delivered() == events
    assert bench.spool.claimed == []


async def test_no_more_attempts_than_allowed_begin_and_the_rest_waits_its_turn(
    bench: Bench,
) -> None:
    async with bench.running(concurrency=2):
        events = await bench.store(*range(10))
        await bench.clock.advance(0)
        assert bench.wire.sent == events[:2]
        bench.wire.go.set()
        await bench.witness.until_delivered(10)
    assert sorted(bench.witness.delivered()) == events
    # Eight had a seat; what came behind them had to be claimed.
    assert sum(map(len, bench.spool.claimed)) == 10 - 2 * PREFETCH


async def test_a_line_whose_upstream_is_left_alone_takes_nothing(bench: Bench) -> None:
    bench.wire.outcome = Unreachable(Cause.REFUSED)
    bench.wire.go.set()
    async with bench.running(concurrency=4) as worker:
        await bench.store(*range(10))
        await bench.witness.until(lambda: worker.breaker.is_open)
        assert worker.reserve() is None


async def test_an_event_that_is_promised_while_the_line_stops_is_given_back(bench: Bench) -> None:
    async with bench.running() as worker:
        putting = asyncio.ensure_future(bench.spool.put(verified(1)))
        await asyncio.sleep(0)
        worker.stop()
        await putting
    assert bench.wire.sent == []
    assert [lease.event.id for lease in bench.spool.released] == [verified(1).event_id]
