import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import Random

import pytest

from relay.core.errors import SpoolUnavailable
from relay.core.event import (
    AttemptRecord,
    Delivered,
    Event,
    Lease,
    Outcome,
    Rejected,
    Status,
    Unconfirmed,
    Unreachable,
)
from relay.delivery.attempt import AttemptRunner, Confirmed, RateLimited, Upstream
from relay.delivery.causes import Cause
from relay.delivery.circuit_breaker import UPSTREAM_BREAKER, CircuitBreaker
from relay.delivery.retry import RetryPolicy
from relay.delivery.sender import SentEvent
from relay.spool import SpoolBroken
from relay.spool.history import Record
from relay.spool.sqlite import open_spool
from tests.harness.clock import ManualClock
from tests.harness.deliveries import numbered
from tests.harness.spying_spool import RecordingObserver, SpyingSpool, call_back

LEASE = timedelta(seconds=40)
POLICY = RetryPolicy((timedelta(seconds=10),), give_up_after=timedelta(hours=1))


class Bug(Exception):
    """Nobody foresaw this."""


@dataclass
class Bench:
    """Attempts under test, and all that they touch."""

    clock: ManualClock
    spool: SpyingSpool
    observer: RecordingObserver
    breaker: CircuitBreaker

    async def lease(self, number: int = 1) -> Lease:
        await self.spool.put(numbered(number, received_at=self.clock.now()))
        claimed = await self.spool.claim("billing", 1, LEASE, ordered=False)
        return claimed.leases[0]

    def attempts(self, tell: Callable[[Lease], Outcome]) -> AttemptRunner:
        """Return attempts whose outcome is what `tell` says, two seconds later."""
        clock = self.clock

        class Wire:
            def attempt(self, sending: SentEvent) -> None:
                outcome = tell(sending.lease)

                async def answer() -> Outcome:
                    await clock.sleep(2)
                    return outcome

                sending.pending = call_back(answer(), sending.told)

        return AttemptRunner(
            upstream=Upstream("billing", Wire(), timedelta(seconds=10), 4, POLICY),
            spool=self.spool,
            breaker=self.breaker,
            clock=clock,
            dice=Random(1),
            observer=self.observer,
        )

    async def deliver(self, tell: Callable[[Lease], Outcome], number: int = 1) -> AttemptRecord:
        """Try a new event, and return what was told about it."""
        told = len(self.observer.attempts)
        lease = await self.lease(number)
        async with asyncio.TaskGroup() as group:
            group.create_task(delivered(self.attempts(tell), lease, self.clock))
            await self.clock.advance(2)
        assert len(self.observer.attempts) == told + 1
        return self.observer.attempts[-1]

    async def record(self, number: int = 1) -> Record:
        found = await self.spool.get(f"evt_{number:04}")
        assert found is not None
        return found[0]


async def delivered(attempts: AttemptRunner, lease: Lease, clock: ManualClock) -> bool:
    """Make one attempt; return whether the event needs no other."""
    answered: list[bool] = []
    settled: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def on_settled(finished: bool) -> None:
        assert answered == [True]
        settled.set_result(finished)

    attempts.start(lease, clock.steady(), lambda: answered.append(True), on_settled)
    assert answered == []
    return await settled


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = ManualClock()
    spool = await open_spool(tmp_path / "relay.db", clock)
    yield Bench(
        clock, SpyingSpool(spool, clock), RecordingObserver(), CircuitBreaker(UPSTREAM_BREAKER)
    )
    await spool.close()


def fails(_: Lease) -> Outcome:
    raise Bug


# ---- what is told, and what is written down -------------------------------------------------


async def test_a_delivered_event_is_told_whole(bench: Bench) -> None:
    told = await bench.deliver(lambda _: Delivered(202))
    assert told == AttemptRecord(
        event_id="evt_0001",
        endpoint="midtrans",
        provider="midtrans",
        upstream="billing",
        attempt=1,
        outcome="delivered",
        status=202,
        cause=None,
        decision="done",
        due=None,
        duration=2.0,
        delay=2.0,
        queued=0.0,
        settling=0.0,
    )
    assert (await bench.record()).status is Status.DELIVERED


async def test_a_rejected_event_is_told_with_its_status_and_comes_again(bench: Bench) -> None:
    told = await bench.deliver(lambda _: Rejected(503))
    assert (told.outcome, told.status, told.cause) == ("rejected", 503, None)
    assert (told.decision, told.delay) == ("retry", None)
    record = await bench.record()
    assert (record.status, record.due_at) == (Status.PENDING, told.due)
    assert record.last_outcome == "rejected 503"


