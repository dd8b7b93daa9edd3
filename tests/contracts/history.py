"""What every spool tells of an event's destinations and attempts: beside `SpoolContract`."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from relay.core.errors import SpoolUnavailable
from relay.core.event import (
    AttemptResult,
    Dead,
    Decision,
    Delivered,
    Done,
    ProxiedDelivery,
    Rejected,
    RetryAt,
    Status,
    Unreachable,
)
from relay.spool import Settlement, Spool
from relay.spool.history import Attempt, Destination, Query
from tests.contracts.spool import record, stored, take_one
from tests.harness.clock import ManualClock
from tests.harness.deliveries import verified


async def settle(
    spool: Spool, decision: Decision, outcome: AttemptResult, answer: bytes | None = None
) -> None:
    """Claim one event and settle it, after an attempt of 1.5 ms."""
    ended: asyncio.Future[Sequence[bool] | SpoolUnavailable] = asyncio.Future()
    settlement = Settlement(await take_one(spool), decision, outcome, 1500, answer)
    spool.settle_all([settlement], ended.set_result)
    assert await ended == [True]


class HistoryContract:
    # ---- destinations -------------------------------------------------------------------------

    async def test_a_destination_tells_what_became_of_the_event_there(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        event_id = await stored(spool, verified())
        await settle(spool, RetryAt(clock.now()), Rejected(503))
        [waiting] = (await record(spool, event_id)).destinations
        assert waiting == Destination(
            "billing", Status.PENDING, 1, due_at=clock.now(), last_outcome="rejected 503"
        )
        await settle(spool, Dead(), Unreachable("refused"))
        [dead] = (await record(spool, event_id)).destinations
        assert (dead.status, dead.attempts, dead.due_at) == (Status.DEAD, 2, None)
        assert (dead.settled_at, dead.last_outcome) == (clock.now(), "unreachable refused")

    # ---- references ---------------------------------------------------------------------------

    async def test_the_references_of_an_event_are_told(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        named = (("order_id", "ORDER-1 é\U0001f600\0%"), ("transaction_id", "b0a2"))
        event_id = await stored(spool, verified(references=named))
        passed = verified(key="passed", references=named)
        at = ProxiedDelivery(passed, Delivered(200), clock.now())
        await spool.record_proxied([spool.proxied_row(at)])
        for each in (event_id, passed.event_id):
            assert (await record(spool, each)).references == named

    # ---- attempts -----------------------------------------------------------------------------

    async def test_each_attempt_is_kept_with_its_answer(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        event_id = await stored(spool, verified())
        await settle(spool, RetryAt(clock.now()), Rejected(503), b"down\x00\xff")
        await settle(spool, RetryAt(clock.now()), Unreachable("timeout"))
        await clock.advance(1)
        await settle(spool, Done(), Delivered(204))
        took = timedelta(milliseconds=1.5)
        first = clock.now() - timedelta(seconds=1)
        assert await spool.attempts(event_id) == (
            Attempt(1, first, "billing", "rejected", 503, None, took, b"down\x00\xff"),
            Attempt(2, first, "billing", "unreachable", None, "timeout", took, None),
            Attempt(3, clock.now(), "billing", "delivered", 204, None, took, None),
        )

    async def test_a_first_attempt_that_succeeds_is_told_of(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        event_id = await stored(spool, verified())
        await settle(spool, Done(), Delivered(202))
        assert await spool.attempts(event_id) == (
            Attempt(
                *(1, clock.now(), "billing", "delivered", 202),
                cause=None,
                duration=timedelta(milliseconds=1.5),
                answer=None,
            ),
        )

    @pytest.mark.parametrize("to", [None, "billing"])
    async def test_a_first_attempt_that_succeeded_is_told_of_after_a_requeue(
        self, to: str | None, spool: Spool, clock: ManualClock
    ) -> None:
        event_id = await stored(spool, verified(upstreams=("billing", "ledger")))
        await settle(spool, Done(), Delivered(202))
        first = await spool.attempts(event_id)
        await clock.advance(60)
        assert (await spool.requeue(Query(ids=(event_id,)), to=to)).ids == (event_id,)
        assert await spool.attempts(event_id) == first
        await settle(spool, Done(), Delivered(200))
        again = await spool.attempts(event_id)
        assert (again[0], [(each.number, each.status) for each in again]) == (
            first[0],
            [(1, 202), (2, 200)],
        )

    async def test_of_many_attempts_the_first_ten_and_the_newest_forty_are_kept(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        event_id = await stored(spool, verified())
        for _ in range(60):
            await settle(spool, RetryAt(clock.now()), Rejected(500))
        numbers = [each.number for each in await spool.attempts(event_id)]
        assert numbers == [*range(1, 11), *range(21, 61)]

    async def test_nothing_unknown_and_nothing_new_was_tried(self, spool: Spool) -> None:
        event_id = await stored(spool, verified())
        assert await spool.attempts(event_id) == ()
        assert await spool.attempts("unknown") == ()
