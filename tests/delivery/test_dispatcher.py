import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from relay.core.errors import SpoolUnavailable
from relay.core.event import Outcome, Status, Unreachable
from relay.core.secret import Secret
from relay.delivery.attempt import Sender, Upstream
from relay.delivery.causes import Cause
from relay.delivery.dispatcher import Dispatcher
from relay.delivery.retry import RetryPolicy
from relay.delivery.sender import HttpSender, SentEvent
from relay.delivery.worker import PREFETCH
from relay.spool import SpoolBroken
from relay.spool.history import Query
from relay.spool.sqlite import open_spool
from tests.harness.clock import ManualClock, run_loop_until
from tests.harness.deliveries import numbered
from tests.harness.spying_spool import RecordingObserver, SpyingSpool, call_back
from tests.harness.upstream import RefusingPort, answer, hang, when
from tests.harness.upstream import Upstream as Server

POLICY = RetryPolicy(
    (timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=2)),
    give_up_after=timedelta(minutes=10),
)
GRACE = 10.0


class Bug(Exception):
    """Nobody foresaw this."""


class Bench:
    """A spool, a clock, and dispatchers that share them."""

    def __init__(self, spool: SpyingSpool, clock: ManualClock, stack: AsyncExitStack) -> None:
        self.spool = spool
        self.clock = clock
        self.observer = RecordingObserver()
        self._stack = stack

    def upstream(
        self, url: str, name: str = "billing", concurrency: int = 4, *, order_by_key: bool = False
    ) -> Upstream:
        timeout = timedelta(seconds=10)
        sender = HttpSender(url, timeout=timeout, concurrency=concurrency, clock=self.clock)
        self._stack.push_async_callback(sender.close)
        return Upstream(name, sender, timeout, concurrency, POLICY, order_by_key, url=url)

    @asynccontextmanager
    async def dispatching(self, *upstreams: Upstream) -> AsyncIterator[Dispatcher]:
        dispatcher = self.dispatcher(*upstreams)
        async with asyncio.TaskGroup() as group:
            group.create_task(dispatcher.run())
            # No worker starts before it is known which upstreams are paused.
            await run_loop_until(lambda: dispatcher._paused is not None)
            yield dispatcher
            await dispatcher.stop(GRACE)

    def dispatcher(self, *upstreams: Upstream) -> Dispatcher:
        return Dispatcher(
            spool=self.spool,
            upstreams=upstreams,
            clock=self.clock,
            dice=Random(1),
            observer=self.observer,
        )

    async def store(
        self, numbers: Iterable[int], upstream: str = "billing", subject: str | None = None
    ) -> list[str]:
        now = self.clock.now()
        events = [
            numbered(number, upstream=upstream, subject=subject, received_at=now)
            for number in numbers
        ]
        for event in events:
            await self.spool.put(event)
        return [event.event_id for event in events]

    async def status(self, event_id: str) -> Status:
        found = await self.spool.get(event_id)
        assert found is not None
        return found[0].status


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = ManualClock()
    async with AsyncExitStack() as stack:
        spool = await open_spool(tmp_path / "relay.db", clock)
        stack.push_async_callback(spool.close)
        yield Bench(SpyingSpool(spool, clock), clock, stack)


# ---- the way out ----------------------------------------------------------------------------


async def test_what_is_stored_is_delivered_before_and_after_the_start(bench: Bench) -> None:
    async with Server() as server:
        early = await bench.store(range(3))
        async with bench.dispatching(bench.upstream(server.url, concurrency=1)):
            await bench.observer.until(lambda: bench.observer.delivered() == early)
            late = await bench.store(range(3, 6))
            await bench.observer.until(lambda: bench.observer.delivered() == early + late)
    assert [request.body for request in server.received] == [
        b'{"number": %d}' % number for number in range(6)
    ]
    assert bench.observer.faults == []