async def test_an_unreachable_upstream_is_told_with_its_cause(bench: Bench) -> None:
    told = await bench.deliver(lambda _: Unreachable(Cause.REFUSED))
    assert (told.outcome, told.status, told.cause) == ("unreachable", None, "refused")
    assert (await bench.record()).last_outcome == "unreachable refused"


async def test_an_event_whose_time_is_over_is_dead(bench: Bench) -> None:
    lease = await bench.lease()
    await bench.clock.advance(3600)
    again = await bench.spool.claim("billing", 1, LEASE, ordered=False)
    assert again.leases[0].event == lease.event
    async with asyncio.TaskGroup() as group:
        group.create_task(
            delivered(bench.attempts(lambda _: Rejected(500)), again.leases[0], bench.clock)
        )
        await bench.clock.advance(2)
    assert bench.observer.attempts[0].decision == "dead"
    assert (await bench.record()).status is Status.DEAD


# ---- the spool has trouble ------------------------------------------------------------------


async def test_a_lost_lease_is_told_and_records_nothing(bench: Bench) -> None:
    late = await bench.lease()
    await bench.clock.advance(40)
    (taken,) = (await bench.spool.claim("billing", 1, LEASE, ordered=False)).leases
    async with asyncio.TaskGroup() as group:
        group.create_task(delivered(bench.attempts(lambda _: Delivered(200)), late, bench.clock))
        await bench.clock.advance(2)
    assert bench.observer.attempts[0].decision == "lost"
    record = await bench.record()
    assert (record.status, record.attempts) == (Status.LEASED, taken.attempt)


async def test_settling_is_tried_until_the_spool_is_back(bench: Bench) -> None:
    lease = await bench.lease()
    bench.spool.broken["settle"] = SpoolUnavailable("disk full")
    async with asyncio.TaskGroup() as group:
        group.create_task(delivered(bench.attempts(lambda _: Delivered(200)), lease, bench.clock))
        await bench.clock.advance(20)
        assert bench.observer.attempts == []
        assert (await bench.record()).status is Status.LEASED
        bench.spool.broken.clear()
        await bench.clock.advance(5)
    assert [each.decision for each in bench.observer.attempts] == ["done"]
    assert (await bench.record()).status is Status.DELIVERED
    # Told each time, and not in a storm.
    assert 3 < len(bench.observer.faults) < 15


async def test_settling_is_given_up_when_the_lease_ends(bench: Bench) -> None:
    lease = await bench.lease()
    bench.spool.broken["settle"] = SpoolUnavailable("disk full")
    async with asyncio.TaskGroup() as group:
        group.create_task(delivered(bench.attempts(lambda _: Delivered(200)), lease, bench.clock))
        await bench.clock.advance(41)
    assert [each.decision for each in bench.observer.attempts] == ["lost"]
    again = await bench.spool.claim("billing", 1, LEASE, ordered=False)
    assert [each.event for each in again.leases] == [lease.event]


async def test_settling_with_a_broken_spool_is_not_tried_again(bench: Bench) -> None:
    bench.spool.broken["settle"] = SpoolBroken("a sync failed")
    assert (await bench.deliver(lambda _: Delivered(200))).decision == "lost"
    assert len(bench.observer.faults) == 1


async def test_outcomes_of_one_moment_are_settled_together(bench: Bench) -> None:
    leases = [await bench.lease(number) for number in range(5)]
    attempts = bench.attempts(lambda _: Delivered(200))
    async with asyncio.TaskGroup() as group:
        for lease in leases:
            group.create_task(delivered(attempts, lease, bench.clock))
        await bench.clock.advance(1)
        attempts.cut()
    assert bench.spool.settled_together == [5]
    assert [each.decision for each in bench.observer.attempts] == ["retry"] * 5
    for number in range(5):
        assert (await bench.record(number)).status is Status.PENDING


async def test_outcomes_that_cannot_be_settled_together_are_tried_apart(bench: Bench) -> None:
    leases = [await bench.lease(number) for number in range(3)]
    attempts = bench.attempts(lambda _: Delivered(200))
    bench.spool.broken["settle"] = SpoolUnavailable("disk full")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(delivered(attempts, lease, bench.clock)) for lease in leases]
        await bench.clock.advance(1)
        attempts.cut()
        await bench.clock.advance(2)
        bench.spool.broken.clear()
        await bench.clock.advance(5)
    assert [task.result() for task in tasks] == [False] * 3
    assert [each.decision for each in bench.observer.attempts] == ["retry"] * 3
    told = {event_id for _, event_id, _ in bench.observer.faults}
    assert told == {lease.event.id for lease in leases}


