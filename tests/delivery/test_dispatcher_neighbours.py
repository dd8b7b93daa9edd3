"""Two destinations of each event: what befalls one of them is nothing to the other."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from relay.core.event import Delivered, Outcome, Rejected, Status, Unreachable
from relay.core.rate_limit import Rate
from relay.delivery.attempt import Upstream
from relay.delivery.causes import Cause
from relay.delivery.dispatcher import Dispatcher
from relay.delivery.retry import RetryPolicy
from relay.delivery.sender import SentEvent
from relay.spool.sqlite import open_spool
from tests.harness.clock import ManualClock
from tests.harness.deliveries import numbered
from tests.harness.spying_spool import RecordingObserver, SpyingSpool, call_back

GOOD, OTHER = "billing", "ledger"
POLICY = RetryPolicy((timedelta(seconds=5),), timedelta(seconds=12))
NUMBER = 30


class Wire:
    """Answers so; says nothing while `may_answer` is clear."""

    def __init__(self) -> None:
        self.outcome: Outcome = Delivered(200)
        self.sent: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def attempt(self, sending: SentEvent) -> None:
        self.sent.append(sending.lease.event.id)

        async def answer() -> Outcome:
            outcome = self.outcome
            await self.may_answer.wait()
            return outcome

        sending.pending = call_back(answer(), sending.told)


class Bench:
    """A dispatcher with two upstreams. `other` is how the second one is served."""

    def __init__(self, spool: SpyingSpool, clock: ManualClock) -> None:
        self.spool, self.clock = spool, clock
        self.observer = RecordingObserver()
        self.wires = {GOOD: Wire(), OTHER: Wire()}
        good, self.other = (
            Upstream(name, self.wires[name], timedelta(seconds=10), 4, POLICY)
            for name in (GOOD, OTHER)
        )
        self._good = good

    @asynccontextmanager
    async def dispatching(self) -> AsyncIterator[Dispatcher]:
        dispatcher = Dispatcher(
            spool=self.spool,
            upstreams=[self._good, self.other],
            clock=self.clock,
            dice=Random(1),
            observer=self.observer,
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(dispatcher.run())
            await self.clock.advance(0)
            yield dispatcher
            for wire in self.wires.values():
                wire.may_answer.set()
            await dispatcher.stop(1)

    async def store(self, subject: str | None = None) -> list[str]:
        events = [
            replace(
                numbered(number, subject=subject, received_at=self.clock.now()),
                upstreams=(OTHER, GOOD),
            )
            for number in range(NUMBER)
        ]
        for event in events:
            await self.spool.put(event)
        return [event.event_id for event in events]

    async def good_has(self, events: Sequence[str]) -> None:
        """Return when the good one has delivered each of these, and once."""
        async with asyncio.timeout(10):
            await self.observer.until(lambda: len(self.delivered(GOOD)) >= len(events))
        assert sorted(self.delivered(GOOD)) == sorted(self.wires[GOOD].sent) == list(events)

    def delivered(self, name: str) -> list[str]:
        ended = self.observer.attempts
        return [each.event_id for each in ended if (each.upstream, each.decision) == (name, "done")]

    async def statuses(self, event_id: str) -> dict[str, Status]:
        found = await self.spool.get(event_id)
        assert found is not None
        return {each.upstream: each.status for each in found[0].destinations}

    async def pass_time_until_dead(self, number: int) -> None:
        def dead() -> int:
            return sum(each.decision == "dead" for each in self.observer.attempts)

        async with asyncio.timeout(10):
            while dead() < number:
                await self.clock.advance(1)
                await self.spool.stats()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = ManualClock()
    spool = await open_spool(tmp_path / "relay.db", clock)
    yield Bench(SpyingSpool(spool, clock), clock)
    await spool.close()


async def test_retries_and_their_end_are_those_of_one_destination(bench: Bench) -> None:
    bench.wires[OTHER].outcome = Rejected(500)
    async with bench.dispatching():
        events = await bench.store()
        await bench.good_has(events)
        await bench.pass_time_until_dead(NUMBER)
    assert await bench.statuses(events[0]) == {OTHER: Status.DEAD, GOOD: Status.DELIVERED}
    assert len(bench.wires[OTHER].sent) >= 2 * NUMBER
    assert len(bench.wires[GOOD].sent) == NUMBER
    assert {each.attempt for each in bench.observer.attempts if each.upstream == GOOD} == {1}


async def test_a_final_answer_of_one_ends_nothing_for_the_other(bench: Bench) -> None:
    bench.wires[OTHER].outcome = Rejected(422)
    bench.other = replace(bench.other, retry=replace(POLICY, final=frozenset({422})))
    async with bench.dispatching():
        events = await bench.store()
        await bench.good_has(events)
        await bench.observer.until(lambda: len(bench.observer.attempts) == 2 * NUMBER)
    assert await bench.statuses(events[-1]) == {OTHER: Status.DEAD, GOOD: Status.DELIVERED}
    reasons = {(each.upstream, each.reason) for each in bench.observer.attempts}
    assert reasons == {(OTHER, "final"), (GOOD, None)}


async def test_the_breaker_of_one_is_open_alone(bench: Bench) -> None:
    bench.wires[OTHER].outcome = Unreachable(Cause.REFUSED)
    async with bench.dispatching() as dispatcher:
        events = await bench.store()
        await bench.good_has(events)
        await bench.observer.until(lambda: dispatcher.breakers()[OTHER])
        assert dispatcher.breakers() == {GOOD: False, OTHER: True}
    assert len(bench.wires[OTHER].sent) < NUMBER
    assert (await bench.statuses(events[-1]))[OTHER] is Status.PENDING


async def test_one_that_says_nothing_keeps_its_own_slots_alone(bench: Bench) -> None:
    bench.wires[OTHER].may_answer.clear()
    async with bench.dispatching():
        events = await bench.store()
        await bench.good_has(events)
        assert len(bench.wires[OTHER].sent) == 4


async def test_a_pause_is_of_one_destination(bench: Bench) -> None:
    bench.other = replace(bench.other, paused=True)
    async with bench.dispatching() as dispatcher:
        events = await bench.store()
        await bench.good_has(events)
        assert dispatcher.paused() == {GOOD: False, OTHER: True}
        assert bench.wires[OTHER].sent == []
    assert await bench.statuses(events[0]) == {OTHER: Status.PENDING, GOOD: Status.DELIVERED}


async def test_a_rate_is_of_one_destination(bench: Bench) -> None:
    bucket = Rate(5, 3600).bucket(bench.clock.monotonic())
    bench.other = replace(bench.other, rate=bucket)
    async with bench.dispatching():
        events = await bench.store()
        await bench.good_has(events)
        assert len(bench.wires[OTHER].sent) == 1


async def test_order_is_kept_where_it_is_wanted_and_holds_up_that_one_alone(bench: Bench) -> None:
    bench.other = replace(bench.other, order_by_key=True)
    bench.wires[OTHER].may_answer.clear()
    async with bench.dispatching():
        events = await bench.store(subject="order-1")
        await bench.good_has(events)
        async with asyncio.timeout(10):
            while not bench.wires[OTHER].sent:
                await bench.clock.advance(0.1)
        assert bench.wires[OTHER].sent == events[:1]
        bench.wires[OTHER].may_answer.set()
        async with asyncio.timeout(10):
            await bench.observer.until(lambda: len(bench.delivered(OTHER)) == NUMBER)
        assert bench.wires[OTHER].sent == events