async def test_no_more_attempts_than_allowed_are_made_at_once(bench: Bench) -> None:
    gate = asyncio.Event()
    async with Server(when(gate, answer(200))) as server:
        events = await bench.store(range(10))
        async with bench.dispatching(bench.upstream(server.url, concurrency=3)):
            await server.has_received(3)
            await bench.clock.advance(5)
            assert len(server.received) == 3
            gate.set()
            await bench.observer.until_delivered(10)
        assert server.connections == 3
    assert max(map(len, bench.spool.claimed)) <= 3 * PREFETCH
    assert sorted(bench.observer.delivered()) == events


@pytest.mark.parametrize("dead", ["refuses", "hangs"])
async def test_a_dead_upstream_does_not_delay_another(bench: Bench, dead: str) -> None:
    async with Server(hang) as hanging, Server() as server:
        with RefusingPort() as refusing:
            await bench.store(range(100, 120), "broken")
            healthy = await bench.store(range(20))
            broken = bench.upstream({"hangs": hanging.url, "refuses": refusing}[dead], "broken")
            async with bench.dispatching(broken, bench.upstream(server.url)) as dispatcher:
                began = bench.clock.monotonic()
                await bench.observer.until_delivered(20)
                assert bench.clock.monotonic() == began
                await asyncio.gather(dispatcher.stop(GRACE), bench.clock.advance(GRACE))
    assert sorted(bench.observer.delivered()) == healthy


class Poisoned:
    """A sender that one event breaks."""

    def __init__(self, sender: Sender, poison: str) -> None:
        self._sender = sender
        self._poison = poison

    def attempt(self, sending: SentEvent) -> None:
        if sending.lease.event.id == self._poison:
            raise Bug
        self._sender.attempt(sending)


async def test_a_poisoned_event_does_not_block_its_neighbours(bench: Bench) -> None:
    async with Server() as server:
        poison, *others = await bench.store(range(8))
        upstream = bench.upstream(server.url, concurrency=1)
        upstream = replace(upstream, sender=Poisoned(upstream.sender, poison))
        async with bench.dispatching(upstream):
            await bench.observer.until(lambda: bench.observer.delivered() == others)
            assert [fault[1] for fault in bench.observer.faults] == [poison]
            assert await bench.status(poison) is Status.PENDING
            await bench.spool.pass_time_until(
                lambda: bench.observer.attempts[-1].decision == "dead"
            )
    assert await bench.status(poison) is Status.DEAD


# ---- trying again ---------------------------------------------------------------------------


async def test_the_schedule_is_followed_until_the_event_is_dead(bench: Bench) -> None:
    async with Server(answer(500)) as server:
        (event,) = await bench.store([1])
        began = bench.clock.now()
        times: list[float] = []
        upstream = bench.upstream(server.url)
        forward = upstream.sender.attempt

        class Timed:
            def attempt(self, sending: SentEvent) -> None:
                times.append((bench.clock.now() - began).total_seconds())
                forward(sending)

        async with bench.dispatching(replace(upstream, sender=Timed())):
            await bench.spool.pass_time_until(
                lambda: (
                    bench.observer.attempts[-1:] != []
                    and bench.observer.attempts[-1].decision == "dead"
                )
            )
        due = [each.due for each in bench.observer.attempts]
    gaps = [after - before for before, after in pairwise(times)]
    # Ten per cent either way, and the steps in which time passes.
    for gap, wanted in zip(gaps, [5, 30, 120, 120, 120, 120], strict=False):
        assert wanted * 0.9 <= gap <= wanted * 1.1 + 2
    assert 600 <= times[-1] <= 602
    assert due[-1] is None
    assert [each.attempt for each in bench.observer.attempts] == list(range(1, len(times) + 1))
    assert [request.values("Relay-Attempt") for request in server.received] == [
        [str(number + 1)] for number in range(len(times))
    ]
    assert {request.values("webhook-id")[0] for request in server.received} == {event}
    assert await bench.status(event) is Status.DEAD