async def test_abandoned_attempts_leave_their_events_leased(bench: Bench) -> None:
    lease = await bench.lease()
    attempts = bench.attempts(lambda _: Delivered(200))
    unsettled = asyncio.ensure_future(delivered(attempts, lease, bench.clock))
    await bench.clock.advance(1)
    attempts.abandon()
    await bench.clock.advance(5)
    assert not unsettled.done()
    assert bench.observer.attempts == []
    assert (await bench.record()).status is Status.LEASED
    unsettled.cancel()


# ---- one event has trouble ------------------------------------------------------------------


async def test_an_unforeseen_error_is_told_and_the_event_tried_again(bench: Bench) -> None:
    told = await bench.deliver(fails)
    [(upstream, event_id, fault)] = bench.observer.faults
    assert (upstream, event_id, type(fault)) == ("billing", "evt_0001", Bug)
    assert (told.outcome, told.cause, told.decision) == ("unreachable", "fault", "retry")
    record = await bench.record()
    assert (record.status, record.due_at) == (Status.PENDING, told.due)


async def test_an_unforeseen_error_of_the_spool_leaves_the_event_leased(bench: Bench) -> None:
    lease = await bench.lease()
    bench.spool.broken["settle"] = Bug()
    async with asyncio.TaskGroup() as group:
        group.create_task(delivered(bench.attempts(lambda _: Delivered(200)), lease, bench.clock))
        await bench.clock.advance(2)
    assert [type(fault) for _, _, fault in bench.observer.faults] == [Bug]
    assert (await bench.record()).status is Status.LEASED


async def test_an_attempt_that_is_cut_short_is_due_again_at_once(bench: Bench) -> None:
    lease = await bench.lease()
    attempts = bench.attempts(lambda _: Delivered(200))
    async with asyncio.TaskGroup() as group:
        group.create_task(delivered(attempts, lease, bench.clock))
        await bench.clock.advance(1)
        attempts.cut()
    told = bench.observer.attempts[0]
    assert (told.outcome, told.cause, told.decision) == ("unreachable", "shutdown", "retry")
    (again,) = (await bench.spool.claim("billing", 1, LEASE, ordered=False)).leases
    # The upstream may have had the first one.
    assert again.attempt == lease.attempt + 1


async def test_cutting_an_event_whose_time_is_over_does_not_bury_it(bench: Bench) -> None:
    await bench.lease()
    await bench.clock.advance(3600)
    (lease,) = (await bench.spool.claim("billing", 1, LEASE, ordered=False)).leases
    attempts = bench.attempts(lambda _: Delivered(200))
    async with asyncio.TaskGroup() as group:
        group.create_task(delivered(attempts, lease, bench.clock))
        await bench.clock.advance(1)
        attempts.cut()
    assert (await bench.record()).status is Status.PENDING


# ---- the breaker ----------------------------------------------------------------------------


async def test_ten_events_that_find_nobody_open_the_breaker(bench: Bench) -> None:
    for number in range(10):
        assert not bench.breaker.is_open
        await bench.deliver(lambda _: Unreachable(Cause.TIMEOUT), number)
    assert bench.breaker.is_open


@pytest.mark.parametrize("outcome", [Delivered(200), Rejected(500)])
async def test_any_answer_closes_the_breaker(bench: Bench, outcome: Outcome) -> None:
    for number in range(10):
        bench.breaker.record_failure(f"event {number}", 0.0)
    await bench.deliver(lambda _: outcome)
    assert not bench.breaker.is_open


@pytest.mark.parametrize("tell", [fails, lambda _: Unreachable(Cause.UNSENDABLE)])
async def test_what_is_our_own_fault_never_opens_the_breaker(
    bench: Bench, tell: Callable[[Lease], Outcome]
) -> None:
    for number in range(12):
        await bench.deliver(tell, number)
    assert not bench.breaker.is_open


@pytest.mark.parametrize("tell", [fails, lambda _: Unreachable(Cause.UNSENDABLE)])
async def test_a_probe_that_fails_by_our_own_fault_makes_room_for_another(
    bench: Bench, tell: Callable[[Lease], Outcome]
) -> None:
    for number in range(10):
        bench.breaker.record_failure(f"event {number}", 0.0)
    bench.breaker.on_start("evt_0001", bench.clock.monotonic())
    await bench.deliver(tell)
    assert bench.breaker.is_open
    assert bench.breaker.permits(1e9, 0) == 1


