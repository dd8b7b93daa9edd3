"""What a copy does to the event that it repeats, in every spool: beside `SpoolContract`."""

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
    Rejected,
    RetryAt,
    Status,
    Unconfirmed,
    Unreachable,
    event_of,
)
from relay.core.request import OnReplay, VerifiedDelivery
from relay.spool import Duplicate, Settlement, Spool, Stored
from relay.spool.history import Query, Requeued
from tests.contracts.spool import LEASE, CountingHandoff, finish, record, stored, take, take_one
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED, verified

NOT_CONFIRMED = Unconfirmed("gross_amount differs", final=True)


async def end(spool: Spool, decision: Decision, outcome: AttemptResult, reason: str) -> None:
    """Claim one event and settle it for this reason."""
    ended: asyncio.Future[Sequence[bool] | SpoolUnavailable] = asyncio.Future()
    lease = await take_one(spool)
    spool.settle_all([Settlement(lease, decision, outcome, reason=reason)], ended.set_result)
    assert await ended == [True]


def later(seconds: int, event: VerifiedDelivery | None = None) -> VerifiedDelivery:
    """Return a copy that comes so many seconds after the first."""
    event = event or verified()
    head = replace(event.delivery.head, received_at=RECEIVED + timedelta(seconds=seconds))
    return replace(event, event_id=uuid4().hex, delivery=replace(event.delivery, head=head))