async def test_a_requeued_event_goes_out_again(bench: Bench) -> None:
    async with Server(answer(500)) as server:
        (event,) = await bench.store([1])
        async with bench.dispatching(bench.upstream(server.url)):
            await bench.spool.pass_time_until(
                lambda: [each.decision for each in bench.observer.attempts][-1:] == ["dead"]
            )
            server.behave(answer(200))
            assert (await bench.spool.requeue(Query(ids=(event,)))).ids == (event,)
            await bench.observer.until(lambda: bench.observer.delivered() == [event])


async def test_events_of_one_subject_go_out_in_order(bench: Bench) -> None:
    gate = asyncio.Event()
    async with Server(answer(500), when(gate, answer(200)), answer(200)) as server:
        first, second, third = await bench.store(range(3), subject="order-1")
        (other,) = await bench.store([9], subject="order-2")
        gate.set()
        async with bench.dispatching(bench.upstream(server.url, order_by_key=True)):
            await bench.observer.until(lambda: other in bench.observer.delivered())
            assert second not in bench.observer.delivered()
            await bench.spool.pass_time_until(lambda: len(bench.observer.delivered()) == 4)
    delivered = [each for each in bench.observer.delivered() if each != other]
    assert delivered == [first, second, third]


async def test_without_order_a_later_event_overtakes(bench: Bench) -> None:
    async with Server(answer(500), answer(200)) as server:
        first, second = await bench.store(range(2), subject="order-1")
        async with bench.dispatching(bench.upstream(server.url, concurrency=1)):
            await bench.observer.until(lambda: bench.observer.delivered() == [second])
            await bench.spool.pass_time_until(lambda: len(bench.observer.delivered()) == 2)
    assert bench.observer.delivered() == [second, first]


# ---- the breaker ----------------------------------------------------------------------------


async def test_a_dead_upstream_is_left_alone_but_for_one_probe(bench: Bench) -> None:
    async with Server() as server:
        events = await bench.store(range(30))
        # One at a time, so that none is under way when it opens.
        upstream = bench.upstream(server.url, concurrency=1)
        real = upstream.sender

        class Line:
            """Dead until mended."""

            mended = False

            def attempt(self, sending: SentEvent) -> None:
                (real if self.mended else dead).attempt(sending)

        line = Line()
        with RefusingPort() as refusing:
            dead = bench.upstream(refusing, "dead").sender
            async with bench.dispatching(replace(upstream, sender=line)) as dispatcher:
                await bench.observer.until(lambda: len(bench.observer.attempts) == 10)
                assert dispatcher.breakers() == {"billing": True}
                await bench.clock.advance(4.9)
                assert len(bench.observer.attempts) == 10
                await bench.clock.advance(0.2)
                await bench.observer.until(lambda: len(bench.observer.attempts) == 11)
                await bench.clock.advance(9.5)
                assert len(bench.observer.attempts) == 11
                line.mended = True
                await bench.clock.advance(0.6)
                await bench.spool.pass_time_until(lambda: len(bench.observer.delivered()) == 30)
                assert dispatcher.breakers() == {"billing": False}
    assert sorted(bench.observer.delivered()) == events


async def test_nothing_begins_when_the_breaker_opens_during_a_claim(bench: Bench) -> None:
    gate = asyncio.Event()

    class Dead:
        def attempt(self, sending: SentEvent) -> None:
            sending.pending = call_back(self.refuse(), sending.told)

        async def refuse(self) -> Outcome:
            await gate.wait()
            return Unreachable(Cause.REFUSED)

    # In order, so that what is stored has to be claimed.
    upstream = Upstream("billing", Dead(), timedelta(seconds=10), 12, POLICY, order_by_key=True)
    await bench.store(range(10))
    async with bench.dispatching(upstream) as dispatcher:
        await bench.spool.has_claimed.wait()
        bench.spool.may_answer.clear()
        bench.spool.has_claimed.clear()
        late = await bench.store(range(10, 12))
        await bench.spool.has_claimed.wait()
        gate.set()
        await bench.observer.until(lambda: len(bench.observer.attempts) == 10)
        assert dispatcher.breakers() == {"billing": True}
        bench.spool.may_answer.set()
        await bench.clock.advance(0)
    assert [lease.event.id for lease in bench.spool.released] == late
    assert len(bench.observer.attempts) == 10