# ---- confirmation ---------------------------------------------------------------------------


_TAKEN = Delivered(200)


class Provider:
    """Says this of every event, and counts how often it is asked."""

    def __init__(self, said: Confirmed | Unconfirmed | RateLimited | None) -> None:
        self.said = said
        self.asked = 0

    def concerns(self, event: Event) -> bool:
        return True

    async def confirm(self, lease: Lease) -> Confirmed | Unconfirmed | RateLimited | None:
        self.asked += 1
        return self.said


def asking(
    bench: Bench,
    provider: Provider,
    sent: list[Lease],
    told: Outcome = _TAKEN,
    policy: RetryPolicy = POLICY,
) -> AttemptRunner:
    """Return attempts that the provider is asked about; what goes out is in `sent`."""

    class Wire:
        def attempt(self, sending: SentEvent) -> None:
            sent.append(sending.lease)
            sending.end_soon(partial(sending.told, told))

    upstream = Upstream("billing", Wire(), LEASE, 4, policy, confirmer=provider)
    return AttemptRunner(
        upstream=upstream,
        spool=bench.spool,
        breaker=bench.breaker,
        clock=bench.clock,
        dice=Random(1),
        observer=bench.observer,
    )


async def ask(bench: Bench, provider: Provider, sent: list[Lease], lease: Lease) -> bool:
    """Make one such attempt."""
    return await delivered(asking(bench, provider, sent), lease, bench.clock)


async def confirmed(
    bench: Bench, provider: Provider, sent: list[Lease], lease: Lease
) -> AttemptRecord:
    """Make one such attempt, and return what was told about it."""
    await ask(bench, provider, sent, lease)
    return bench.observer.attempts[-1]


async def test_a_confirmed_event_goes_out_with_its_state(bench: Bench) -> None:
    sent: list[Lease] = []
    told = await confirmed(bench, Provider(Confirmed("refund")), sent, await bench.lease())
    assert told.decision == "done"
    assert [lease.confirmed for lease in sent] == ["refund"]


async def test_what_nobody_asks_about_goes_out_as_it_is(bench: Bench) -> None:
    sent: list[Lease] = []
    await confirmed(bench, Provider(None), sent, await bench.lease())
    assert [lease.confirmed for lease in sent] == [None]


async def test_cutting_ends_a_question_too(bench: Bench) -> None:
    class Silent(Provider):
        async def confirm(self, lease: Lease) -> Confirmed | Unconfirmed | RateLimited | None:
            await bench.clock.sleep(5)
            return await super().confirm(lease)

    sent: list[Lease] = []
    lease, provider = await bench.lease(), Silent(Confirmed("settlement"))
    attempts = asking(bench, provider, sent)
    asked = asyncio.ensure_future(delivered(attempts, lease, bench.clock))
    await bench.clock.advance(1)
    attempts.cut()
    assert not await asked
    await bench.clock.advance(10)
    assert (provider.asked, sent) == (0, [])
    assert [each.cause for each in bench.observer.attempts] == ["shutdown"]


async def test_an_error_of_the_question_is_told_and_nothing_is_sent(bench: Bench) -> None:
    class Broken(Provider):
        async def confirm(self, lease: Lease) -> Confirmed | Unconfirmed | RateLimited | None:
            raise Bug

    sent: list[Lease] = []
    told = await confirmed(bench, Broken(None), sent, await bench.lease())
    assert (told.cause, told.decision, sent) == ("fault", "retry", [])
    assert [type(fault) for _, _, fault in bench.observer.faults] == [Bug]


@pytest.mark.parametrize("strict", [True, False])
async def test_what_is_contradicted_is_held_and_never_sent(bench: Bench, strict: bool) -> None:
    sent: list[Lease] = []
    provider = Provider(Unconfirmed("order_id differs", final=True, strict=strict))
    await bench.spool.put(numbered(1, received_at=bench.clock.now()))
    # So late that what could not be confirmed would go out.
    await bench.clock.advance(3000)
    [lease] = (await bench.spool.claim("billing", 1, LEASE, ordered=False)).leases
    told = await confirmed(bench, provider, sent, lease)
    assert (told.outcome, told.cause) == ("unconfirmed", "order_id differs")
    assert (told.decision, sent) == ("held", [])
    record = await bench.record()
    assert (record.status, record.last_outcome) == (Status.HELD, "unconfirmed order_id differs")


