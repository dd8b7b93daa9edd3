"""A line takes events as they are stored, while it has room and nothing waits."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from relay.core.event import Delivered, Outcome, Status, Unreachable
from relay.core.sealing import SealingKey
from relay.core.secret import Secret
from relay.delivery.attempt import Upstream
from relay.delivery.causes import Cause
from relay.delivery.retry import RetryPolicy
from relay.delivery.sender import SentEvent
from relay.delivery.worker import LEASE_MARGIN, PREFETCH, StartLimiter, UpstreamWorker
from relay.spool.sqlite import open_spool
from tests.harness.clock import ManualClock, run_loop_until
from tests.harness.deliveries import numbered
from tests.harness.spying_spool import RecordingObserver, SpyingSpool, call_back

TIMEOUT = timedelta(seconds=10)
POLICY = RetryPolicy((timedelta(seconds=5),), timedelta(hours=1))


class Wire:
    """Answers when it is let go."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.go = asyncio.Event()
        self.sent: list[str] = []

    def attempt(self, sending: SentEvent) -> None:
        self.sent.append(sending.lease.event.id)

        async def answer() -> Outcome:
            await self.go.wait()
            return self.outcome

        sending.pending = call_back(answer(), sending.told)


class Bench:
    def __init__(self, spool: SpyingSpool, clock: ManualClock) -> None:
        self.spool, self.clock = spool, clock
        self.observer = RecordingObserver()
        self.wire = Wire(Delivered(200))

    @asynccontextmanager
    async def running(self, concurrency: int = 1) -> AsyncIterator[UpstreamWorker]:
        worker = UpstreamWorker(
            self.spool,
            Upstream("billing", self.wire, TIMEOUT, concurrency, POLICY),
            start_limiter=StartLimiter(),
            clock=self.clock,
            dice=Random(1),
            observer=self.observer,
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
            await self.spool.put(numbered(number))
            await asyncio.sleep(0)
        return [numbered(number).event_id for number in numbers]


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
        await bench.observer.until_delivered(3)
        assert worker.seats.free > 0
        assert worker.seats.lease_time == TIMEOUT * PREFETCH + LEASE_MARGIN
    assert bench.observer.delivered() == events
    assert bench.spool.claimed == []


async def test_what_is_stored_during_a_claim_that_follows_an_empty_one_is_not_claimed(
    bench: Bench,
) -> None:
    bench.wire.go.set()
    async with bench.running():
        # The poll after a second starts a claim.
        bench.spool.may_answer.clear()
        claims = bench.spool.claims
        await bench.clock.advance(1)
        assert bench.spool.claims == claims + 1
        events = await bench.store(1, 2, 3)
        await bench.observer.until_delivered(3)
        bench.spool.may_answer.set()
        await bench.clock.advance(0)
        assert bench.spool.claims == claims + 1
    assert bench.observer.delivered() == events
    assert bench.spool.claimed == []


async def test_a_claim_under_way_leaves_its_share_of_the_slots(bench: Bench) -> None:
    async with bench.running(concurrency=2) as worker:
        bench.spool.may_answer.clear()
        await bench.clock.advance(1)
        assert worker.seats.free == 2 * PREFETCH - 2
        bench.spool.may_answer.set()


async def test_a_poll_does_not_make_a_steady_stream_of_events_go_by_claims(bench: Bench) -> None:
    bench.wire.go.set()
    numbers = iter(range(400))

    async def send() -> None:
        for number in numbers:
            await bench.store(number)

    async with bench.running(concurrency=8):
        claims = bench.spool.claims
        senders = asyncio.gather(*(send() for _ in range(8)))
        await bench.clock.advance(1)
        await senders
        await bench.observer.until_delivered(400)
        # That of the poll, and one more for what the polling claim left no slot for.
        assert bench.spool.claims - claims <= 2
    assert sum(map(len, bench.spool.claimed)) <= PREFETCH * 8


async def test_no_more_attempts_than_allowed_begin_and_the_rest_waits_its_turn(
    bench: Bench,
) -> None:
    async with bench.running(concurrency=2):
        events = await bench.store(*range(10))
        await bench.clock.advance(0)
        assert bench.wire.sent == events[:2]
        bench.wire.go.set()
        await bench.observer.until_delivered(10)
    assert sorted(bench.observer.delivered()) == events
    # Eight had a seat; what came behind them had to be claimed.
    assert sum(map(len, bench.spool.claimed)) == 10 - 2 * PREFETCH


async def test_a_line_whose_upstream_is_left_alone_takes_nothing(bench: Bench) -> None:
    bench.wire.outcome = Unreachable(Cause.REFUSED)
    bench.wire.go.set()
    async with bench.running(concurrency=4) as worker:
        await bench.store(*range(10))
        await bench.observer.until(lambda: worker.breaker.is_open)
        assert not worker.seats.reserve()


async def test_an_event_that_is_promised_while_the_line_stops_is_given_back(bench: Bench) -> None:
    async with bench.running() as worker:
        putting = asyncio.ensure_future(bench.spool.put(numbered(1)))
        await asyncio.sleep(0)
        worker.stop()
        await putting
    assert bench.wire.sent == []
    await bench.spool.probe()
    found = await bench.spool.get(numbered(1).event_id)
    assert found is not None
    assert (found[0].status, found[0].attempts) == (Status.PENDING, 0)


# ---- the limit on starts --------------------------------------------------------------------


class Crowd:
    """One that wants to begin so many things, and notes each."""

    def __init__(self, start_limiter: StartLimiter, name: str, wants: int, seen: list[str]) -> None:
        self._start_limiter = start_limiter
        self._name = name
        self._wants = wants
        self._seen = seen

    def begin(self) -> None:
        while self._wants and self._start_limiter.try_start(self.begin):
            self._wants -= 1
            self._seen.append(self._name)


async def in_turns(seen: list[str], *begin: Callable[[], None]) -> list[str]:
    """Let all begin, and return what was seen in each turn of the loop until nothing more is."""
    for each in begin:
        each()
    turns = ["".join(seen)]
    while seen:
        seen.clear()
        await asyncio.sleep(0)
        turns.append("".join(seen))
    return turns[:-1]


async def test_few_get_through_in_one_turn() -> None:
    seen: list[str] = []
    crowd = Crowd(StartLimiter(3), "a", 7, seen)
    assert await in_turns(seen, crowd.begin) == ["aaa", "aaa", "a"]


async def test_nobody_gets_a_second_turn_before_the_others_had_one() -> None:
    seen: list[str] = []
    start_limiter = StartLimiter(3)
    crowds = [Crowd(start_limiter, name, 4, seen) for name in "abc"]
    turns = await in_turns(seen, *(each.begin for each in crowds))
    assert turns == ["aaa", "abb", "ccc", "bbc"]


async def test_who_tries_again_by_itself_is_not_called_twice() -> None:
    start_limiter = StartLimiter(1)
    calls: list[int] = []
    assert start_limiter.try_start(print)

    def again() -> None:
        calls.append(1)

    assert not start_limiter.try_start(again)
    assert not start_limiter.try_start(again)
    await asyncio.sleep(0)
    assert calls == [1]


async def test_a_later_turn_is_as_good_as_the_first() -> None:
    start_limiter = StartLimiter(2)
    for _ in range(3):
        assert [start_limiter.try_start(print) for _ in range(2)] == [True, True]
        await asyncio.sleep(0)


# ---- pauses ---------------------------------------------------------------------------------


async def test_a_pause_ends_handovers_and_what_was_queued_is_due_without_an_attempt(
    bench: Bench,
) -> None:
    async with bench.running() as worker:
        events = await bench.store(1, 2, 3)
        await bench.clock.advance(0)
        assert bench.wire.sent == events[:1]
        worker.set_paused(True)
        assert worker.seats.free == 0
        bench.wire.go.set()
        await bench.observer.until_delivered(1)
        await run_loop_until(lambda: len(bench.spool.released) == 2)
        events += await bench.store(4)
        claims = bench.spool.claims
        await bench.clock.advance(3600)
        assert (bench.spool.claims, bench.wire.sent) == (claims, events[:1])
        worker.set_paused(False)
        await bench.observer.until_delivered(4)
    assert sorted(bench.observer.delivered()) == events
    assert {each.attempt for each in bench.observer.attempts} == {1}


async def test_an_attempt_under_way_ends_and_its_retry_waits_for_the_end_of_the_pause(
    bench: Bench,
) -> None:
    bench.wire.outcome = Unreachable(Cause.TIMEOUT)
    async with bench.running() as worker:
        await bench.store(1)
        await bench.clock.advance(0)
        worker.set_paused(True)
        bench.wire.go.set()
        await bench.observer.until(lambda: len(bench.observer.attempts) == 1)
        # Longer than it may take until the event is given up.
        await bench.clock.advance(2 * POLICY.give_up_after.total_seconds())
        assert len(bench.wire.sent) == 1
        worker.set_paused(False)
        await bench.observer.until(lambda: len(bench.observer.attempts) == 2)
    assert [each.decision for each in bench.observer.attempts] == ["retry", "retry"]


async def test_an_event_that_waits_for_its_key_is_told_and_holds_up_no_other(
    bench: Bench, tmp_path: Path
) -> None:
    key = SealingKey(Secret("1" * 64))
    other = await open_spool(tmp_path / "relay.db", bench.clock, keys=[key])
    await other.put(numbered(1))
    await other.close()
    bench.wire.go.set()
    async with bench.running():
        await bench.store(2)
        await bench.observer.until_delivered(1)
    [(upstream, event_id, fault)] = bench.observer.faults
    assert (upstream, event_id) == ("billing", numbered(1).event_id)
    assert key.fingerprint in str(fault)
    assert bench.wire.sent == [numbered(2).event_id]
    assert bench.observer.ruined == []