# ---- the spool has trouble ------------------------------------------------------------------


@pytest.mark.parametrize("fault", [SpoolUnavailable("locked"), Bug()], ids=["trouble", "bug"])
async def test_trouble_with_claiming_is_outlasted(bench: Bench, fault: Exception) -> None:
    async with Server() as server:
        events = await bench.store(range(3))
        bench.spool.broken["claim"] = fault
        async with bench.dispatching(bench.upstream(server.url)):
            await bench.clock.advance(60)
            # Told each time, and not in a storm.
            assert 10 < len(bench.observer.faults) < 20
            bench.spool.broken.clear()
            await bench.clock.advance(5)
            await bench.observer.until_delivered(3)
    assert sorted(bench.observer.delivered()) == events
    assert {fault[:2] for fault in bench.observer.faults} == {("billing", None)}


@pytest.mark.parametrize("fault", [SpoolUnavailable("locked"), Bug()], ids=["trouble", "bug"])
async def test_trouble_with_waiting_is_outlasted(bench: Bench, fault: Exception) -> None:
    async with Server() as server:
        bench.spool.broken["wait_for_work"] = fault
        async with bench.dispatching(bench.upstream(server.url)):
            await bench.observer.until(lambda: bench.observer.faults != [])
            await bench.store([1])
            await bench.clock.advance(5)
            await bench.observer.until_delivered(1)


async def test_trouble_with_giving_back_is_outlasted(bench: Bench) -> None:
    async with Server() as server:
        await bench.store(range(3))
        bench.spool.may_answer.clear()
        bench.spool.broken["release"] = SpoolUnavailable("locked")
        async with bench.dispatching(bench.upstream(server.url)) as dispatcher:
            await bench.spool.has_claimed.wait()
            async with asyncio.TaskGroup() as group:
                group.create_task(dispatcher.stop(GRACE))
                await bench.clock.advance(0)
                bench.spool.may_answer.set()
    assert len(bench.observer.faults) == 3


async def test_a_broken_spool_ends_the_dispatcher(bench: Bench) -> None:
    async with Server() as server:
        bench.spool.broken["claim"] = SpoolBroken("a sync failed")
        dispatcher = bench.dispatcher(bench.upstream(server.url))
        with pytest.raises(ExceptionGroup) as caught:
            await dispatcher.run()
        await dispatcher.stop(GRACE)
    assert caught.value.subgroup(SpoolBroken) is not None


async def test_an_idle_dispatcher_is_idle(bench: Bench) -> None:
    async with Server() as server, bench.dispatching(bench.upstream(server.url)):
        await bench.spool.pass_time_until(lambda: bench.spool.claims > 0)
        before = bench.spool.claims
        end = bench.clock.monotonic() + 20
        await bench.spool.pass_time_until(lambda: bench.clock.monotonic() >= end)
        assert bench.spool.claims - before <= 25


# ---- stopping and starting again ------------------------------------------------------------


async def test_attempts_in_hand_may_finish(bench: Bench) -> None:
    gate = asyncio.Event()
    async with Server(when(gate, answer(200))) as server:
        events = await bench.store(range(6))
        dispatcher = bench.dispatcher(bench.upstream(server.url, concurrency=2))
        async with asyncio.TaskGroup() as group:
            running = group.create_task(dispatcher.run())
            await server.has_received(2)
            stopping = group.create_task(dispatcher.stop(GRACE))
            await bench.clock.advance(GRACE - 1)
            assert not running.done()
            gate.set()
            await stopping
            assert running.done()
        assert len(server.received) == 2
    assert sorted(bench.observer.delivered()) == events[:2]
    assert [await bench.status(event) for event in events[2:]] == [Status.PENDING] * 4


