"""What a spool erases for good: subclass it and give the fixtures `spool` and `clock`."""

from dataclasses import replace
from datetime import timedelta

import pytest

from relay.core.event import Dead, Decision, Held, Rejected, RetryAt, Status
from relay.core.request import Headers, VerifiedDelivery
from relay.spool import Duplicate, Spool
from relay.spool.audit import Act, Actor
from relay.spool.erasure import Erasable, Traces, find_erasable
from relay.spool.history import Query, Requeued
from relay.spool.strangers import Stranger, StrangerLimits, StrangerQuery
from tests.contracts.refusals import BOUNDS, refused
from tests.contracts.spool import finish, passed, record, stored, take, take_one
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED, verified

FIELDS = Headers((("X-Person", "a-name"),))


def of_person(key: str = "order-17 settlement", **changes: object) -> VerifiedDelivery:
    """Return a delivery with a reference that a person holds."""
    event = verified(key=key, subject="order-17", body=b'{"name": "a-name"}', headers=FIELDS)
    told = replace(event.verification, references=(("order_id", "order-17"),), **changes)  # type: ignore[arg-type]
    return replace(event, verification=told)


async def fill_index(spool: Spool) -> None:
    while await spool.references.fill(1):
        pass


class ErasureContract:
    async def test_what_tells_of_a_person_goes_and_the_rest_stays(self, spool: Spool) -> None:
        event_id = await stored(spool, of_person())
        await finish(spool, RetryAt(RECEIVED), Rejected(500))
        await finish(spool)
        await fill_index(spool)
        before = await record(spool, event_id)
        assert await spool.erasure.erase([event_id], [], undelivered=False) == (event_id,)
        found = await spool.get(event_id)
        assert found is not None
        told, event = found
        assert event is None
        assert told == replace(before, key="", subject=None, references=(), removed="erased")
        assert [each.number for each in await spool.attempts(event_id)] == []
        assert (await spool.page(Query(find="order-17"))).records == ()
        assert await spool.erasure.finish("order-17") is Traces.NONE
        assert await spool.check_integrity() == ()

    async def test_a_copy_stays_one_and_brings_nothing_back(self, spool: Spool) -> None:
        event_id = await stored(spool, of_person())
        await finish(spool)
        await spool.erasure.erase([event_id], [], undelivered=False)
        before = await spool.get(event_id)
        assert await spool.put(of_person()) == Duplicate(event_id)
        assert await spool.get(event_id) == before
        assert (await take(spool)).leases == ()
        assert await spool.requeue(Query(ids=(event_id,))) == Requeued(removed=(event_id,))

    @pytest.mark.parametrize("decision", [None, Dead(), Held()])
    async def test_what_is_not_delivered_goes_only_if_that_is_said(
        self, spool: Spool, decision: Decision | None
    ) -> None:
        event_id = await stored(spool, of_person())
        if decision is not None:
            await finish(spool, decision, Rejected(500))
        before = await spool.get(event_id)
        assert await spool.erasure.erase([event_id], [], undelivered=False) == ()
        assert await spool.get(event_id) == before
        assert await spool.erasure.erase([event_id], [], undelivered=True) == (event_id,)
        told = await record(spool, event_id)
        assert (told.removed, told.destinations, told.damaged) == ("erased", (), False)
        assert (await take(spool)).leases == ()
        assert sum((await spool.stats()).events.values()) == 0
        assert await spool.put(of_person()) == Duplicate(event_id)
        assert (await take(spool)).leases == ()
        assert await spool.check_integrity() == ()
        late = RECEIVED + timedelta(days=40)
        while await spool.prune(late, late, 10):
            pass
        assert await spool.get(event_id) is None

    async def test_what_is_being_tried_stays(self, spool: Spool) -> None:
        event_id = await stored(spool, of_person())
        await take_one(spool)
        assert await spool.erasure.erase([event_id], [], undelivered=True) == ()
        assert (await record(spool, event_id)).key == "order-17 settlement"

    async def test_the_next_of_its_lane_moves_up(self, spool: Spool) -> None:
        first = await stored(spool, of_person("1"))
        second = await stored(spool, of_person("2"))
        lease = await take_one(spool, ordered=True)
        await spool.settle(lease, RetryAt(RECEIVED + timedelta(days=1)), Rejected(500))
        assert (await take(spool, ordered=True)).leases == ()
        await spool.erasure.erase([first], [], undelivered=True)
        assert (await take_one(spool, ordered=True)).event.id == second

    async def test_what_was_passed_on_is_erased_too(self, spool: Spool) -> None:
        event = of_person()
        await spool.record_proxied([passed(spool, event)])
        assert await spool.erasure.erase([event.event_id], [], undelivered=False) == (
            event.event_id,
        )
        told = await record(spool, event.event_id)
        assert (told.status, told.key, told.removed) == (Status.PASSED, "", "erased")

    async def test_refusals_are_removed(self, spool: Spool) -> None:
        await spool.refusals.keep([refused(1), refused(2)], BOUNDS)
        assert await spool.erasure.erase([], ["ref_001"], undelivered=False) == ()
        assert await spool.refusals.get("ref_001") is None
        assert await spool.refusals.get("ref_002") is not None

    async def test_acts_and_strangers_name_it_no_more(self, spool: Spool) -> None:
        filters = [{"find": "order-17", "endpoint": "midtrans"}, {"key": "order-17 settlement"}]
        others = [{"find": "order-1"}, {"find": "order-170", "upstream": "order-17"}]
        for given in (*filters, *others):
            told = {"requeued": 1, "filter": given}
            await spool.audit.add(Act(RECEIVED, Actor.CLI, "root", "requeue", told))
        await spool.audit.add(Act(RECEIVED, Actor.CLI, "root", "pause", {"upstream": "order-17"}))
        paths = ("/pay/order-17", "/pay/order-170", "/order-18/x")
        seen = [
            Stranger("a", f"192.0.2.{at}", f"192.0.2.{at}", path, 1, RECEIVED, RECEIVED)
            for at, path in enumerate(paths)
        ]
        await spool.strangers.add(seen, StrangerLimits())
        event_id = await stored(spool, of_person())
        await finish(spool)
        kept = replace(refused(1), references=(("order_id", "order-18"),))
        await spool.refusals.keep([kept], BOUNDS)
        await spool.erasure.erase([event_id], ["ref_001"], undelivered=False)
        masked = [{"find": "***", "endpoint": "midtrans"}, {"key": "***"}]
        acts = [act.detail.get("filter") for act in await spool.audit.newest(10)]
        assert acts == [None, *reversed(masked + others)]
        found = await spool.strangers.find(StrangerQuery())
        assert [each.path for each in found] == ["***", "/pay/order-170", "***"]

    async def test_a_filling_that_is_under_way_writes_nothing_back(self, spool: Spool) -> None:
        event_id = await stored(spool, of_person())
        await finish(spool)
        await fill_index(spool)
        await spool.erasure.erase([event_id], [], undelivered=False)
        await stored(spool, of_person("another"))
        await fill_index(spool)
        found = (await spool.page(Query(find="order-17"))).records
        assert [each.key for each in found] == ["another"]

    # ---- what is meant ------------------------------------------------------------------------

    async def test_whole_references_keys_and_ids_are_meant_and_no_beginnings(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        await clock.advance(1)
        first = await stored(spool, of_person())
        await finish(spool)
        longer = replace(of_person("2"), event_id="another")
        told = replace(longer.verification, references=(("order_id", "order-170"),))
        await stored(spool, replace(longer, verification=told))
        kept = replace(refused(1), references=(("order_id", "order-17"),))
        await spool.refusals.keep([kept, refused(2)], BOUNDS)
        expected = Erasable(((first, Status.DELIVERED),), ("ref_001",), 1)
        assert await find_erasable(spool, "order-17") == expected
        assert not expected.undelivered
        for text in (first, "order-17 settlement"):
            assert (await find_erasable(spool, text)).events == expected.events
        assert (await find_erasable(spool, "ref_002")).refusals == ("ref_002",)
        await spool.erasure.erase([first], ["ref_001"], undelivered=False)
        assert await find_erasable(spool, "order-17") == Erasable((), (), 1)
        assert (await find_erasable(spool, first)).events == ()
        assert (await find_erasable(spool, "order-170")).undelivered == {Status.PENDING: 1}
