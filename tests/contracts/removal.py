"""What a spool removes for good: subclass it and give the fixtures `spool` and `clock`."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.core.errors import SpoolUnavailable
from relay.core.event import Dead, Delivered, Done, Rejected, RetryAt, Status, event_of
from relay.core.request import Headers, Keep, OnReplay, VerifiedDelivery
from relay.spool import Duplicate, Settlement, Spool
from relay.spool.history import Query, Requeued
from tests.contracts.spool import CountingHandoff, finish, passed, record, stored, take, take_one
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED, verified

FIELDS = Headers((("Content-Type", "application/json"), ("X-Person", "a-name")))


def kept(keep: Keep, **changes: str) -> VerifiedDelivery:
    """Return a delivery of an endpoint that keeps so much; its query is a part of it."""
    event = verified(headers=FIELDS, remainder="/below", path="/prefix/below?name=a-name")
    given = replace(event.verification, **changes)  # type: ignore[arg-type]
    return replace(event, keep=keep, verification=given)


async def settle(spool: Spool, answer: bytes) -> None:
    """Deliver one event at its second try; the first was answered with this."""
    for outcome in (Rejected(500), Delivered(200)):
        lease = await take_one(spool)
        ended: asyncio.Future[Sequence[bool] | SpoolUnavailable] = asyncio.Future()
        decision = Done() if isinstance(outcome, Delivered) else RetryAt(RECEIVED)
        spool.settle_all([Settlement(lease, decision, outcome, answer=answer)], ended.set_result)
        assert await ended == [True]


class RemovalContract:
    async def test_what_is_kept_travels_with_the_event(self, spool: Spool) -> None:
        handoff = CountingHandoff(1)
        spool.subscribe("billing", handoff)
        await stored(spool, kept(Keep.NONE))
        await spool.probe()
        spool.subscribe("billing", None)
        await stored(spool, kept(Keep.HEADERS, key="2"))
        await stored(spool, kept(Keep.ALL, key="3"))
        claimed = (await take(spool)).leases
        leases = [*handoff.taken, *claimed]
        assert [each.event.keep for each in leases] == [Keep.NONE, Keep.HEADERS, Keep.ALL]
        assert claimed[0].event == event_of(
            replace(kept(Keep.HEADERS, key="2"), event_id=claimed[0].event.id)
        )

    async def test_the_body_alone_goes_where_headers_are_kept(self, spool: Spool) -> None:
        event_id = await stored(spool, kept(Keep.HEADERS))
        await settle(spool, b"an answer")
        found = await spool.get(event_id)
        assert found is not None
        told, event = found
        assert (event, told.removed, told.damaged) == (None, "headers", False)
        assert told.remainder == replace(
            event_of(kept(Keep.HEADERS)), id=event_id, body=b"", client_text=""
        )
        assert [each.answer for each in await spool.attempts(event_id)] == [b"an answer"] * 2

    async def test_header_fields_and_answers_go_too_where_nothing_is_kept(
        self, spool: Spool
    ) -> None:
        event_id = await stored(spool, kept(Keep.NONE))
        await settle(spool, b"an answer")
        found = await spool.get(event_id)
        assert found is not None
        told, event = found
        assert (event, told.removed, told.damaged, told.key) == (None, "none", False, "order-1")
        assert told.remainder is not None
        assert (told.remainder.headers, told.remainder.suffix) == (Headers(()), "/below")
        assert [each.answer for each in await spool.attempts(event_id)] == [None, None]

    async def test_nothing_goes_before_it_is_delivered(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        event = kept(Keep.NONE)
        event_id = await stored(spool, event)
        await finish(spool, RetryAt(clock.now()), Rejected(500))
        await finish(spool, Dead(), Rejected(500))
        found = await spool.get(event_id)
        assert found is not None
        assert found[1] is not None
        assert (found[1].body, found[0].removed) == (event.delivery.body, None)
        assert (await spool.requeue(Query(ids=(event_id,)))).ids == (event_id,)
        await finish(spool)
        assert (await record(spool, event_id)).removed == "none"

    @pytest.mark.parametrize("keep", [Keep.HEADERS, Keep.NONE])
    async def test_a_copy_stays_one_and_brings_nothing_back(self, spool: Spool, keep: Keep) -> None:
        event_id = await stored(spool, kept(keep))
        await finish(spool)
        before = await spool.get(event_id)
        assert await spool.put(kept(keep)) == Duplicate(event_id)
        assert await spool.put(kept(Keep.ALL)) == Duplicate(event_id)
        learnt = replace(verified(body=b"learnt"), reconciled=True)
        assert await spool.put(learnt) == Duplicate(event_id)
        assert await spool.get(event_id) == before

    @pytest.mark.parametrize("by", ["id", "filter"])
    async def test_it_is_not_requeued_and_that_is_told_of_those_named(
        self, spool: Spool, by: str
    ) -> None:
        event_id = await stored(spool, kept(Keep.NONE))
        await finish(spool)
        query = Query(ids=(event_id,)) if by == "id" else Query(status=Status.DELIVERED)
        told = Requeued(removed=(event_id,)) if by == "id" else Requeued()
        assert await spool.requeue(query) == told
        assert (await take(spool)).leases == ()

    @pytest.mark.parametrize("keep", [Keep.HEADERS, Keep.NONE])
    async def test_of_what_is_passed_on_it_is_never_written(self, spool: Spool, keep: Keep) -> None:
        event = kept(keep)
        await spool.record_proxied([passed(spool, event)])
        found = await spool.get(event.event_id)
        assert found is not None
        told, content = found
        assert (content, told.removed, told.damaged) == (None, keep.value, False)
        assert told.status is Status.PASSED
        assert told.remainder is not None
        wanted = FIELDS if keep is Keep.HEADERS else Headers(())
        assert told.remainder.headers == wanted

    async def test_a_repeat_keeps_as_little(self, spool: Spool) -> None:
        first = await stored(spool, verified(key="1", restated=b"same"))
        again = verified(key="2", restated=b"same", on_replay=OnReplay.REPEATS)
        again = replace(again, keep=Keep.HEADERS)
        await stored(spool, again)
        for _ in range(2):
            await finish(spool)
        told = await record(spool, again.event_id)
        assert (told.repeats, told.removed) == (first, "headers")

    async def test_retention_goes_on_as_ever(self, spool: Spool) -> None:
        event_id = await stored(spool, kept(Keep.NONE))
        await finish(spool)
        late = RECEIVED + timedelta(days=40)
        while await spool.prune(late, late, 10):
            pass
        assert await spool.get(event_id) is None