async def test_attempts_that_outlast_the_grace_are_cut_and_come_again(bench: Bench) -> None:
    async with Server(hang) as server:
        events = await bench.store(range(2))
        dispatcher = bench.dispatcher(bench.upstream(server.url))
        async with asyncio.TaskGroup() as group:
            group.create_task(dispatcher.run())
            await server.has_received(2)
            group.create_task(dispatcher.stop(GRACE))
            await bench.clock.advance(GRACE)
        assert [each.cause for each in bench.observer.attempts] == ["shutdown"] * 2
        # Nobody has to wait for a lease to run out.
        server.behave(answer(200))
        async with bench.dispatching(bench.upstream(server.url)):
            await bench.observer.until(lambda: sorted(bench.observer.delivered()) == events)
    assert [request.values("Relay-Attempt") for request in server.received[2:]] == [["2"], ["2"]]


async def test_what_was_claimed_but_not_begun_is_given_back(bench: Bench) -> None:
    async with Server() as server:
        events = await bench.store(range(3))
        bench.spool.may_answer.clear()
        dispatcher = bench.dispatcher(bench.upstream(server.url))
        async with asyncio.TaskGroup() as group:
            group.create_task(dispatcher.run())
            await bench.spool.has_claimed.wait()
            stopping = group.create_task(dispatcher.stop(GRACE))
            await bench.clock.advance(0)
            bench.spool.may_answer.set()
            await stopping
        assert server.received == []
        assert [lease.event.id for lease in bench.spool.released] == events
        async with bench.dispatching(bench.upstream(server.url)):
            await bench.observer.until_delivered(3)
    assert {each.attempt for each in bench.observer.attempts} == {1}


async def test_a_spool_that_never_answers_cannot_keep_us_from_stopping(bench: Bench) -> None:
    async with Server() as server:
        (event,) = await bench.store([1])
        bench.spool.may_answer.clear()
        dispatcher = bench.dispatcher(bench.upstream(server.url))
        async with asyncio.TaskGroup() as group:
            group.create_task(dispatcher.run())
            await bench.spool.has_claimed.wait()
            group.create_task(dispatcher.stop(GRACE))
            await bench.clock.advance(GRACE + 1)
    assert server.received == []
    assert await bench.status(event) is Status.LEASED


