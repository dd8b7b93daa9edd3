"""Events with several upstreams, or none, in every spool: beside `SpoolContract`."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from relay.core.errors import SpoolUnavailable
from relay.core.event import (
    STATUS_CONTRADICTS_CODE,
    AttemptResult,
    Dead,
    Decision,
    Delivered,
    Done,
    Held,
    Lease,
    Rejected,
    RetryAt,
    Status,
    Unconfirmed,
    event_of,
)
from relay.core.request import Keep, OnConflict, VerifiedDelivery
from relay.spool import Conflict, Duplicate, Settlement, Spool, Stored
from relay.spool.history import Query, Requeueable, Requeued
from tests.contracts.spool import (
    HORIZON,
    LEASE,
    LINKED,
    POINTERS,
    CountingHandoff,
    masked_event,
    record,
    stored,
)
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED, verified

BOTH = ("billing", "ledger")
THREE = ("billing", "ledger", "audit")


def fanned(*upstreams: str, key: str = "order-1", after: float = 0) -> VerifiedDelivery:
    """Return a delivery for these upstreams, under a new id, so many seconds after the first."""
    at = RECEIVED + timedelta(seconds=after)
    return verified(key=key, upstreams=upstreams, received_at=at)


async def leases(spool: Spool, upstream: str, *, ordered: bool = False) -> tuple[Lease, ...]:
    return (await spool.claim(upstream, 10, LEASE, ordered=ordered)).leases


async def finish_at(
    spool: Spool,
    upstream: str,
    decision: Decision | None = None,
    outcome: AttemptResult | None = None,
    *,
    reason: str | None = None,
) -> Lease:
    """Claim the one event of an upstream and settle it; return its lease."""
    [lease] = await leases(spool, upstream)
    ended: asyncio.Future[Sequence[bool] | SpoolUnavailable] = asyncio.Future()
    settlement = Settlement(lease, decision or Done(), outcome or Delivered(200), reason=reason)
    spool.settle_all([settlement], ended.set_result)
    assert await ended == [True]
    return lease


async def dead_at(spool: Spool, upstream: str, *, reason: str | None = None) -> Lease:
    return await finish_at(spool, upstream, Dead(), Rejected(500), reason=reason)


async def statuses(spool: Spool, event_id: str) -> dict[str, Status]:
    """Return the status of each destination of an event, in their order."""
    return {each.upstream: each.status for each in (await record(spool, event_id)).destinations}


async def counted(spool: Spool) -> dict[Status, int]:
    """Return how many destinations of each status there are."""
    return {status: number for (_, status), number in (await spool.stats()).events.items()}


class FanOutContract:
    # ---- several upstreams --------------------------------------------------------------------

    async def test_each_upstream_gets_the_event_under_a_lease_of_its_own(
        self, spool: Spool
    ) -> None:
        event = fanned(*THREE)
        event_id = await stored(spool, event)
        assert await counted(spool) == {Status.PENDING: 3}
        taken = {name: await leases(spool, name) for name in THREE}
        for name in THREE:
            [lease] = taken[name]
            assert lease.event == event_of(event, upstream=name)
            assert (lease.attempt, lease.round_attempt) == (1, 1)
        assert len({lease.token for [lease] in taken.values()}) == 3
        assert await counted(spool) == {Status.LEASED: 3}
        told = await record(spool, event_id)
        assert (told.upstream, [each.upstream for each in told.destinations]) == (
            "billing",
            [*THREE],
        )

    async def test_each_destination_has_outcomes_and_attempts_of_its_own(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        event_id = await stored(spool, fanned(*THREE))
        await finish_at(spool, "audit")
        for _ in range(2):
            await finish_at(spool, "ledger", RetryAt(clock.now()), Rejected(503))
        third = await dead_at(spool, "ledger", reason="final")
        assert third.attempt == 3
        told = await record(spool, event_id)
        assert (told.status, told.attempts, told.reason) == (Status.DEAD, 4, "final")
        assert told.last_outcome == "rejected 500"
        assert await statuses(spool, event_id) == {
            "billing": Status.PENDING,
            "ledger": Status.DEAD,
            "audit": Status.DELIVERED,
        }
        assert [each.attempts for each in told.destinations] == [0, 3, 1]
        tried = [(each.upstream, each.number) for each in await spool.attempts(event_id)]
        assert sorted(tried) == [("audit", 1), ("ledger", 1), ("ledger", 2), ("ledger", 3)]
        assert await counted(spool) == {
            Status.PENDING: 1,
            Status.DEAD: 1,
            Status.DELIVERED: 1,
        }

    async def test_a_lost_lease_of_one_upstream_is_the_loss_of_no_other(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        event_id = await stored(spool, fanned(*BOTH))
        [first] = await leases(spool, "billing")
        await clock.advance(LEASE.total_seconds() / 2)
        [second] = await leases(spool, "ledger")
        await clock.advance(LEASE.total_seconds() / 2)
        assert [lease.event.id for lease in await leases(spool, "billing")] == [event_id]
        ended: asyncio.Future[Sequence[bool] | SpoolUnavailable] = asyncio.Future()
        given = [Settlement(each, Done(), Delivered(200)) for each in (first, second)]
        spool.settle_all(given, ended.set_result)
        assert await ended == [False, True]
        assert await statuses(spool, event_id) == {
            "billing": Status.LEASED,
            "ledger": Status.DELIVERED,
        }

    async def test_recovery_makes_every_destination_due(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        await stored(spool, fanned(*THREE))
        for name in BOTH:
            await leases(spool, name)
        assert await spool.recover(HORIZON) == 2
        for name in THREE:
            assert len(await leases(spool, name)) == 1

    async def test_order_is_kept_for_each_upstream(self, spool: Spool) -> None:
        for key in "12":
            event = verified(key=key, subject="tx", upstreams=BOTH)
            await stored(spool, event)
        [first] = await leases(spool, "billing", ordered=True)
        assert await leases(spool, "billing", ordered=True) == ()
        [ledgers] = await leases(spool, "ledger", ordered=True)
        await spool.settle(ledgers, Done(), Delivered(200))
        [ledgers] = await leases(spool, "ledger", ordered=True)
        assert ledgers.event.key == "2"
        assert await leases(spool, "billing", ordered=True) == ()
        await spool.settle(first, Dead(), Rejected(500))
        [second] = await leases(spool, "billing", ordered=True)
        assert second.event.key == "2"

    async def test_copies_and_conflicts_are_those_of_the_event(self, spool: Spool) -> None:
        event_id = await stored(spool, fanned(*BOTH))
        assert await spool.put(fanned(*BOTH)) == Duplicate(event_id)
        other = verified(body=b"2", upstreams=BOTH, on_conflict=OnConflict.REFUSE)
        assert await spool.put(other) == Conflict(event_id)
        assert await counted(spool) == {Status.PENDING: 2}

    async def test_a_copy_under_another_route_changes_nothing(self, spool: Spool) -> None:
        event_id = await stored(spool, fanned("billing"))
        assert await spool.put(fanned(*THREE)) == Duplicate(event_id)
        assert await spool.put(fanned()) == Duplicate(event_id)
        assert await statuses(spool, event_id) == {"billing": Status.PENDING}

    async def test_many_events_of_one_batch_go_where_each_is_to_go(self, spool: Spool) -> None:
        ways = [(), ("billing",), BOTH, ("ledger",), THREE]
        many = [fanned(*ways[number % 5], key=str(number)) for number in range(50)]
        results = await asyncio.gather(*map(spool.put, many))
        assert {type(result) for result in results} == {Stored}
        for name in THREE:
            claimed = (await spool.claim(name, 100, LEASE, ordered=False)).leases
            wanted = {event.event_id for event in many if name in event.upstreams}
            assert {lease.event.id for lease in claimed} == wanted
        assert await counted(spool) == {Status.LEASED: 70}

    async def test_test_messages_and_held_ones_have_every_destination(self, spool: Spool) -> None:
        tested = await stored(spool, verified(key="t", test=True, upstreams=BOTH))
        held = await stored(spool, verified(hold=STATUS_CONTRADICTS_CODE, upstreams=BOTH))
        assert await statuses(spool, tested) == dict.fromkeys(BOTH, Status.TEST)
        assert await statuses(spool, held) == dict.fromkeys(BOTH, Status.HELD)
        assert await counted(spool) == {Status.TEST: 2, Status.HELD: 2}
        assert (await spool.requeue(Query(ids=(held, tested)))).ids == (held,)
        for name in BOTH:
            assert [lease.event.id for lease in await leases(spool, name)] == [held]

    # ---- handed over --------------------------------------------------------------------------

    async def test_each_destination_takes_a_seat_of_its_own_upstream(self, spool: Spool) -> None:
        handoffs = {name: CountingHandoff(2) for name in BOTH}
        for name, handoff in handoffs.items():
            spool.subscribe(name, handoff)
        event = fanned(*THREE)
        await stored(spool, event)
        await spool.probe()
        for name, handoff in handoffs.items():
            [lease] = handoff.taken
            assert lease.event == event_of(event, upstream=name)
            assert (handoff.seats.free, handoff.seats.reserved) == (1, 0)
            assert await leases(spool, name) == ()
            await spool.settle(lease, Done(), Delivered(200))
        assert len(await leases(spool, "audit")) == 1
        assert len({handoff.taken[0].token for handoff in handoffs.values()}) == 2

    async def test_a_full_upstream_holds_up_no_other(self, spool: Spool) -> None:
        full, free = CountingHandoff(0), CountingHandoff(1)
        spool.subscribe("billing", full)
        spool.subscribe("ledger", free)
        event_id = await stored(spool, fanned(*BOTH))
        await spool.probe()
        assert (full.taken, full.seats.missed) == ([], True)
        assert [lease.event.upstream for lease in free.taken] == ["ledger"]
        assert [lease.event.id for lease in await leases(spool, "billing")] == [event_id]

    async def test_a_destination_that_is_refused_is_released_by_itself(self, spool: Spool) -> None:
        refusing, taking = CountingHandoff(1, refuses=True), CountingHandoff(1)
        spool.subscribe("billing", refusing)
        spool.subscribe("ledger", taking)
        event_id = await stored(spool, fanned(*BOTH))
        await spool.wait_for_work("billing", 60)
        await spool.probe()
        [again] = await leases(spool, "billing")
        assert (again.event.id, again.attempt) == (event_id, 1)
        assert await leases(spool, "ledger") == ()
        await spool.settle(taking.taken[0], Done(), Delivered(200))

    async def test_a_copy_frees_every_seat(self, spool: Spool) -> None:
        await stored(spool, fanned(*BOTH))
        handoffs = [CountingHandoff(1) for _ in BOTH]
        for name, handoff in zip(BOTH, handoffs, strict=True):
            spool.subscribe(name, handoff)
        assert isinstance(await spool.put(fanned(*BOTH)), Duplicate)
        await spool.probe()
        for handoff in handoffs:
            assert (handoff.taken, handoff.cancellations) == ([], 1)
            assert (handoff.seats.free, handoff.seats.reserved) == (1, 0)

    async def test_what_is_withdrawn_frees_every_seat(self, spool: Spool) -> None:
        handoffs = [CountingHandoff(1) for _ in BOTH]
        for name, handoff in zip(BOTH, handoffs, strict=True):
            spool.subscribe(name, handoff)
        answers: list[object] = []
        spool.put_nowait(fanned(*BOTH), answers.append).withdraw()
        await spool.probe()
        await spool.probe()
        assert answers == []
        for handoff in handoffs:
            assert (handoff.taken, handoff.seats.free, handoff.seats.reserved) == ([], 1, 0)

    async def test_every_upstream_that_waits_is_woken(self, spool: Spool) -> None:
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            for name in BOTH:
                await spool.claim(name, 1, LEASE, ordered=False)
                group.create_task(spool.wait_for_work(name, 60))
            await asyncio.sleep(0)
            await stored(spool, fanned(*BOTH))

    # ---- copies -------------------------------------------------------------------------------

    async def test_a_copy_makes_due_what_is_dead_and_that_alone(self, spool: Spool) -> None:
        event_id = await stored(spool, fanned(*THREE))
        await dead_at(spool, "billing")
        await finish_at(spool, "ledger")
        assert await spool.put(fanned(*THREE)) == Duplicate(event_id, revived=True)
        assert await statuses(spool, event_id) == {
            "billing": Status.PENDING,
            "ledger": Status.DELIVERED,
            "audit": Status.PENDING,
        }
        [again] = await leases(spool, "billing")
        assert (again.attempt, again.round_attempt) == (2, 1)
        assert await counted(spool) == {
            Status.PENDING: 1,
            Status.LEASED: 1,
            Status.DELIVERED: 1,
        }

    async def test_a_copy_makes_due_all_that_are_dead_or_unconfirmed(self, spool: Spool) -> None:
        event_id = await stored(spool, fanned(*THREE))
        await dead_at(spool, "billing")
        await finish_at(spool, "ledger", Held(), Unconfirmed("not found"))
        await dead_at(spool, "audit", reason="final")
        assert await spool.put(fanned(*THREE)) == Duplicate(event_id, revived=True)
        assert await statuses(spool, event_id) == {
            "billing": Status.PENDING,
            "ledger": Status.PENDING,
            "audit": Status.DEAD,
        }

    async def test_each_destination_is_revived_at_most_once_a_minute(self, spool: Spool) -> None:
        event_id = await stored(spool, fanned(*BOTH))
        await dead_at(spool, "billing")
        assert await spool.put(fanned(*BOTH, after=1)) == Duplicate(event_id, revived=True)
        await dead_at(spool, "billing")
        await dead_at(spool, "ledger")
        # The one has just been, the other has not.
        assert await spool.put(fanned(*BOTH, after=2)) == Duplicate(event_id, revived=True)
        assert await statuses(spool, event_id) == {
            "billing": Status.DEAD,
            "ledger": Status.PENDING,
        }
        assert await spool.put(fanned(*BOTH, after=3)) == Duplicate(event_id)
        assert await spool.put(fanned(*BOTH, after=90)) == Duplicate(event_id, revived=True)
        assert (await statuses(spool, event_id))["billing"] is Status.PENDING

    async def test_what_is_revived_stays_where_it_is_while_copies_go_to_any_of_it(
        self, spool: Spool
    ) -> None:
        event_id = await stored(spool, fanned(*BOTH))
        await dead_at(spool, "billing")
        await finish_at(spool, "ledger")
        assert await spool.put(fanned("ledger", "audit")) == Duplicate(event_id, revived=True)
        assert await statuses(spool, event_id) == {
            "billing": Status.PENDING,
            "ledger": Status.DELIVERED,
        }

    @pytest.mark.parametrize("now", [("new",), ("new", "newer"), ("new", "newer", "newest")])
    async def test_what_is_revived_goes_where_copies_go_when_they_go_to_none_of_it(
        self, spool: Spool, now: tuple[str, ...]
    ) -> None:
        event_id = await stored(spool, fanned(*BOTH))
        for name in BOTH:
            await dead_at(spool, name)
        assert await spool.put(fanned(*now)) == Duplicate(event_id, revived=True)
        assert await statuses(spool, event_id) == dict.fromkeys(now, Status.PENDING)
        assert await counted(spool) == {Status.PENDING: len(now)}
        for name in now:
            [lease] = await leases(spool, name)
            assert (lease.event.id, lease.event.upstream) == (event_id, name)
        assert not (await record(spool, event_id)).damaged

    async def test_what_is_revived_stays_where_it_is_when_copies_go_nowhere(
        self, spool: Spool
    ) -> None:
        event_id = await stored(spool, fanned(*BOTH))
        await dead_at(spool, "ledger")
        assert await spool.put(fanned()) == Duplicate(event_id, revived=True)
        assert await statuses(spool, event_id) == dict.fromkeys(BOTH, Status.PENDING)

    async def test_a_copy_brings_a_body_back_for_every_destination(self, spool: Spool) -> None:
        event_id = await stored(spool, fanned(*BOTH))
        for name in BOTH:
            await dead_at(spool, name)
        late = RECEIVED + timedelta(days=30)
        assert await spool.count_undelivered(RECEIVED, late) == {"midtrans": 1}
        assert await spool.prune_undelivered(late, 10) == {"midtrans": 1}
        assert await spool.put(fanned(*BOTH)) == Duplicate(event_id, revived=True)
        for name in BOTH:
            [lease] = await leases(spool, name)
            assert lease.event.body == fanned().delivery.body

    async def test_what_the_provider_says_frees_every_held_destination(self, spool: Spool) -> None:
        event_id = await stored(spool, verified(hold=STATUS_CONTRADICTS_CODE, upstreams=BOTH))
        assert await spool.put(verified(hold=STATUS_CONTRADICTS_CODE, upstreams=BOTH)) == Duplicate(
            event_id
        )
        learnt = replace(
            verified(hold=STATUS_CONTRADICTS_CODE, body=b"learnt", upstreams=BOTH), reconciled=True
        )
        assert await spool.put(learnt) == Duplicate(event_id, revived=True)
        for name in BOTH:
            [lease] = await leases(spool, name)
            assert (lease.event.body, lease.event.upstream) == (b"learnt", name)

    # ---- after a later state ------------------------------------------------------------------

    @pytest.mark.parametrize("by_copy", [True, False])
    @pytest.mark.parametrize("there", [True, False])
    async def test_what_is_due_again_is_out_of_order_where_a_later_state_has_been_there(
        self, spool: Spool, by_copy: bool, there: bool
    ) -> None:
        first = verified(key="1", subject="tx", upstreams=BOTH)
        await stored(spool, first)
        await dead_at(spool, "billing")
        await finish_at(spool, "ledger")
        await stored(spool, verified(key="2", subject="tx", upstreams=BOTH))
        await finish_at(spool, "billing" if there else "ledger")
        query = Query(ids=(first.event_id,), upstream="billing")
        counted = await spool.requeueable(query)
        assert counted.overtaken == ((first.event_id,) if there else ())
        if by_copy:
            await spool.put(verified(key="1", subject="tx", upstreams=BOTH))
        else:
            await spool.requeue(query)
        lease = (await leases(spool, "billing"))[0]
        assert (lease.event.key, lease.event.out_of_order) == ("1", there)

    @pytest.mark.parametrize("by_copy", [True, False])
    async def test_elsewhere_it_is_out_of_order_wherever_a_later_state_has_been(
        self, spool: Spool, by_copy: bool
    ) -> None:
        first = verified(key="1", subject="tx", upstreams=BOTH)
        await stored(spool, first)
        for name in BOTH:
            await dead_at(spool, name)
        await stored(spool, verified(key="2", subject="tx", upstreams=BOTH))
        await finish_at(spool, "ledger")
        if by_copy:
            await spool.put(verified(key="1", subject="tx", upstream="audit"))
        else:
            query = Query(ids=(first.event_id,))
            assert (await spool.requeueable(query, to="audit")).overtaken == (first.event_id,)
            await spool.requeue(query, to="audit")
        [lease] = await leases(spool, "audit")
        assert (lease.event.key, lease.event.out_of_order) == ("1", True)

    # ---- requeueing ---------------------------------------------------------------------------

    async def test_one_destination_or_all_are_requeued(self, spool: Spool) -> None:
        event_id = await stored(spool, fanned(*THREE))
        await dead_at(spool, "billing")
        await dead_at(spool, "ledger")
        await finish_at(spool, "audit")
        one = Query(ids=(event_id,), upstream="ledger")
        assert await spool.requeueable(one) == Requeueable(1, {("ledger", Status.DEAD): 1})
        assert await spool.requeue(one) == Requeued((event_id,))
        assert [*(await statuses(spool, event_id)).values()] == [
            Status.DEAD,
            Status.PENDING,
            Status.DELIVERED,
        ]
        assert await spool.requeue(Query(status=Status.DEAD)) == Requeued((event_id,))
        assert [*(await statuses(spool, event_id)).values()] == [
            Status.PENDING,
            Status.PENDING,
            Status.DELIVERED,
        ]
        assert (await spool.requeue(Query(ids=(event_id,)))).ids == (event_id,)
        assert await counted(spool) == {Status.PENDING: 3}

    async def test_requeueing_to_an_upstream_that_it_has_moves_that_one_alone(
        self, spool: Spool
    ) -> None:
        event_id = await stored(spool, fanned(*BOTH))
        await dead_at(spool, "billing")
        await dead_at(spool, "ledger")
        query = Query(ids=(event_id,))
        assert (await spool.requeue(query, BOTH, to="ledger")).ids == (event_id,)
        assert await statuses(spool, event_id) == {
            "billing": Status.DEAD,
            "ledger": Status.PENDING,
        }
        assert (await spool.requeue(query, BOTH, to="ledger")).ids == ()
        [lease] = await leases(spool, "ledger")
        assert (lease.attempt, lease.round_attempt) == (2, 1)

    async def test_a_destination_that_nobody_serves_keeps_no_other(self, spool: Spool) -> None:
        event_id = await stored(spool, fanned(*BOTH))
        for name in BOTH:
            await dead_at(spool, name)
        done = await spool.requeue(Query(ids=(event_id,)), {"ledger"})
        assert done == Requeued((event_id,), unserved=((event_id, "billing"),))
        assert await statuses(spool, event_id) == {
            "billing": Status.DEAD,
            "ledger": Status.PENDING,
        }

    # ---- finding ------------------------------------------------------------------------------

    async def test_an_event_is_found_by_each_upstream_and_its_status_there(
        self, spool: Spool
    ) -> None:
        event_id = await stored(spool, fanned(*BOTH))
        await dead_at(spool, "ledger")

        async def found(query: Query) -> list[str]:
            return [each.id for each in (await spool.page(query)).records]

        for name in BOTH:
            assert await found(Query(upstream=name)) == [event_id]
        assert await found(Query(upstream="ledger", status=Status.DEAD)) == [event_id]
        assert await found(Query(upstream="billing", status=Status.DEAD)) == []
        assert await found(Query(upstream="audit")) == []
        for status in (Status.DEAD, Status.PENDING):
            assert await found(Query(status=status)) == [event_id]

    @pytest.mark.parametrize(
        "status", [Status.PENDING, Status.LEASED, Status.DEAD, Status.HELD, Status.TEST]
    )
    async def test_an_event_with_several_destinations_of_a_status_is_listed_once(
        self, spool: Spool, status: Status
    ) -> None:
        tested = status is Status.TEST
        ids = [
            await stored(spool, verified(key=str(n), test=tested, upstreams=THREE))
            for n in range(6)
        ]
        if status not in {Status.TEST, Status.PENDING}:
            for name in THREE:
                for lease in await leases(spool, name):
                    if status is not Status.LEASED:
                        decision = Dead() if status is Status.DEAD else Held()
                        await spool.settle(lease, decision, Unconfirmed("not found"))
        query = Query(status=status, limit=4)
        first = await spool.page(query)
        second = await spool.page(replace(query, after=first.next))
        listed = [each.id for each in (*first.records, *second.records)]
        assert (len(first.records), listed, second.next) == (4, ids[::-1], None)

    @pytest.mark.parametrize("to", [None, "audit", "elsewhere"])
    async def test_requeueing_by_status_takes_as_many_events_as_asked_for(
        self, spool: Spool, to: str | None
    ) -> None:
        ids = [await stored(spool, fanned(*BOTH, key=str(n))) for n in range(3)]
        for name in BOTH:
            for lease in await leases(spool, name):
                await spool.settle(lease, Dead(), Rejected(500))
        query = Query(status=Status.DEAD, limit=2)
        assert (await spool.requeueable(query, to=to)).events == 3
        assert (await spool.requeue(query, to=to)).ids == (*ids[:2],)
        assert (await spool.requeue(query, to=to)).ids == (ids[2],)

    # ---- what goes once it is delivered -------------------------------------------------------

    @pytest.mark.parametrize("keep", [Keep.HEADERS, Keep.NONE])
    async def test_what_is_not_kept_goes_with_the_last_destination(
        self, spool: Spool, keep: Keep
    ) -> None:
        event_id = await stored(spool, replace(fanned(*THREE), keep=keep))
        await finish_at(spool, "billing")
        await dead_at(spool, "ledger")
        lease = await finish_at(spool, "audit")
        assert lease.event.body == fanned().delivery.body
        assert (await record(spool, event_id)).removed is None
        await spool.requeue(Query(ids=(event_id,), status=Status.DEAD))
        lease = await finish_at(spool, "ledger")
        assert (lease.event.body, lease.event.headers) == (
            fanned().delivery.body,
            fanned().headers,
        )
        assert (await record(spool, event_id)).removed == keep.value

    async def test_tokens_are_masked_with_the_last_destination(self, spool: Spool) -> None:
        event = replace(LINKED, event_id=uuid4().hex, upstreams=THREE)
        event_id = await stored(spool, event)
        first = await finish_at(spool, "billing")
        [second], [third] = await leases(spool, "ledger"), await leases(spool, "audit")
        for lease in (first, second, third):
            assert (lease.event.body, lease.event.tokens) == (event.delivery.body, POINTERS)
        await spool.settle(second, Done(), Delivered(200))
        assert not await masked_event(spool, event_id)
        await spool.settle(third, Done(), Delivered(200))
        assert await masked_event(spool, event_id)

    async def test_an_event_is_pruned_when_every_destination_has_ended(self, spool: Spool) -> None:
        event_id = await stored(spool, fanned(*THREE))
        late = RECEIVED + timedelta(days=40)

        async def pruned() -> bool:
            while await spool.prune(late, late, 10):
                pass
            return await spool.get(event_id) is None

        await finish_at(spool, "billing")
        assert not await pruned()
        await dead_at(spool, "ledger")
        await finish_at(spool, "audit")
        assert not await pruned()
        await spool.requeue(Query(ids=(event_id,), status=Status.DEAD))
        await finish_at(spool, "ledger")
        assert await pruned()
        assert await counted(spool) == {}

    async def test_erasing_stops_every_destination_and_leaves_what_was_delivered(
        self, spool: Spool
    ) -> None:
        event_id = await stored(spool, fanned(*THREE))
        await finish_at(spool, "billing")
        await dead_at(spool, "ledger")
        assert await spool.erasure.erase([event_id], [], undelivered=False) == ()
        assert await spool.erasure.erase([event_id], [], undelivered=True) == (event_id,)
        assert await statuses(spool, event_id) == {"billing": Status.DELIVERED}
        told = await record(spool, event_id)
        assert (told.status, told.damaged, told.removed) == (Status.DELIVERED, False, "erased")
        assert await counted(spool) == {Status.DELIVERED: 1}
        assert await leases(spool, "audit") == ()
        assert await spool.put(fanned(*THREE)) == Duplicate(event_id)
        assert await spool.check_integrity() == ()

    # ---- no upstream --------------------------------------------------------------------------

    async def test_an_event_that_goes_nowhere_is_stored_and_counts_as_delivered(
        self, spool: Spool
    ) -> None:
        event = fanned()
        event_id = await stored(spool, event)
        found = await spool.get(event_id)
        assert found is not None
        told, content = found
        assert (told.upstream, told.destinations, told.status) == (None, (), Status.DELIVERED)
        assert (told.attempts, told.due_at, told.damaged) == (0, None, False)
        assert content == event_of(event)
        assert content.upstream == ""
        assert await counted(spool) == {}
        assert (await spool.stats()).oldest_pending == {}
        assert await spool.attempts(event_id) == ()
        assert await spool.check_integrity() == ()

    async def test_what_goes_nowhere_is_found_as_delivered(self, spool: Spool) -> None:
        event_id = await stored(spool, fanned())
        pending = await stored(spool, fanned("billing", key="2"))

        async def found(query: Query) -> list[str]:
            return [each.id for each in (await spool.page(query)).records]

        assert await found(Query()) == [pending, event_id]
        assert await found(Query(status=Status.DELIVERED)) == [event_id]
        assert await found(Query(status=Status.DELIVERED, find="order-1")) == [event_id]
        assert await found(Query(status=Status.DELIVERED, upstream="billing")) == []
        for status in (Status.PENDING, Status.LEASED, Status.DEAD, Status.HELD, Status.PASSED):
            assert event_id not in await found(Query(status=status))
        assert await spool.starting_with(event_id[:8], 2) == (event_id,)

    async def test_a_copy_of_what_goes_nowhere_changes_nothing(self, spool: Spool) -> None:
        event_id = await stored(spool, fanned())
        before = await spool.get(event_id)
        assert await spool.put(fanned()) == Duplicate(event_id)
        assert await spool.put(fanned(*BOTH)) == Duplicate(event_id)
        assert await spool.get(event_id) == before
        for name in BOTH:
            assert await leases(spool, name) == ()

    async def test_requeueing_alone_sends_it_nowhere(self, spool: Spool) -> None:
        event_id = await stored(spool, fanned())
        query = Query(ids=(event_id,))
        assert await spool.requeueable(query) == Requeueable(0, {})
        assert await spool.requeue(query) == Requeued()

    async def test_it_can_be_sent_to_an_upstream_by_hand(self, spool: Spool) -> None:
        event = fanned()
        event_id = await stored(spool, event)
        query = Query(ids=(event_id,))
        assert await spool.requeueable(query, BOTH, to="ledger") == Requeueable(
            1, {("ledger", None): 1}
        )
        assert await spool.requeue(query, BOTH, to="ledger") == Requeued((event_id,))
        told = await record(spool, event_id)
        assert (told.upstream, told.status) == ("ledger", Status.PENDING)
        lease = await finish_at(spool, "ledger")
        assert (lease.event, lease.attempt) == (event_of(event, upstream="ledger"), 1)
        assert await statuses(spool, event_id) == {"ledger": Status.DELIVERED}
        assert await counted(spool) == {Status.DELIVERED: 1}

    @pytest.mark.parametrize("keep", [Keep.HEADERS, Keep.NONE])
    async def test_what_is_not_kept_of_it_goes_at_once(self, spool: Spool, keep: Keep) -> None:
        event = replace(fanned(), keep=keep)
        event_id = await stored(spool, event)
        found = await spool.get(event_id)
        assert found is not None
        told, content = found
        assert (content, told.removed, told.status) == (None, keep.value, Status.DELIVERED)
        assert not told.damaged
        assert told.remainder is not None
        assert told.remainder.body == b""
        assert (told.remainder.headers == event.headers) is (keep is Keep.HEADERS)
        assert await spool.put(fanned()) == Duplicate(event_id)
        assert (await spool.requeue(Query(ids=(event_id,)), BOTH, to="ledger")).removed == (
            event_id,
        )

    async def test_its_tokens_are_masked_at_once(self, spool: Spool) -> None:
        event = replace(LINKED, event_id=uuid4().hex, upstreams=())
        event_id = await stored(spool, event)
        assert await masked_event(spool, event_id)

    async def test_it_is_pruned_as_what_is_delivered(self, spool: Spool) -> None:
        event_id = await stored(spool, fanned())
        late = RECEIVED + timedelta(days=1)
        assert await spool.prune_undelivered(late, 10) == {}
        assert await spool.count_undelivered(RECEIVED, late) == {}
        while await spool.prune(late, RECEIVED, 10):
            pass
        found = await spool.get(event_id)
        assert found is not None
        assert (found[0].status, found[0].damaged, found[1]) == (Status.DELIVERED, False, None)
        # Not even now: it is no event whose body is missing anywhere.
        assert await spool.put(fanned("billing")) == Duplicate(event_id)
        assert await leases(spool, "billing") == ()
        while await spool.prune(late, late, 10):
            pass
        assert await spool.get(event_id) is None

    async def test_it_is_erased(self, spool: Spool) -> None:
        event_id = await stored(spool, fanned())
        assert await spool.erasure.erase([event_id], [], undelivered=False) == (event_id,)
        told = await record(spool, event_id)
        assert (told.status, told.upstream, told.removed) == (Status.DELIVERED, None, "erased")
        assert await spool.put(fanned("billing")) == Duplicate(event_id)

    async def test_it_is_another_state_of_its_subject(self, spool: Spool) -> None:
        await stored(spool, verified(key="2", subject="tx", upstreams=()))
        initial = verified(key="1", subject="tx", opening=True)
        assert await spool.put(initial) == Stored(initial.event_id, out_of_order=True)

    async def test_it_is_told_apart_from_its_neighbours_in_a_batch(self, spool: Spool) -> None:
        nowhere = [replace(fanned(key=str(n)), keep=Keep.NONE) for n in range(5)]
        others = [fanned("billing", key=f"other {n}") for n in range(5)]
        await asyncio.gather(*(spool.put(each) for each in [*nowhere, *others]))
        for each in nowhere:
            assert (await record(spool, each.event_id)).removed == "none"
        assert len(await leases(spool, "billing")) == 5