@pytest.mark.parametrize("contradicts", [True, False])
async def test_the_reason_for_holding_is_written_down(bench: Bench, contradicts: bool) -> None:
    lease = await bench.lease()
    lease = replace(lease, event=replace(lease.event, contradicts=contradicts))
    provider = Provider(Unconfirmed("gross_amount differs", final=True))
    assert (await confirmed(bench, provider, [], lease)).decision == "held"
    reason = "status_contradicts_code" if contradicts else None
    assert (await bench.record()).reason == reason


@pytest.mark.parametrize(
    ("strict", "age", "decision"),
    [
        (True, 0, "retry"),
        (True, 1800, "retry"),
        (True, 3600, "held"),
        (False, 1799, "retry"),
        (False, 1800, "done"),
        (False, 3600, "done"),
    ],
)
async def test_what_cannot_be_confirmed_waits_and_then_on_error_decides(
    bench: Bench, strict: bool, age: int, decision: str
) -> None:
    sent: list[Lease] = []
    await bench.spool.put(numbered(1, received_at=bench.clock.now()))
    await bench.clock.advance(age)
    [lease] = (await bench.spool.claim("billing", 1, LEASE, ordered=False)).leases
    provider = Provider(Unconfirmed("reset", strict=strict))
    told = await confirmed(bench, provider, sent, lease)
    assert told.decision == decision
    assert len(sent) == (decision == "done")
    assert all(lease.confirmed is None for lease in sent)


@pytest.mark.parametrize(
    "said", [Confirmed("settlement", asked=5), Unconfirmed("reset", strict=False, asked=5)]
)
async def test_questions_do_not_count_in_the_schedule_of_the_upstream(
    bench: Bench, said: Confirmed | Unconfirmed
) -> None:
    await bench.spool.put(numbered(1, received_at=bench.clock.now()))
    # So late that it goes out unconfirmed, too.
    await bench.clock.advance(1800)
    [lease] = (await bench.spool.claim("billing", 1, LEASE, ordered=False)).leases
    sent: list[Lease] = []
    schedule = timedelta(seconds=10), timedelta(minutes=20)
    policy = RetryPolicy(schedule, POLICY.give_up_after)
    runner = asking(bench, Provider(said), sent, Rejected(503), policy)
    await delivered(runner, replace(lease, round_attempt=6), bench.clock)
    told = bench.observer.attempts[-1]
    assert told.decision == "retry"
    assert told.due is not None
    assert (told.due - bench.clock.steady()).total_seconds() == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize("strict", [True, False])
async def test_waiting_for_its_turn_is_no_attempt_and_costs_no_time(
    bench: Bench, strict: bool
) -> None:
    sent: list[Lease] = []
    lease = await bench.lease()
    # Longer than what the event has to be delivered in, whatever on_error says.
    for wait in (3000, 3000):
        provider = Provider(RateLimited(wait))
        assert not await ask(bench, provider, sent, lease)
        assert (await bench.record()).attempts == 0
        claimed = await bench.spool.claim("billing", 1, LEASE, ordered=False)
        assert claimed.leases == ()
        await bench.clock.advance(wait)
        [lease] = (await bench.spool.claim("billing", 1, LEASE, ordered=False)).leases
        assert (lease.attempt, lease.round_attempt) == (1, 1)
    assert (bench.observer.attempts, sent) == ([], [])
    told = await confirmed(bench, Provider(Unconfirmed("reset", strict=strict)), sent, lease)
    assert (told.attempt, told.decision, sent) == (1, "retry", [])


async def test_a_probe_that_waits_for_its_turn_makes_room_for_another(bench: Bench) -> None:
    for number in range(10):
        bench.breaker.record_failure(f"evt-{number}", bench.clock.monotonic())
    await bench.clock.advance(60)
    lease = await bench.lease()
    bench.breaker.on_start(lease.event.id, bench.clock.monotonic())
    assert bench.breaker.permits(bench.clock.monotonic(), 0) == 0
    await ask(bench, Provider(RateLimited(1)), [], lease)
    assert bench.breaker.permits(bench.clock.monotonic(), 0) == 1


async def test_putting_off_is_tried_until_the_spool_is_back(bench: Bench) -> None:
    lease = await bench.lease()
    bench.spool.broken["release"] = SpoolUnavailable("full")
    async with asyncio.TaskGroup() as group:
        group.create_task(ask(bench, Provider(RateLimited(1)), [], lease))
        await bench.clock.advance(1)
        del bench.spool.broken["release"]
        await bench.clock.advance(5)
    assert (await bench.record()).attempts == 0