async def test_a_lease_that_was_left_behind_is_taken_up_when_it_has_run_out(bench: Bench) -> None:
    async with Server(hang) as server:
        (event,) = await bench.store([1])
        dispatcher = bench.dispatcher(bench.upstream(server.url))
        running = asyncio.ensure_future(dispatcher.run())
        await server.has_received(1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await bench.status(event) is Status.LEASED
        server.behave(answer(200))
        fresh = SpyingSpool(bench.spool, bench.clock)
        bench.spool, left = fresh, bench.clock.now()
        async with bench.dispatching(bench.upstream(server.url)):
            await bench.spool.pass_time_until(lambda: bench.observer.delivered() == [event])
    # The timeouts of an attempt and those before it, and the margin for settling it.
    assert 70 <= (bench.clock.now() - left).total_seconds() < 73
    assert bench.observer.attempts[0].attempt == 2


async def test_stopping_again_and_again_loses_nothing(bench: Bench) -> None:
    async with Server() as server:
        events = await bench.store(range(60))
        upstream = bench.upstream(server.url, concurrency=3)
        for round_ in range(1, 6):
            async with bench.dispatching(upstream):
                await bench.observer.until_delivered(round_ * 8)
        async with bench.dispatching(upstream):
            await bench.observer.until_delivered(60)
    assert sorted(bench.observer.delivered()) == events
    assert len(server.received) == 60


async def test_a_dispatcher_that_never_ran_can_be_stopped(bench: Bench) -> None:
    async with Server() as server:
        await bench.store([1])
        dispatcher = bench.dispatcher(bench.upstream(server.url))
        await dispatcher.stop(GRACE)
        await dispatcher.run()
        assert server.received == []


async def test_outcomes_of_real_answers_reach_the_record(bench: Bench) -> None:
    async with Server(answer(429, [("Retry-After", "600")])) as server:
        await bench.store([1])
        async with bench.dispatching(bench.upstream(server.url)):
            await bench.observer.until(lambda: bench.observer.attempts != [])
    (told,) = bench.observer.attempts
    assert told.status == 429
    assert told.due == bench.clock.now() + timedelta(minutes=10)


# ---- other upstreams, while it runs -----------------------------------------------------------


async def test_a_changed_upstream_is_served_anew_while_the_old_attempts_end(bench: Bench) -> None:
    gate = asyncio.Event()
    async with Server(when(gate, answer(200))) as old, Server() as new:
        events = await bench.store(range(5))
        async with bench.dispatching(bench.upstream(old.url, concurrency=2)) as dispatcher:
            await old.has_received(2)
            (ended,) = dispatcher.replace([bench.upstream(new.url, concurrency=2)])
            await bench.observer.until_delivered(3)
            assert sorted(bench.observer.delivered()) == events[2:]
            assert not ended.is_set()
            gate.set()
            await ended.wait()
            assert sorted(bench.observer.delivered()) == events
        assert (len(old.received), len(new.received)) == (2, 3)
    # Nothing was begun twice: what had not been begun was given back.
    assert {each.attempt for each in bench.observer.attempts} == {1}


async def test_before_and_after_together_keep_to_the_concurrency_of_one_place(bench: Bench) -> None:
    gate = asyncio.Event()
    async with Server(when(gate, answer(200))) as server:
        events = await bench.store(range(9))
        upstream = bench.upstream(server.url, concurrency=2)
        async with bench.dispatching(upstream) as dispatcher:
            await server.has_received(2)
            for concurrency in (2, 2, 3):
                bench.spool.has_claimed.clear()
                dispatcher.replace([bench.upstream(server.url, concurrency=concurrency)])
                await bench.spool.has_claimed.wait()
                await server.has_received(concurrency)
                # Whatever else might begin would have begun by now.
                await bench.clock.advance(0)
                assert len(server.received) == concurrency
            gate.set()
            await bench.observer.until_delivered(9)
    assert sorted(bench.observer.delivered()) == events


async def test_a_place_that_was_left_and_is_served_again_is_still_the_same(bench: Bench) -> None:
    gate = asyncio.Event()
    async with Server(when(gate, answer(200))) as server, Server(when(gate, answer(200))) as other:
        events = await bench.store(range(9))
        async with bench.dispatching(bench.upstream(server.url, concurrency=2)) as dispatcher:
            await server.has_received(2)
            dispatcher.replace([bench.upstream(other.url, concurrency=2)])
            await other.has_received(2)
            bench.spool.has_claimed.clear()
            dispatcher.replace([bench.upstream(server.url, concurrency=3)])
            await bench.spool.has_claimed.wait()
            await server.has_received(3)
            await bench.clock.advance(0)
            assert (len(server.received), len(other.received)) == (3, 2)
            gate.set()
            await bench.observer.until_delivered(9)
    assert sorted(bench.observer.delivered()) == events


async def test_an_upstream_that_stays_as_it_is_is_left_alone(bench: Bench) -> None:
    gate = asyncio.Event()
    async with Server(when(gate, answer(200))) as server:
        events = await bench.store(range(3))
        upstream = bench.upstream(server.url, concurrency=1)
        async with bench.dispatching(upstream) as dispatcher:
            await server.has_received(1)
            assert dispatcher.replace([upstream]) == ()
            gate.set()
            await bench.observer.until_delivered(3)
        assert server.connections == 1
    assert bench.observer.delivered() == events
    assert bench.spool.released == []


async def test_an_upstream_that_is_gone_keeps_its_events_until_it_is_named_again(
    bench: Bench,
) -> None:
    async with Server() as server, Server() as other:
        upstream = bench.upstream(server.url)
        async with bench.dispatching(upstream) as dispatcher:
            await bench.clock.advance(0)
            (ended,) = dispatcher.replace([bench.upstream(other.url, "ledger")])
            await ended.wait()
            (event,) = await bench.store([1])
            (elsewhere,) = await bench.store([2], "ledger")
            await bench.observer.until(lambda: bench.observer.delivered() == [elsewhere])
            assert await bench.status(event) is Status.PENDING
            assert dispatcher.breakers() == {"ledger": False}
            dispatcher.replace([upstream])
            await bench.observer.until(lambda: bench.observer.delivered() == [elsewhere, event])


async def test_events_are_stored_while_upstreams_come_and_go(bench: Bench) -> None:
    async with Server() as server:
        upstream = bench.upstream(server.url)
        events: list[str] = []
        async with bench.dispatching(upstream) as dispatcher:
            for round_ in range(20):
                async with asyncio.TaskGroup() as group:
                    storing = group.create_task(bench.store(range(round_ * 3, round_ * 3 + 3)))
                    # In the midst of it: an event may have been promised a seat here.
                    await asyncio.sleep(0)
                    dispatcher.replace([replace(upstream, concurrency=1 + round_ % 3)])
                events += storing.result()
            # No time passes: no lease has to run out first.
            await bench.observer.until_delivered(60)
    assert sorted(bench.observer.delivered()) == events
    assert len(server.received) == 60


async def test_stopping_cuts_the_attempts_of_what_was_replaced_too(bench: Bench) -> None:
    async with Server(hang) as old, Server() as new:
        (event,) = await bench.store([1])
        dispatcher = bench.dispatcher(bench.upstream(old.url))
        async with asyncio.TaskGroup() as group:
            group.create_task(dispatcher.run())
            await old.has_received(1)
            for concurrency in (2, 3):
                dispatcher.replace([bench.upstream(new.url, concurrency=concurrency)])
            group.create_task(dispatcher.stop(GRACE))
            await bench.clock.advance(GRACE)
        assert [each.cause for each in bench.observer.attempts] == ["shutdown"]
    assert await bench.status(event) is Status.PENDING


async def test_upstreams_that_are_replaced_before_the_start_are_never_served(bench: Bench) -> None:
    async with Server() as old, Server() as new:
        await bench.store([1])
        dispatcher = bench.dispatcher(bench.upstream(old.url))
        assert dispatcher.replace([bench.upstream(new.url)]) == ()
        async with asyncio.TaskGroup() as group:
            group.create_task(dispatcher.run())
            await bench.observer.until_delivered(1)
            await dispatcher.stop(GRACE)
        assert (len(old.received), len(new.received)) == (0, 1)


async def test_what_takes_the_place_of_another_is_handed_what_is_stored(bench: Bench) -> None:
    async with Server() as server:
        upstream = bench.upstream(server.url)
        async with bench.dispatching(upstream) as dispatcher:
            await bench.clock.advance(0)
            (ended,) = dispatcher.replace([replace(upstream, concurrency=2)])
            await ended.wait()
            await bench.store([1])
            await bench.observer.until_delivered(1)
            claims = bench.spool.claims
            await bench.store([2])
            await bench.observer.until_delivered(2)
            assert bench.spool.claims == claims


# ---- what an upstream said ------------------------------------------------------------------


async def test_the_beginning_of_each_answer_is_kept_but_of_a_first_success(bench: Bench) -> None:
    secret = Secret("a-secret-of-ours")
    async with Server() as server:
        server.behave(answer(500, body=b"cannot: a-secret-of-ours" + b"x" * 2000))
        upstream = replace(bench.upstream(server.url), secrets=lambda: [secret])
        [first] = await bench.store([1])
        async with bench.dispatching(upstream):
            await bench.observer.until(lambda: len(bench.observer.attempts) == 1)
        # It is written down by now, and due when the next one starts.
        await bench.clock.advance(10)
        server.behave(answer(200, body=b"thanks"))
        async with bench.dispatching(upstream):
            await bench.observer.until_delivered(1)
            [second] = await bench.store([2])
            await bench.observer.until_delivered(2)
    said = [(each.number, each.answer) for each in await bench.spool.attempts(first)]
    assert said == [(1, (b"cannot: ***" + b"x" * 2000)[:1024]), (2, b"thanks")]
    assert [each.answer for each in await bench.spool.attempts(second)] == [None]
