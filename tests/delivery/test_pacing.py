"""The rate of an upstream: what starts when, and what is leased meanwhile."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from relay.core.errors import SpoolUnavailable
from relay.core.event import (
    Delivered,
    Event,
    Lease,
    Outcome,
    Rejected,
    Status,
    Unconfirmed,
    Unreachable,
)
from relay.core.rate_limit import Rate, TokenBucket
from relay.delivery.attempt import RateLimited, Upstream
from relay.delivery.causes import Cause
from relay.delivery.dispatcher import Dispatcher
from relay.delivery.pacing import Pacer
from relay.delivery.retry import RetryPolicy
from relay.delivery.sender import SentEvent
from relay.delivery.worker import StartLimiter, UpstreamWorker
from relay.spool import Claimed, Settlement
from relay.spool.history import Query
from relay.spool.sqlite import open_spool
from tests.harness.clock import ManualClock, run_loop_until
from tests.harness.deliveries import numbered
from tests.harness.spying_spool import RecordingObserver, SpyingSpool, call_back

TIMEOUT = timedelta(seconds=10)
POLICY = RetryPolicy((timedelta(seconds=5),), timedelta(minutes=10))
FIFTY, TEN, FIVE_AN_HOUR = Rate(50, 1), Rate(10, 1), Rate(5, 3600)


class Wire:
    """Answers at once, with this outcome; notes who was sent at which second."""

    def __init__(self, clock: ManualClock) -> None:
        self.outcome: Outcome = Delivered(200)
        self.sent: list[tuple[float, str]] = []
        self._clock = clock
        self._start = clock.monotonic()

    def attempt(self, sending: SentEvent) -> None:
        self.sent.append((self._clock.monotonic() - self._start, sending.lease.event.id))

        async def answer() -> Outcome:
            return self.outcome

        sending.pending = call_back(answer(), sending.told)

    def times(self) -> list[float]:
        return [at for at, _ in self.sent]


class CountingSpool(SpyingSpool):
    """Besides, `under_way` is how many calls of a worker are not answered yet."""

    under_way = 0

    async def claim(self, *given: Any, **named: Any) -> Claimed:
        self.under_way += 1
        try:
            return await super().claim(*given, **named)
        finally:
            self.under_way -= 1

    async def release(self, lease: Lease, due: datetime | None = None) -> None:
        self.under_way += 1
        try:
            await super().release(lease, due)
        finally:
            self.under_way -= 1

    def settle_all(
        self,
        settlements: Sequence[Settlement],
        done: Callable[[Sequence[bool] | SpoolUnavailable], None],
    ) -> None:
        self.under_way += 1

        def settled(recorded: Sequence[bool] | SpoolUnavailable) -> None:
            self.under_way -= 1
            done(recorded)

        super().settle_all(settlements, settled)


class Bench:
    def __init__(self, spool: CountingSpool, clock: ManualClock) -> None:
        self.spool, self.clock = spool, clock
        self.observer, self.wire = RecordingObserver(), Wire(clock)
        self.most_leased = 0

    def upstream(self, rate: Rate, *, order_by_key: bool = False) -> Upstream:
        bucket = rate.bucket(self.clock.monotonic())
        return Upstream(
            "billing", self.wire, TIMEOUT, 32, POLICY, order_by_key=order_by_key, rate=bucket
        )

    def worker(self, upstream: Upstream) -> UpstreamWorker:
        return UpstreamWorker(
            self.spool,
            upstream,
            start_limiter=StartLimiter(),
            clock=self.clock,
            dice=Random(1),
            observer=self.observer,
        )

    @asynccontextmanager
    async def running(self, rate: Rate) -> AsyncIterator[UpstreamWorker]:
        worker = self.worker(self.upstream(rate))
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run())
            # Else the time would run before it has begun to serve.
            await self.come_to_rest()
            yield worker
            worker.stop()

    async def store(self, *numbers: int, subject: str | None = None) -> list[str]:
        puts = [numbered(each, subject=subject, received_at=self.clock.now()) for each in numbers]
        await asyncio.gather(*(self.spool.put(each) for each in puts))
        return [each.event_id for each in puts]

    async def pass_time(self, seconds: float, step: float = 0.05) -> None:
        """Let the time run, in steps; in each of them everything comes to rest."""
        for _ in range(round(seconds / step)):
            await self.clock.advance(step)
            await self.come_to_rest()
            self.most_leased = max(self.most_leased, await self.leased())

    async def come_to_rest(self) -> None:
        """Return when nothing is under way at the present time."""
        await self.clock.advance(0)
        while self.spool.under_way:
            await run_loop_until(lambda: not self.spool.under_way)
            await self.clock.advance(0)

    async def leased(self) -> int:
        stats = await self.spool.stats()
        return stats.events.get(("midtrans", Status.LEASED), 0)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = ManualClock()
    spool = await open_spool(tmp_path / "relay.db", clock)
    yield Bench(CountingSpool(spool, clock), clock)
    await spool.close()


# ---- a backlog ------------------------------------------------------------------------------


async def test_a_backlog_goes_at_the_rate_and_waits_in_the_spool(bench: Bench) -> None:
    await bench.store(*range(300))
    async with bench.running(FIFTY):
        await bench.pass_time(3, step=0.1)
        seconds = Counter(int(at) for at in bench.wire.times())
        assert sum(seconds.values()) == pytest.approx(150, rel=0.05)
        assert max(seconds.values()) <= 52
        assert bench.most_leased <= 52
        # Claimed by the half second, not one by one.
        assert bench.spool.claims <= 8
    events = [event for _, event in bench.wire.sent]
    assert len(set(events)) == len(events)


async def test_a_slow_rate_sleeps_until_the_next_one_and_leases_nothing_before(
    bench: Bench,
) -> None:
    await bench.store(*range(3))
    async with bench.running(FIVE_AN_HOUR):
        await bench.pass_time(1445, step=2.5)
        assert bench.wire.times() == pytest.approx([0, 720, 1440], abs=2.6)
        assert bench.spool.claims <= 4
    assert [len(leases) for leases in bench.spool.claimed] == [1, 1, 1]


async def test_what_waited_for_the_rate_has_all_its_attempts(bench: Bench) -> None:
    [_, second] = await bench.store(1, 2)
    async with bench.running(Rate(3, 3600)):
        # Longer than `give_up_after`: it is tried then for the first time.
        bench.wire.outcome = Delivered(200)
        await bench.pass_time(1190, step=5)
        bench.wire.outcome = Rejected(503)
        await bench.pass_time(15)
        assert [event for _, event in bench.wire.sent][1] == second
        found = await bench.spool.get(second)
        assert found is not None
        assert (found[0].status, found[0].attempts) == (Status.PENDING, 1)


async def test_time_counts_that_an_event_waits_for_a_slow_or_dead_upstream(bench: Bench) -> None:
    await bench.store(1)
    bench.wire.outcome = Unreachable(Cause.REFUSED)
    minute = RetryPolicy((timedelta(seconds=5),), timedelta(minutes=1))
    worker = bench.worker(replace(bench.upstream(FIFTY), retry=minute))
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await bench.pass_time(65, step=5)
        worker.stop()
        page = await bench.spool.page(Query())
        assert [record.status for record in page.records] == [Status.DEAD]


# ---- new events -----------------------------------------------------------------------------


async def test_new_events_are_handed_over_within_the_rate_and_the_rest_is_claimed(
    bench: Bench,
) -> None:
    async with bench.running(TEN) as worker:
        await bench.pass_time(2)
        assert worker.seats.free <= 20
        await bench.store(*range(40))
        await bench.pass_time(0.05)
        # A second's worth at once.
        assert len(bench.wire.sent) == 10
        assert await bench.leased() <= 20
        await bench.pass_time(2)
        assert len(bench.wire.sent) == pytest.approx(30, abs=1)
        assert bench.most_leased <= 20


async def test_a_steady_stream_below_the_rate_takes_no_claims(bench: Bench) -> None:
    async with bench.running(FIFTY):
        await bench.pass_time(1)
        before = bench.spool.claims
        for number in range(20):
            await bench.store(number)
            await bench.pass_time(0.05)
        assert len(bench.wire.sent) == 20
        # The polls of each second.
        assert bench.spool.claims - before <= 4
        assert bench.spool.claimed == []


# ---- beside everything else -----------------------------------------------------------------


async def test_a_pause_saves_no_more_than_a_seconds_worth(bench: Bench) -> None:
    await bench.store(*range(60))
    async with bench.running(TEN) as worker:
        await bench.pass_time(0.5)
        worker.set_paused(True)
        await bench.pass_time(5)
        sent = len(bench.wire.sent)
        assert sent == pytest.approx(6, abs=1)
        assert await bench.leased() == 0
        worker.set_paused(False)
        await bench.pass_time(0.05)
        assert len(bench.wire.sent) - sent <= 11


async def test_a_trial_of_an_open_breaker_takes_its_place_in_the_rate(bench: Bench) -> None:
    await bench.store(*range(30))
    bench.wire.outcome = Unreachable(Cause.REFUSED)
    async with bench.running(Rate(20, 60)) as worker:
        await bench.pass_time(40, step=0.5)
        is_open = worker.breaker.is_open
        assert is_open
        assert len(bench.wire.sent) <= 14
        claims = bench.spool.claims
        # Trials after 5, 10 and 20 s; none is claimed again and again while it waits.
        await bench.pass_time(30, step=0.5)
        assert bench.spool.claims - claims <= 10
        assert await bench.leased() == 0
        bench.wire.outcome = Delivered(200)
        await bench.pass_time(60, step=0.5)
        assert not worker.breaker.is_open
    assert min(later - at for at, later in pairwise(bench.wire.times())) >= 2.4


async def test_the_order_of_a_key_holds_within_a_rate(bench: Bench) -> None:
    events = await bench.store(*range(8), subject="order")
    worker = bench.worker(bench.upstream(TEN, order_by_key=True))
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await bench.pass_time(2)
        worker.stop()
    assert [event for _, event in bench.wire.sent] == events


class Provider:
    """Says this whenever it is asked."""

    def __init__(self, said: Callable[[], Unconfirmed | RateLimited]) -> None:
        self._said = said
        self.asked = 0

    def concerns(self, _: Event) -> bool:
        return True

    async def confirm(self, _: Lease) -> Unconfirmed | RateLimited:
        self.asked += 1
        return self._said()


@pytest.mark.parametrize(
    "said", [lambda: Unconfirmed("not found", not_yet=True), lambda: RateLimited(60.0)]
)
async def test_a_question_that_sends_nothing_counts_for_nothing(
    bench: Bench, said: Callable[[], Unconfirmed | RateLimited]
) -> None:
    await bench.store(*range(5))
    provider = Provider(said)
    worker = bench.worker(replace(bench.upstream(FIVE_AN_HOUR), confirmer=provider))
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await bench.pass_time(1)
        worker.stop()
    assert (provider.asked, bench.wire.sent) == (5, [])


class Choosy(Wire):
    """Refuses one event, again and again."""

    refused = ""

    def attempt(self, sending: SentEvent) -> None:
        poisoned = sending.lease.event.id == self.refused
        self.outcome = Rejected(500) if poisoned else Delivered(200)
        super().attempt(sending)


async def test_an_event_that_nobody_takes_leaves_the_rate_to_the_others(bench: Bench) -> None:
    bench.wire = wire = Choosy(bench.clock)
    [wire.refused, *others] = await bench.store(*range(20))
    # It is due again before the next one may go.
    spaced = replace(POLICY, spacing=timedelta(seconds=6))
    worker = bench.worker(replace(bench.upstream(Rate(10, 60)), retry=spaced))
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await bench.pass_time(160, step=2)
        worker.stop()
    assert set(others) <= {event for _, event in wire.sent}


class Repeating(Wire):
    """Sends each event once more, as with a newer token."""

    def attempt(self, sending: SentEvent) -> None:
        super().attempt(sending)
        sending.repeated()


async def test_a_request_that_is_sent_once_more_counts_twice(bench: Bench) -> None:
    bench.wire = Repeating(bench.clock)
    await bench.store(*range(20))
    async with bench.running(TEN):
        await bench.pass_time(2)
    assert len(bench.wire.sent) == pytest.approx(10, abs=1)


async def test_a_worker_that_takes_the_place_of_another_has_no_burst_of_its_own(
    bench: Bench,
) -> None:
    await bench.store(*range(60))
    upstream = bench.upstream(TEN)
    dispatcher = Dispatcher(
        spool=bench.spool,
        upstreams=[upstream],
        clock=bench.clock,
        dice=Random(1),
        observer=bench.observer,
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(dispatcher.run())
        for concurrency in range(2, 12):
            await bench.pass_time(0.2)
            dispatcher.replace([replace(upstream, concurrency=concurrency)])
        await bench.pass_time(0.2)
        group.create_task(dispatcher.stop(1))
    assert len(bench.wire.sent) == pytest.approx(23, abs=2)


# ---- the pacer ------------------------------------------------------------------------------


async def test_a_place_that_is_given_back_is_called_for_earlier() -> None:
    clock, called = ManualClock(), asyncio.Event()
    bucket = TokenBucket(1 / 60, 1, start=clock.monotonic())
    pacer = Pacer(bucket, clock, called.set)
    pacer.start()
    pacer.start()
    assert not pacer.may_start()
    await clock.advance(61)
    assert not called.is_set()
    bucket.give_back()
    assert pacer.may_start()
    pacer.start()
    assert not pacer.may_start()
    await clock.advance(60)
    assert called.is_set()
    pacer.close()
