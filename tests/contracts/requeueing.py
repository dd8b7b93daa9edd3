"""What requeueing keeps to besides `SpoolContract`: another upstream, a count, a pace."""

from dataclasses import replace
from datetime import timedelta

import pytest

from relay.core.event import Dead, Delivered, Done, Held, Rejected, Status, Unconfirmed
from relay.spool import Claimed, Spool
from relay.spool.history import Destination, Query, Requeueable, Requeued, Spread
from tests.contracts.spool import LEASE, finish, record, stored, take, take_one
from tests.harness.clock import ManualClock
from tests.harness.deliveries import verified

BOTH = {"billing", "ledger"}


async def dead(spool: Spool, key: str, subject: str | None = None) -> str:
    event_id = await stored(spool, verified(key=key, subject=subject))
    await finish(spool, Dead(), Rejected(400))
    return event_id


async def claimed(spool: Spool, upstream: str) -> list[str]:
    leases = (await spool.claim(upstream, 10, LEASE, ordered=False)).leases
    return [lease.event.id for lease in leases]


def at(upstream: str, found: tuple[Destination, ...]) -> Destination:
    [one] = [each for each in found if each.upstream == upstream]
    return one


class RequeueContract:
    # ---- to another upstream --------------------------------------------------------------------

    async def test_an_event_goes_to_another_upstream_and_what_was_there_stays(
        self, spool: Spool
    ) -> None:
        event_id = await dead(spool, "1")
        query = Query(ids=(event_id,))
        assert await spool.requeue(query, BOTH, to="ledger") == Requeued((event_id,))
        assert await take(spool) == Claimed((), None)
        [lease] = (await spool.claim("ledger", 1, LEASE, ordered=False)).leases
        assert (lease.event.upstream, lease.attempt, lease.event.body) == (
            "ledger",
            1,
            verified(key="1").delivery.body,
        )
        await spool.settle(lease, Done(), Delivered(200))
        found = (await record(spool, event_id)).destinations
        assert [each.upstream for each in found] == ["billing", "ledger"]
        assert at("billing", found).status is Status.DEAD
        assert at("ledger", found).status is Status.DELIVERED
        assert (await spool.stats()).events == {
            ("midtrans", Status.DEAD): 1,
            ("midtrans", Status.DELIVERED): 1,
        }

    async def test_what_has_ended_there_is_due_there_again_and_what_is_under_way_is_not(
        self, spool: Spool
    ) -> None:
        event_id = await dead(spool, "1")
        query = Query(ids=(event_id,))
        for attempt in (1, 2):
            assert (await spool.requeue(query, BOTH, to="ledger")).ids == (event_id,)
            assert (await spool.requeue(query, BOTH, to="ledger")).ids == ()
            [lease] = (await spool.claim("ledger", 1, LEASE, ordered=False)).leases
            assert (lease.attempt, lease.round_attempt) == (attempt, 1)
            assert (await spool.requeue(query, BOTH, to="ledger")).ids == ()
            await spool.settle(lease, Dead(), Rejected(400))
        [each] = (await spool.stats()).events.items()
        assert each == (("midtrans", Status.DEAD), 2)

    async def test_what_waits_elsewhere_goes_there_too_and_no_test_message(
        self, spool: Spool
    ) -> None:
        pending = await stored(spool, verified(key="1"))
        await stored(spool, verified(key="2", test=True))
        query = Query(endpoint="midtrans")
        assert (await spool.requeue(query, BOTH, to="ledger")).ids == (pending,)
        assert await claimed(spool, "billing") == [pending]
        assert await claimed(spool, "ledger") == [pending]

    async def test_with_a_filter_only_the_destinations_of_that_status_go(
        self, spool: Spool
    ) -> None:
        event_id = await dead(spool, "1")
        await spool.requeue(Query(ids=(event_id,)), BOTH, to="ledger")
        [lease] = (await spool.claim("ledger", 1, LEASE, ordered=False)).leases
        await spool.settle(lease, Done(), Delivered(200))
        assert (await spool.requeue(Query(status=Status.DEAD), BOTH)).ids == (event_id,)
        assert await claimed(spool, "billing") == [event_id]
        assert await claimed(spool, "ledger") == []

    async def test_with_an_upstream_only_its_destinations_go(self, spool: Spool) -> None:
        event_id = await dead(spool, "1")
        await spool.requeue(Query(ids=(event_id,)), BOTH, to="ledger")
        [lease] = (await spool.claim("ledger", 1, LEASE, ordered=False)).leases
        await spool.settle(lease, Dead(), Rejected(400))
        for query in (Query(upstream="ledger"), Query(upstream="ledger", status=Status.DEAD)):
            counted = await spool.requeueable(query, BOTH)
            assert counted == Requeueable(1, {("ledger", Status.DEAD): 1})
            assert (await spool.requeueable(query, BOTH, most=1)).events == 1
        assert (await spool.requeue(Query(upstream="ledger"), BOTH)).ids == (event_id,)
        assert await claimed(spool, "billing") == []
        assert await claimed(spool, "ledger") == [event_id]
        assert await spool.requeueable(Query(upstream="nobody"), BOTH) == Requeueable(0, {})

    async def test_what_is_found_goes_to_another_upstream(self, spool: Spool) -> None:
        event_id = await dead(spool, "order-17:settlement:200")
        await dead(spool, "order-18:settlement:200")
        for query in (Query(find="order-17:settlement:200"), Query(find=event_id)):
            assert (await spool.requeueable(query, BOTH, to="ledger")).events == 1
        assert (await spool.requeue(query, BOTH, to="ledger")).ids == (event_id,)
        assert (await spool.requeueable(query, BOTH, to="ledger")).events == 0

    # ---- when -----------------------------------------------------------------------------------

    async def test_events_are_due_one_after_the_other_and_no_older_for_it(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        events = [await dead(spool, str(number)) for number in range(3)]
        began = clock.steady()
        spread = Spread(timedelta(seconds=10), timedelta(seconds=5))
        done = await spool.requeue(Query(status=Status.DEAD), BOTH, spread=spread)
        assert done.ids == tuple(events)
        waiting = await take(spool)
        assert (waiting.leases, waiting.next_due) == ((), began + timedelta(seconds=10))
        for wait, event_id in zip((10, 5, 5), events, strict=True):
            await clock.advance(wait)
            lease = await take_one(spool)
            assert (lease.event.id, lease.round_started_at) == (event_id, clock.steady())
        assert [lease.event.id for lease in (await take(spool)).leases] == []

    async def test_what_has_ended_meanwhile_is_not_requeued_once_more(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        event_id = await dead(spool, "1")
        await clock.advance(1)
        began = clock.now()
        for to in (None, "ledger"):
            query = Query(endpoint="midtrans")
            done = await spool.requeue(query, {"ledger"} if to else None, to=to, ended_before=began)
            assert done.ids == (event_id,)
            [lease] = (await spool.claim(to or "billing", 1, LEASE, ordered=False)).leases
            await spool.settle(lease, Done(), Delivered(200))
            done = await spool.requeue(query, None, to=to, ended_before=began)
            assert done == Requeued()

    async def test_the_next_page_goes_on_behind_the_one_before(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        events = [await dead(spool, str(number)) for number in range(5)]
        for query in (Query(endpoint="midtrans"), Query(status=Status.DEAD)):
            page = await spool.requeue(replace(query, limit=2), BOTH)
            assert page.ids == tuple(events[:2])
            for lease in (await take(spool)).leases:
                await spool.settle(lease, Dead(), Rejected(400))
            page = await spool.requeue(replace(query, limit=2, after=page.next), BOTH)
            assert page.ids == tuple(events[2:4])
            page = await spool.requeue(replace(query, limit=2, after=page.next), BOTH)
            assert page.ids == tuple(events[4:])
            for lease in (await take(spool)).leases:
                await spool.settle(lease, Dead(), Rejected(400))

    # ---- counting -------------------------------------------------------------------------------

    async def test_what_would_be_done_is_counted_and_nothing_is(self, spool: Spool) -> None:
        for number in range(3):
            await dead(spool, str(number))
        await stored(spool, verified(key="held"))
        await finish(spool, Held(), Unconfirmed("gross_amount differs", final=True))
        await stored(spool, verified(key="pending"))
        everything = Query(endpoint="midtrans", limit=1)
        counted = await spool.requeueable(everything, BOTH)
        by: dict[tuple[str, Status | None], int] = {
            ("billing", Status.DEAD): 3,
            ("billing", Status.HELD): 1,
        }
        assert counted == Requeueable(4, by)
        assert (await spool.requeueable(everything, BOTH, most=2)).events == 2
        status = Query(status=Status.HELD)
        assert await spool.requeueable(status, BOTH) == Requeueable(
            1, {("billing", Status.HELD): 1}
        )
        assert await spool.requeueable(status, {"ledger"}) == Requeueable(0, {})
        assert await spool.requeueable(everything, BOTH, to="ledger") == Requeueable(
            5, {("ledger", None): 5}
        )
        assert await spool.requeueable(Query(status=Status.PENDING), BOTH) == Requeueable(0, {})
        assert len(await claimed(spool, "billing")) == 1
        with pytest.raises(ValueError, match="ids or a filter"):
            await spool.requeueable(Query(), BOTH)

    async def test_what_is_sent_to_another_upstream_again_is_counted_by_what_it_is_there(
        self, spool: Spool
    ) -> None:
        event_id = await dead(spool, "1")
        query = Query(ids=(event_id,))
        await spool.requeue(query, BOTH, to="ledger")
        assert await spool.requeueable(query, BOTH, to="ledger") == Requeueable(0, {})
        [lease] = (await spool.claim("ledger", 1, LEASE, ordered=False)).leases
        await spool.settle(lease, Done(), Delivered(200))
        counted = await spool.requeueable(query, BOTH, to="ledger")
        assert counted == Requeueable(1, {("ledger", Status.DELIVERED): 1})
        assert (await spool.requeueable(query, BOTH)).destinations == {
            ("billing", Status.DEAD): 1,
            ("ledger", Status.DELIVERED): 1,
        }

    async def test_an_event_that_a_later_one_has_overtaken_is_named(self, spool: Spool) -> None:
        first = await dead(spool, "1", subject="order-1")
        assert (await spool.requeueable(Query(ids=(first,)), BOTH)).overtaken == ()
        await stored(spool, verified(key="2", subject="order-1"))
        await finish(spool)
        assert (await spool.requeueable(Query(ids=(first,)), BOTH)).overtaken == (first,)