class CopiesContract:
    @pytest.mark.parametrize(
        ("decision", "outcome"), [(Dead(), Unreachable("refused")), (Held(), NOT_CONFIRMED)]
    )
    async def test_a_copy_makes_a_dead_or_held_event_due_with_a_fresh_schedule(
        self, spool: Spool, clock: ManualClock, decision: Decision, outcome: AttemptResult
    ) -> None:
        event_id = await stored(spool, verified())
        await finish(spool, RetryAt(clock.now()), outcome)
        await finish(spool, decision, outcome)
        await clock.advance(5)
        assert await spool.put(verified()) == Duplicate(event_id, revived=True)
        lease = await take_one(spool)
        assert (lease.event.id, lease.attempt, lease.round_attempt) == (event_id, 3, 1)
        assert lease.round_started_at == clock.now()

    async def test_a_copy_of_what_is_not_stopped_changes_nothing(self, spool: Spool) -> None:
        delivered = await stored(spool, verified(key="1"))
        await finish(spool)
        leased = await stored(spool, verified(key="2"))
        await take_one(spool)
        pending = await stored(spool, verified(key="3"))
        tested = await stored(spool, verified(key="4", test=True))
        before = [await spool.get(each) for each in (delivered, leased, pending, tested)]
        copies = [verified(key=str(key), test=key == 4) for key in (1, 2, 3, 4)]
        results = [await spool.put(each) for each in copies]
        assert results == [Duplicate(each) for each in (delivered, leased, pending, tested)]
        assert [await spool.get(each) for each in (delivered, leased, pending, tested)] == before

    @pytest.mark.parametrize("reason", ["final", STATUS_CONTRADICTS_CODE])
    @pytest.mark.parametrize("decision", [Dead(), Held()])
    async def test_no_copy_frees_what_has_ended_for_good(
        self, spool: Spool, decision: Decision, reason: str
    ) -> None:
        event_id = await stored(spool, verified())
        await end(spool, decision, Rejected(410), reason)
        before = await spool.get(event_id)
        for minutes in range(10):
            assert await spool.put(later(60 * minutes)) == Duplicate(event_id)
        assert await spool.get(event_id) == before

    async def test_copies_revive_an_event_at_most_once_a_minute(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        event_id = await stored(spool, verified())
        await finish(spool, Held(), NOT_CONFIRMED)
        revived = []
        for second in range(0, 150, 10):
            result = await spool.put(later(second))
            assert isinstance(result, Duplicate)
            if result.revived:
                revived.append(second)
                await finish(spool, Held(), NOT_CONFIRMED)
            await clock.advance(10)
        assert revived == [0, 60, 120]
        assert (await record(spool, event_id)).attempts == 4

    async def test_a_clock_that_was_set_back_does_not_keep_an_event_dead(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        event_id = await stored(spool, verified())
        await finish(spool, Dead(), Rejected(500))
        await spool.put(later(0))
        await finish(spool, Dead(), Rejected(500))
        assert await spool.put(later(0)) == Duplicate(event_id)
        assert await spool.put(later(-3600)) == Duplicate(event_id, revived=True)

    async def test_a_copy_under_another_key_revives_its_event(self, spool: Spool) -> None:
        event_id = await stored(spool, verified(key="1", restated=b"same"))
        await finish(spool, Dead(), Rejected(500))
        again = verified(key="2", restated=b"same")
        assert await spool.put(again) == Duplicate(event_id, revived=True)
        assert (await take_one(spool)).event.key == "1"

    async def test_a_copy_of_a_conflict_revives_that_one_alone(self, spool: Spool) -> None:
        first = await stored(spool, verified(body=b"1"))
        await finish(spool, Dead(), Rejected(500))
        second = await spool.put(verified(body=b"2"))
        assert second == Stored(second.id, conflicts_with=first)
        await finish(spool, Dead(), Rejected(500))
        assert await spool.put(verified(body=b"2")) == Duplicate(second.id, revived=True)
        [lease] = (await take(spool)).leases
        assert (lease.event.id, lease.event.conflicts_with) == (second.id, first)
        assert (await record(spool, first)).status is Status.DEAD

    async def test_what_was_reconciled_revives_its_event(self, spool: Spool) -> None:
        event_id = await stored(spool, verified(body=b"1"))
        await finish(spool, Held(), NOT_CONFIRMED)
        learnt = replace(verified(body=b"2"), reconciled=True)
        assert await spool.put(learnt) == Duplicate(event_id, revived=True)
        assert (await take_one(spool)).event.body == b"1"

    async def test_copies_at_once_revive_once(self, spool: Spool, other: Spool) -> None:
        event_id = await stored(spool, verified())
        await finish(spool, Dead(), Rejected(500))
        copies = (each.put(verified()) for each in (spool, other) for _ in range(5))
        results = await asyncio.gather(*copies)
        assert sorted(results, key=lambda each: each == Duplicate(event_id)) == [
            Duplicate(event_id, revived=True),
            *[Duplicate(event_id)] * 9,
        ]
        assert (await take_one(spool)).attempt == 2

    async def test_what_is_revived_goes_where_its_copy_goes(self, spool: Spool) -> None:
        event_id = await stored(spool, verified())
        await finish(spool, Dead(), Rejected(500))
        copy = verified(upstream="ledger")
        assert await spool.put(copy) == Duplicate(event_id, revived=True)
        assert (await take(spool)).leases == ()
        claimed = await spool.claim("ledger", 1, timedelta(seconds=30), ordered=False)
        assert [lease.event.id for lease in claimed.leases] == [event_id]
        after = await record(spool, event_id)
        assert (after.status, after.upstream, after.attempts) == (Status.LEASED, "ledger", 2)

    @pytest.mark.parametrize("by_copy", [True, False])
    @pytest.mark.parametrize("delivered", [True, False])
    async def test_what_is_due_again_after_a_later_state_is_out_of_order(
        self, spool: Spool, by_copy: bool, delivered: bool
    ) -> None:
        first = verified(key="1", subject="tx")
        await stored(spool, first)
        await finish(spool, Dead(), Rejected(500))
        await stored(spool, verified(key="2", subject="tx"))
        later_one = await take_one(spool)
        if delivered:
            await spool.settle(later_one, Done(), Delivered(200))
        else:
            failed = RetryAt(RECEIVED + timedelta(hours=1))
            await spool.settle(later_one, failed, Rejected(500))
        if by_copy:
            await spool.put(first)
        else:
            await spool.requeue(Query(ids=(first.event_id,)))
        lease = await take_one(spool)
        assert (lease.event.id, lease.event.out_of_order) == (first.event_id, delivered)
        assert (await record(spool, first.event_id)).out_of_order is delivered

    @pytest.mark.parametrize("ended", [None, Dead(), Held()])
    async def test_a_state_in_between_counts_whatever_becomes_of_the_newest(
        self, spool: Spool, ended: Decision | None
    ) -> None:
        first = verified(key="1", subject="tx")
        await stored(spool, first)
        await finish(spool, Dead(), Rejected(500))
        await stored(spool, verified(key="2", subject="tx"))
        await finish(spool)
        await stored(spool, verified(key="other", subject="another"))
        await finish(spool)
        await stored(spool, verified(key="3", subject="tx"))
        if ended is not None:
            await finish(spool, ended, Rejected(500))
        await spool.put(first)
        lease = await take_one(spool)
        assert (lease.event.id, lease.event.out_of_order) == (first.event_id, True)

    @pytest.mark.parametrize("by_copy", [True, False])
    async def test_what_is_due_again_waits_for_a_later_state_that_is_under_way(
        self, spool: Spool, by_copy: bool
    ) -> None:
        first = verified(key="1", subject="tx")
        await stored(spool, first)
        [lease] = (await take(spool, ordered=True)).leases
        await spool.settle(lease, Dead(), Rejected(500))
        await stored(spool, verified(key="2", subject="tx"))
        [under_way] = (await take(spool, ordered=True)).leases
        if by_copy:
            await spool.put(first)
        else:
            await spool.requeue(Query(ids=(first.event_id,)))
        assert (await take(spool, ordered=True)).leases == ()
        await spool.settle(under_way, Done(), Delivered(200))
        [again] = (await take(spool, ordered=True)).leases
        assert (again.event.id, again.event.out_of_order) == (first.event_id, True)

    @pytest.mark.parametrize("ends", ["retry", "release", "release later", "expiry", "recovery"])
    async def test_it_goes_first_when_that_state_is_not_under_way_any_more(
        self, spool: Spool, clock: ManualClock, ends: str
    ) -> None:
        first, second = (verified(key=key, subject="tx") for key in "12")
        await stored(spool, first)
        await spool.settle(await take_one(spool, ordered=True), Dead(), Rejected(500))
        await stored(spool, second)
        under_way = await take_one(spool, ordered=True)
        await spool.put(first)
        assert (await take(spool, ordered=True)).leases == ()
        match ends:
            case "retry":
                await spool.settle(under_way, RetryAt(clock.now()), Rejected(500))
            case "release":
                await spool.release(under_way)
            case "release later":
                await spool.release(under_way, clock.now() + timedelta(seconds=1))
            case "expiry":
                await clock.advance(LEASE.total_seconds())
            case _:
                assert await spool.recover(timedelta(days=1)) == 1
        again = await take_one(spool, ordered=True)
        assert again.event.id == first.event_id
        await spool.settle(again, Done(), Delivered(200))
        await clock.advance(1)
        assert (await take_one(spool, ordered=True)).event.id == second.event_id

    @pytest.mark.parametrize("subject", ["another", None])
    async def test_what_is_due_again_is_in_order_after_what_is_about_something_else(
        self, spool: Spool, subject: str | None
    ) -> None:
        first = verified(key="1", subject="tx" if subject else None)
        await stored(spool, first)
        await finish(spool, Dead(), Rejected(500))
        await stored(spool, verified(key="2", subject=subject))
        await finish(spool)
        await spool.put(first)
        assert not (await take_one(spool)).event.out_of_order

    # ---- what contradicts its signed part -----------------------------------------------------

    async def test_what_contradicts_its_signed_part_is_held_as_it_is_stored(
        self, spool: Spool
    ) -> None:
        handoff = CountingHandoff(1)
        spool.subscribe("billing", handoff)
        event_id = await stored(spool, verified(hold=STATUS_CONTRADICTS_CODE))
        spool.subscribe("billing", None)
        assert (handoff.taken, handoff.seats.free) == ([], 1)
        after = await record(spool, event_id)
        assert (after.status, after.reason) == (Status.HELD, STATUS_CONTRADICTS_CODE)
        assert (after.attempts, after.settled_at) == (0, RECEIVED)
        assert (await take(spool)).leases == ()

    async def test_copies_never_free_what_contradicts_its_signed_part(self, spool: Spool) -> None:
        doubtful = verified(hold=STATUS_CONTRADICTS_CODE)
        event_id = await stored(spool, doubtful)
        for minutes in range(10):
            assert await spool.put(later(60 * minutes, doubtful)) == Duplicate(event_id)
        assert (await take(spool)).leases == ()

    async def test_a_person_frees_what_contradicts_its_signed_part(self, spool: Spool) -> None:
        event_id = await stored(spool, verified(hold=STATUS_CONTRADICTS_CODE))
        assert (await spool.requeue(Query(ids=(event_id,)))).ids == (event_id,)
        lease = await take_one(spool)
        assert (lease.event.id, lease.event.contradicts) == (event_id, False)
        await spool.settle(lease, Dead(), Rejected(500))
        copy = verified(hold=STATUS_CONTRADICTS_CODE)
        assert await spool.put(copy) == Duplicate(event_id, revived=True)
        assert not (await take_one(spool)).event.contradicts

    async def test_what_the_provider_says_itself_frees_what_contradicts(self, spool: Spool) -> None:
        event_id = await stored(spool, verified(hold=STATUS_CONTRADICTS_CODE))
        learnt = replace(verified(hold=STATUS_CONTRADICTS_CODE, body=b"learnt"), reconciled=True)
        assert await spool.put(learnt) == Duplicate(event_id, revived=True)
        lease = await take_one(spool)
        assert (lease.event.body, lease.event.contradicts) == (b"learnt", False)

    async def test_what_is_to_be_confirmed_is_handed_out_as_contradicting(
        self, spool: Spool
    ) -> None:
        doubtful = replace(verified(hold=STATUS_CONTRADICTS_CODE), confirm=True)
        event_id = await stored(spool, doubtful)
        lease = await take_one(spool)
        assert lease.event == event_of(doubtful)
        assert lease.event.contradicts
        await spool.settle(lease, Held(), NOT_CONFIRMED)
        for minutes in range(10):
            assert await spool.put(later(60 * minutes, doubtful)) == Duplicate(event_id)

    # ---- the same signed part under another key -----------------------------------------------

    async def test_a_repeat_names_the_first(self, spool: Spool) -> None:
        def again(key: str) -> VerifiedDelivery:
            return verified(key=key, restated=b"same", on_replay=OnReplay.REPEATS)

        first = await stored(spool, again("1"))
        ids = [await stored(spool, again(key)) for key in "234"]
        assert await spool.put(again("3")) == Duplicate(ids[1])
        leases = (await take(spool)).leases
        assert [each.event.repeats for each in leases] == [None, first, first, first]
        assert [each.event.conflicts_with for each in leases] == [None] * 4
        assert (await record(spool, ids[0])).repeats == first
        elsewhere = replace(again("5"), delivery=verified(endpoint="other").delivery)
        assert isinstance(await spool.put(elsewhere), Stored)

    async def test_a_repeat_may_be_in_conflict_as_well(self, spool: Spool) -> None:
        first = await stored(spool, verified(key="1", body=b"1", restated=b"same"))
        second = await stored(spool, verified(key="2", body=b"2"))
        both = verified(key="2", body=b"1", restated=b"same", on_replay=OnReplay.REPEATS)
        stored_as = await spool.put(both)
        assert stored_as == Stored(both.event_id, conflicts_with=second, repeats=first)
        assert await spool.put(replace(both, event_id="copy")) == Duplicate(both.event_id)

    async def test_what_is_handed_over_says_what_it_repeats(self, spool: Spool) -> None:
        handoff = CountingHandoff(2)
        spool.subscribe("billing", handoff)
        for key in "12":
            await spool.put(verified(key=key, restated=b"same", on_replay=OnReplay.REPEATS))
        await spool.probe()
        spool.subscribe("billing", None)
        first, second = (lease.event for lease in handoff.taken)
        assert (first.repeats, second.repeats) == (None, first.id)
        found = await spool.get(second.id)
        assert found is not None
        assert found[1] == second

    async def test_one_signature_for_two_subjects_is_a_conflict(self, spool: Spool) -> None:
        def paid(key: str, subject: str) -> VerifiedDelivery:
            replayed = verified(key=key, restated=b"triple", on_replay=OnReplay.CONFLICT)
            told = replace(replayed.verification, subject=subject)
            return replace(replayed, verification=told)

        first = await stored(spool, paid("tx-1 capture", "tx-1"))
        assert await spool.put(paid("tx-1 settlement", "tx-1")) != Duplicate(first)
        for number in range(5):
            forged = paid(f"forged {number}", f"forged {number}")
            assert await spool.put(forged) == Stored(forged.event_id, conflicts_with=first)
        conflicts = [each.event.conflicts_with for each in (await take(spool)).leases]
        assert conflicts == [None, None, *[first] * 5]

    async def test_one_signature_in_one_batch_is_a_conflict_as_well(self, spool: Spool) -> None:
        def paid(subject: str) -> VerifiedDelivery:
            replayed = verified(key=subject, restated=b"triple", on_replay=OnReplay.CONFLICT)
            told = replace(replayed.verification, subject=subject)
            return replace(replayed, verification=told)

        results = await asyncio.gather(*(spool.put(paid(str(number))) for number in range(5)))
        assert [type(each) for each in results] == [Stored] * 5
        assert sum(isinstance(each, Stored) and bool(each.conflicts_with) for each in results) == 4

    # ---- bodies of what was never delivered ---------------------------------------------------

    async def test_a_copy_revives_an_event_whose_body_is_gone(self, spool: Spool) -> None:
        event_id = await stored(spool, verified())
        await finish(spool, Dead(), Rejected(500))
        late = RECEIVED + timedelta(days=30)
        assert await spool.count_undelivered(RECEIVED, late) == {"midtrans": 1}
        assert await spool.prune_undelivered(RECEIVED, 10) == {}
        assert await spool.prune_undelivered(late, 10) == {"midtrans": 1}
        assert await spool.prune_undelivered(late, 10) == {}
        assert await spool.count_undelivered(RECEIVED, late) == {}
        found = await spool.get(event_id)
        assert found is not None
        assert (found[0].status, found[0].damaged, found[1]) == (Status.DEAD, False, None)
        assert await spool.requeue(Query(ids=(event_id,))) == Requeued()
        assert await spool.put(verified()) == Duplicate(event_id, revived=True)
        assert (await take_one(spool)).event.body == verified().delivery.body
