"""What every spool keeps to: subclass it and give a fixture `opener`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.core.clock import Clock
from relay.core.errors import LeaseLost, SpoolUnavailable
from relay.core.event import (
    AttemptResult,
    Dead,
    Decision,
    Delivered,
    Done,
    Held,
    Lease,
    Outcome,
    ProxiedDelivery,
    Rejected,
    RetryAt,
    Status,
    Unconfirmed,
    Unreachable,
    event_of,
)
from relay.core.request import Headers, OnConflict, VerifiedDelivery
from relay.spool import (
    Claimed,
    Conflict,
    Duplicate,
    ProxiedRow,
    PutResult,
    Seats,
    Settlement,
    Spool,
    Stored,
)
from relay.spool.history import Destination, Query, Record, Requeued
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED, verified

LEASE = timedelta(seconds=30)

POINTERS = ("/a/token", "/b")
LINKED = verified(body=b'{"a": {"token": "secret", "id": 1.50}, "b": "secret"}', tokens=POINTERS)


async def masked_event(spool: Spool, event_id: str) -> bool:
    """Return whether this event can be read, and its tokens cannot."""
    found = await spool.get(event_id)
    assert found is not None
    assert found[1] is not None
    body = b'{"a":{"token":"***","id":1.50},"b":"***"}'
    return (found[1].body, found[1].tokens, found[1].redacted) == (body, (), POINTERS)


#: Opens one more spool on a store that was empty when the test began.
Opener = Callable[[Clock], Awaitable[Spool]]


async def stored(spool: Spool, event: VerifiedDelivery) -> str:
    result = await spool.put(event)
    assert isinstance(result, Stored)
    return result.id


async def take(spool: Spool, limit: int = 10, *, ordered: bool = False) -> Claimed:
    return await spool.claim("billing", limit, LEASE, ordered=ordered)


async def take_one(spool: Spool, *, ordered: bool = False) -> Lease:
    [lease] = (await take(spool, 1, ordered=ordered)).leases
    return lease


async def finish(
    spool: Spool, decision: Decision | None = None, outcome: AttemptResult | None = None
) -> str:
    """Claim one event and settle it; return its id."""
    lease = await take_one(spool)
    await spool.settle(lease, decision or Done(), outcome or Delivered(200))
    return lease.event.id


async def record(spool: Spool, event_id: str) -> Record:
    found = await spool.get(event_id)
    assert found is not None
    return found[0]


def passed(
    spool: Spool,
    event: VerifiedDelivery,
    outcome: Outcome = Delivered(200),  # noqa: B008 - frozen
) -> ProxiedRow:
    at = RECEIVED + timedelta(seconds=1)
    return spool.proxied_row(ProxiedDelivery(event, outcome, at))


def ids(claimed: Claimed) -> list[str]:
    return [lease.event.id for lease in claimed.leases]


HORIZON = timedelta(hours=12)


class CountingHandoff:
    """Passes as `relay.spool.Handoff`; it has so many seats.

    refuses: whether it takes none of what is offered.
    """

    LEASE = timedelta(minutes=1)

    def __init__(self, free: int, *, refuses: bool = False) -> None:
        self.seats = Seats(self.LEASE)
        self.seats.free = free
        self.refuses = refuses
        self.taken: list[Lease] = []
        self.cancellations = 0

    def offer(self, lease: Lease) -> bool:
        self.taken.append(lease)
        return not self.refuses

    def cancelled(self) -> None:
        self.cancellations += 1


class SpoolContract:
    @pytest.fixture
    def opener(self) -> Opener:
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock(RECEIVED)

    @pytest.fixture
    async def spool(self, opener: Opener, clock: ManualClock) -> AsyncIterator[Spool]:
        spool = await opener(clock)
        yield spool
        await spool.close()

    @pytest.fixture
    async def other(self, opener: Opener, clock: ManualClock) -> AsyncIterator[Spool]:
        """Give another spool on the same store, as another process has it."""
        spool = await opener(clock)
        yield spool
        await spool.close()

    # ---- put ----------------------------------------------------------------------------------

    async def test_an_event_comes_out_as_it_went_in(self, spool: Spool) -> None:
        event = verified(
            key="ordre-æ 1",
            subject="tx-1",
            body=b'\x00\xff {"a": 1}',
            headers=Headers((("Content-Type", "text/plain"), ("X-Name", "caf\xe9"))),
            path="/snap/v1.0/qr/qr-mpm-notify?a=%20b",
            remainder="/v1.0/qr/qr-mpm-notify",
            ambiguous=True,
        )
        await stored(spool, event)
        out = (await take_one(spool)).event
        assert (out.id, out.endpoint, out.provider) == (event.event_id, "midtrans", "midtrans")
        assert (out.environment, out.upstream) == ("production", "billing")
        assert (out.key, out.subject) == ("ordre-æ 1", "tx-1")
        assert (out.method, out.suffix) == ("POST", "/v1.0/qr/qr-mpm-notify?a=%20b")
        assert (out.headers, out.body) == (event.headers, event.delivery.body)
        assert (out.client, out.received_at) == (event.delivery.client.address, RECEIVED)
        assert out.signed == ("order_id", "status_code", "gross_amount", "ambiguous")
        assert (out.conflicts_with, out.out_of_order) == (None, False)
        found = await spool.get(event.event_id)
        assert found is not None
        assert found[1] == out

    async def test_a_query_is_not_passed_on_outside_of_a_prefix(self, spool: Spool) -> None:
        await stored(spool, verified(path="/midtrans/notification?a=b"))
        assert (await take_one(spool)).event.suffix == ""

    async def test_what_is_not_stored_in_time_is_told(self, spool: Spool) -> None:
        with pytest.raises(TimeoutError):
            await spool.put(verified(), within=0)
        # It may have been stored all the same: then this is its copy.
        assert isinstance(await spool.put(verified(), within=60), Stored | Duplicate)

    async def test_twenty_copies_at_once_store_one(self, spool: Spool, other: Spool) -> None:
        copies = [verified() for _ in range(20)]
        results = await asyncio.gather(
            *(each.put(copy) for each, copy in zip([spool, other] * 10, copies, strict=True))
        )
        [first] = [result for result in results if isinstance(result, Stored)]
        assert results.count(Duplicate(first.id)) == 19
        assert len((await take(spool, 50)).leases) == 1

    async def test_a_key_belongs_to_its_endpoint(self, spool: Spool) -> None:
        await stored(spool, verified())
        assert await spool.put(verified(endpoint="snap", event_id="e2")) == Stored("e2")

    async def test_the_same_key_with_other_content_names_the_first(self, spool: Spool) -> None:
        first = await stored(spool, verified(body=b"1"))
        assert await spool.put(verified(body=b"2", event_id="b")) == Stored("b", first)
        assert await spool.put(verified(body=b"3", event_id="c")) == Stored("c", first)
        assert await spool.put(verified(body=b"2")) == Duplicate("b")
        assert await spool.put(verified(body=b"1")) == Duplicate(first)
        assert [lease.event.conflicts_with for lease in (await take(spool)).leases] == [
            None,
            first,
            first,
        ]

    async def test_a_conflict_that_is_to_be_refused_is_not_stored(self, spool: Spool) -> None:
        refuse = OnConflict.REFUSE
        first = await stored(spool, verified(body=b"1", on_conflict=refuse))
        assert await spool.put(verified(body=b"2", on_conflict=refuse)) == Conflict(first)
        assert await spool.put(verified(body=b"1", on_conflict=refuse)) == Duplicate(first)
        assert len((await spool.page(Query())).records) == 1

    async def test_known_content_is_a_duplicate_even_where_conflicts_are_refused(
        self, spool: Spool
    ) -> None:
        await stored(spool, verified(body=b"1"))
        second = await stored(spool, verified(body=b"2"))
        again = verified(body=b"2", on_conflict=OnConflict.REFUSE)
        assert await spool.put(again) == Duplicate(second)

    async def test_what_is_restated_under_another_key_is_a_duplicate(self, spool: Spool) -> None:
        first = await stored(spool, verified(key="a", restated=b"same"))
        assert await spool.put(verified(key="b", restated=b"same")) == Duplicate(first)
        assert isinstance(await spool.put(verified(key="b", restated=b"other")), Stored)
        elsewhere = verified(key="b", restated=b"same", endpoint="snap")
        assert isinstance(await spool.put(elsewhere), Stored)
        assert isinstance(await spool.put(verified(key="c")), Stored)
        assert isinstance(await spool.put(verified(key="d")), Stored)

    async def test_a_known_key_weighs_more_than_what_is_restated(self, spool: Spool) -> None:
        refuse = OnConflict.REFUSE
        await stored(spool, verified(key="a", body=b"1", restated=b"1"))
        second = await stored(spool, verified(key="b", body=b"2", restated=b"2"))
        mixed = verified(key="b", body=b"1", restated=b"1", on_conflict=refuse)
        assert await spool.put(mixed) == Conflict(second)

    async def test_restating_is_no_conflict(self, spool: Spool) -> None:
        first = await stored(spool, verified(key="a", body=b"1", restated=b"1"))
        await stored(spool, verified(key="b", body=b"2", restated=b"2"))
        assert await spool.put(verified(key="b", body=b"1", restated=b"1")) == Duplicate(first)

    async def test_an_opening_event_after_a_later_state_is_out_of_order(self, spool: Spool) -> None:
        late = verified(key="pending", subject="tx", opening=True, event_id="late")
        await stored(spool, verified(key="settled", subject="tx"))
        assert await spool.put(late) == Stored("late", None, out_of_order=True)
        assert [lease.event.out_of_order for lease in (await take(spool)).leases] == [False, True]

    @pytest.mark.parametrize(
        "before",
        [
            verified(key="other", subject="other"),
            verified(key="opening", subject="tx", opening=True),
            verified(key="elsewhere", subject="tx", endpoint="snap"),
            verified(key="none"),
        ],
        ids=lambda event: event.verification.key,
    )
    async def test_an_opening_event_is_in_order_after_anything_else(
        self, spool: Spool, before: VerifiedDelivery
    ) -> None:
        await stored(spool, before)
        late = verified(key="pending", subject="tx", opening=True, event_id="late")
        assert await spool.put(late) == Stored("late")

    async def test_a_test_message_is_kept_and_never_claimed(self, spool: Spool) -> None:
        event_id = await stored(spool, verified(test=True))
        assert (await record(spool, event_id)).status is Status.TEST
        assert await take(spool) == Claimed((), None)
        assert (await spool.requeue(Query(ids=(event_id,)))).ids == ()
        assert await spool.put(verified(test=True)) == Duplicate(event_id)

    async def test_a_put_whose_caller_is_gone_can_be_repeated(self, spool: Spool) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(spool.put(verified(key=str(n)))) for n in range(20)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
        for number in range(20):
            assert isinstance(await spool.put(verified(key=str(number))), Stored | Duplicate)
        assert len((await take(spool, 50)).leases) == 20

    async def test_an_event_that_fails_leaves_its_neighbours_alone(self, spool: Spool) -> None:
        await stored(spool, verified(key="0", event_id="taken"))
        results = await asyncio.gather(
            spool.put(verified(key="1", event_id="one")),
            spool.put(verified(key="2", event_id="taken")),
            spool.put(verified(key="3", event_id="three")),
            return_exceptions=True,
        )
        assert [results[0], results[2]] == [Stored("one"), Stored("three")]
        assert isinstance(results[1], SpoolUnavailable)

    async def test_a_put_without_a_task_is_called_back_once(self, spool: Spool) -> None:
        answers: asyncio.Queue[PutResult | SpoolUnavailable] = asyncio.Queue()
        spool.put_nowait(verified(event_id="a"), answers.put_nowait)
        spool.put_nowait(verified(event_id="b"), answers.put_nowait)
        assert answers.empty()
        found = [await asyncio.wait_for(answers.get(), 5) for _ in range(2)]
        assert found == [Stored("a"), Duplicate("a")]
        await spool.probe()
        assert answers.empty()

    async def test_a_put_that_is_withdrawn_is_not_called_back(self, spool: Spool) -> None:
        answers: list[object] = []
        spool.put_nowait(verified(key="1"), answers.append).withdraw()
        await stored(spool, verified(key="2"))
        await spool.probe()
        assert answers == []

    async def test_a_closed_spool_takes_nothing_without_a_task(
        self, opener: Opener, clock: ManualClock
    ) -> None:
        spool = await opener(clock)
        await spool.close()
        with pytest.raises(SpoolUnavailable, match="closed"):
            spool.put_nowait(verified(), lambda _: None)
        with pytest.raises(SpoolUnavailable, match="closed"):
            spool.settle_all([], lambda _: None)

    # ---- record -------------------------------------------------------------------------------

    async def test_what_was_passed_on_is_history(self, spool: Spool) -> None:
        event = verified(subject="tx", body=b"\x00\xff", ambiguous=True)
        await spool.record_proxied([passed(spool, event, Unreachable("timeout"))])
        found = await spool.get(event.event_id)
        assert found is not None
        assert found[0] == Record(
            id=event.event_id,
            endpoint="midtrans",
            provider="midtrans",
            status=Status.PASSED,
            key="order-1",
            subject="tx",
            received_at=RECEIVED,
            attempts=1,
            upstream="billing",
            due_at=None,
            settled_at=RECEIVED + timedelta(seconds=1),
            last_outcome="unreachable timeout",
            conflicts_with=None,
            out_of_order=False,
            client="103.208.23.6",
            destinations=(
                Destination(
                    "billing",
                    Status.PASSED,
                    1,
                    settled_at=RECEIVED + timedelta(seconds=1),
                    last_outcome="unreachable timeout",
                ),
            ),
        )
        assert found[1] is not None
        assert found[1].body == b"\x00\xff"
        assert found[1].signed == ("order_id", "status_code", "gross_amount", "ambiguous")

    async def test_copies_that_were_passed_on_are_each_recorded(self, spool: Spool) -> None:
        copies = [verified(event_id=f"e{number}") for number in range(3)]
        await spool.record_proxied(
            [passed(spool, copies[0], Rejected(404)), passed(spool, copies[1])]
        )
        await spool.record_proxied([passed(spool, copies[2])])
        page = await spool.page(Query(status=Status.PASSED))
        assert [each.id for each in page.records] == ["e2", "e1", "e0"]
        assert page.records[-1].last_outcome == "rejected 404"
        assert (await spool.stats()).events == {("midtrans", Status.PASSED): 3}

    async def test_recording_again_changes_nothing(self, spool: Spool) -> None:
        await spool.record_proxied([passed(spool, verified(event_id="e1"))])
        again = verified(event_id="e1"), verified(event_id="e2")
        await spool.record_proxied([passed(spool, each, Rejected(404)) for each in again])
        outcomes = [each.last_outcome for each in (await spool.page(Query())).records]
        assert outcomes == ["rejected 404", "delivered 200"]

    async def test_recording_takes_all_or_none(self, spool: Spool) -> None:
        unspeakable = verified(key="half a surrogate pair \ud800")
        with pytest.raises(ValueError, match="surrogates"):
            await spool.record_proxied([passed(spool, verified()), passed(spool, unspeakable)])
        assert (await spool.page(Query())).records == ()

    async def test_recording_nothing_is_fine(self, spool: Spool) -> None:
        await spool.record_proxied([])

    async def test_what_was_passed_on_is_not_work(self, spool: Spool, clock: ManualClock) -> None:
        event = verified(subject="tx")
        waiting = asyncio.ensure_future(spool.wait_for_work("billing", 0.5))
        await clock.advance(0)
        await spool.record_proxied([passed(spool, event, Rejected(500))])
        assert not waiting.done()
        assert await take(spool) == Claimed((), None)
        assert (await spool.requeue(Query(ids=(event.event_id,)))).ids == ()
        assert (await spool.requeue(Query(status=Status.PASSED))).ids == ()
        assert (await spool.stats()).oldest_pending == {}
        await stored(spool, verified(key="2", subject="tx"))
        assert len((await take(spool, ordered=True)).leases) == 1
        await clock.advance(0.5)
        await waiting

    async def test_what_was_passed_on_makes_nothing_a_duplicate(self, spool: Spool) -> None:
        """The upstream may have refused it, and its sender then comes again in good faith."""
        await spool.record_proxied([passed(spool, verified(body=b"1"), Rejected(500))])
        assert await spool.put(verified(body=b"1", event_id="same")) == Stored("same")
        await spool.record_proxied([passed(spool, verified(body=b"1"))])
        assert await spool.put(verified(body=b"1")) == Duplicate("same")

    @pytest.mark.parametrize("on_conflict", list(OnConflict))
    async def test_what_was_passed_on_is_in_conflict_with_nothing(
        self, spool: Spool, on_conflict: OnConflict
    ) -> None:
        await spool.record_proxied([passed(spool, verified(body=b"1"))])
        event = verified(body=b"2", event_id="e2", on_conflict=on_conflict)
        assert await spool.put(event) == Stored("e2")
        third = verified(body=b"3", event_id="e3", on_conflict=on_conflict)
        refused = on_conflict is OnConflict.REFUSE
        assert await spool.put(third) == (Conflict("e2") if refused else Stored("e3", "e2"))

    async def test_what_was_passed_on_puts_nothing_out_of_order(self, spool: Spool) -> None:
        await spool.record_proxied([passed(spool, verified(key="settled", subject="tx"))])
        late = verified(key="pending", subject="tx", opening=True, event_id="late")
        assert await spool.put(late) == Stored("late")

    async def test_what_was_passed_on_is_pruned_like_what_was_delivered(self, spool: Spool) -> None:
        event = verified()
        await spool.record_proxied([passed(spool, event)])
        before, after = RECEIVED, RECEIVED + timedelta(microseconds=1)
        assert await spool.prune(after, before, 10) == 1
        found = await spool.get(event.event_id)
        assert found is not None
        assert found[1] is None
        assert await spool.prune(after, after, 10) == 1
        assert await spool.get(event.event_id) is None

    # ---- claim --------------------------------------------------------------------------------

    async def test_a_new_event_is_due_at_once(self, spool: Spool, clock: ManualClock) -> None:
        await stored(spool, verified())
        lease = await take_one(spool)
        assert (lease.attempt, lease.round_attempt) == (1, 1)
        assert (lease.round_started_at, lease.until) == (RECEIVED, clock.now() + LEASE)

    async def test_events_come_out_in_order_of_receipt(self, spool: Spool) -> None:
        put = [await stored(spool, verified(key=str(number))) for number in range(7)]
        assert ids(await take(spool, 4)) == put[:4]
        assert ids(await take(spool, 4)) == put[4:]

    async def test_an_upstream_is_given_its_own_events(self, spool: Spool) -> None:
        await stored(spool, verified(upstream="stock"))
        assert await take(spool) == Claimed((), None)

    async def test_no_event_is_handed_out_twice(self, spool: Spool, other: Spool) -> None:
        put = [await stored(spool, verified(key=str(number))) for number in range(40)]
        claims = await asyncio.gather(*(take(each, 7) for each in [spool, other] * 5))
        assert sorted(i for claimed in claims for i in ids(claimed)) == sorted(put)

    async def test_an_expired_lease_is_handed_over_once(
        self, spool: Spool, other: Spool, clock: ManualClock
    ) -> None:
        await stored(spool, verified())
        await take_one(spool)
        await clock.advance(29)
        assert (await take(other)).leases == ()
        await clock.advance(1)
        claims = await asyncio.gather(take(spool), take(other), take(spool), take(other))
        [lease] = [lease for claimed in claims for lease in claimed.leases]
        assert (lease.attempt, lease.round_attempt) == (2, 2)

    async def test_a_limit_counts_expired_leases_in_their_order(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        put = [await stored(spool, verified(key=str(number))) for number in range(4)]
        await take(spool, 2)
        await clock.advance(30)
        assert ids(await take(spool, 3)) == put[:3]

    @pytest.mark.parametrize("ordered", [False, True])
    async def test_the_next_due_time_is_that_of_what_is_left(
        self, spool: Spool, clock: ManualClock, *, ordered: bool
    ) -> None:
        now = clock.now()
        for number in range(3):
            await stored(spool, verified(key=str(number)))
        lease = await take_one(spool, ordered=ordered)
        await spool.settle(lease, RetryAt(now + timedelta(minutes=1)), Rejected(503))
        claimed = await take(spool, 1, ordered=ordered)
        assert claimed.next_due == now
        claimed = await take(spool, 1, ordered=ordered)
        assert claimed.next_due == now + LEASE
        await clock.advance(60)
        assert (await take(spool, ordered=ordered)).next_due is None

    # ---- settle and release -------------------------------------------------------------------

    async def test_a_delivered_event_is_done(self, spool: Spool, clock: ManualClock) -> None:
        event_id = await stored(spool, verified())
        await clock.advance(1)
        await finish(spool)
        after = await record(spool, event_id)
        assert (after.status, after.attempts) == (Status.DELIVERED, 1)
        assert (after.last_outcome, after.settled_at) == ("delivered 200", clock.now())
        assert after.due_at is None
        assert await take(spool) == Claimed((), None)

    async def test_a_retry_is_due_at_its_time(self, spool: Spool, clock: ManualClock) -> None:
        event_id = await stored(spool, verified())
        due = clock.now() + timedelta(seconds=5)
        await finish(spool, RetryAt(due), Rejected(503))
        waiting = await record(spool, event_id)
        assert (waiting.status, waiting.due_at) == (Status.PENDING, due)
        assert (waiting.last_outcome, waiting.settled_at) == ("rejected 503", None)
        await clock.advance(4)
        assert await take(spool) == Claimed((), due)
        await clock.advance(1)
        lease = await take_one(spool)
        assert (lease.attempt, lease.round_attempt, lease.round_started_at) == (2, 2, RECEIVED)

    async def test_a_dead_event_is_not_tried_again(self, spool: Spool) -> None:
        event_id = await stored(spool, verified())
        await finish(spool, Dead(), Unreachable("refused"))
        after = await record(spool, event_id)
        assert (after.status, after.last_outcome) == (Status.DEAD, "unreachable refused")
        assert await take(spool) == Claimed((), None)

    async def test_a_held_event_waits_for_a_person_and_may_be_requeued(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        event_id = await stored(spool, verified())
        await finish(spool, Held(), Unconfirmed("gross_amount differs", final=True))
        after = await record(spool, event_id)
        assert (after.status, after.settled_at) == (Status.HELD, clock.now())
        assert (after.due_at, after.last_outcome) == (None, "unconfirmed gross_amount differs")
        assert await take(spool) == Claimed((), None)
        assert (await spool.requeue(Query(ids=(event_id,)))).ids == (event_id,)
        assert (await take_one(spool)).round_attempt == 1

    async def test_what_was_reconciled_and_what_was_delivered_are_one_event(
        self, spool: Spool
    ) -> None:
        learnt = replace(verified(key="a", body=b"1"), reconciled=True)
        event_id = await stored(spool, learnt)
        assert (await record(spool, event_id)).reconciled
        assert (await take_one(spool)).event.reconciled
        assert await spool.put(verified(key="a", body=b"2")) == Duplicate(event_id)
        again = replace(verified(key="a", body=b"3"), reconciled=True)
        assert await spool.put(again) == Duplicate(event_id)
        came = await stored(spool, verified(key="b", body=b"1"))
        late = replace(verified(key="b", body=b"2"), reconciled=True)
        assert await spool.put(late) == Duplicate(came)
        assert not (await record(spool, came)).reconciled
        elsewhere = replace(verified(key="b", endpoint="other"), reconciled=True)
        assert isinstance(await spool.put(elsewhere), Stored)

    @pytest.mark.parametrize("confirm", [False, True])
    async def test_an_event_knows_whether_its_provider_is_to_be_asked(
        self, spool: Spool, confirm: bool
    ) -> None:
        delivery = replace(verified(), confirm=confirm)
        event_id = await stored(spool, delivery)
        found = await spool.get(event_id)
        assert found is not None
        assert found[1] == event_of(delivery)
        assert (await take_one(spool)).event.confirm is confirm

    async def test_a_lost_lease_cannot_settle(
        self, spool: Spool, other: Spool, clock: ManualClock
    ) -> None:
        event_id = await stored(spool, verified())
        lost = await take_one(spool)
        await clock.advance(30)
        held = await take_one(other)
        with pytest.raises(LeaseLost):
            await spool.settle(lost, Done(), Delivered(200))
        with pytest.raises(LeaseLost):
            await spool.release(lost)
        assert (await record(spool, event_id)).status is Status.LEASED
        await other.settle(held, Done(), Delivered(204))
        assert (await record(spool, event_id)).last_outcome == "delivered 204"

    async def test_a_lease_settles_once(self, spool: Spool, clock: ManualClock) -> None:
        await stored(spool, verified())
        lease = await take_one(spool)
        await spool.settle(lease, RetryAt(clock.now()), Rejected(500))
        with pytest.raises(LeaseLost):
            await spool.settle(lease, Done(), Delivered(200))

    async def test_several_are_settled_together_and_each_is_told(
        self, spool: Spool, other: Spool, clock: ManualClock
    ) -> None:
        put = [await stored(spool, verified(key=str(number))) for number in range(4)]
        leases = (await take(spool)).leases
        await spool.release(leases[1])
        [again] = (await take(other)).leases
        due = clock.now() + timedelta(seconds=5)
        told: asyncio.Future[Sequence[bool] | SpoolUnavailable] = asyncio.Future()
        spool.settle_all(
            [
                Settlement(leases[0], Done(), Delivered(200), took=1200),
                Settlement(leases[1], Done(), Delivered(200)),
                Settlement(leases[2], RetryAt(due), Rejected(503), answer=b"later"),
                Settlement(leases[3], Held(), Unconfirmed("not found"), reason="not confirmed"),
            ],
            told.set_result,
        )
        assert await asyncio.wait_for(told, 5) == [True, False, True, True]
        statuses = [(await record(spool, event_id)).status for event_id in put]
        assert statuses == [Status.DELIVERED, Status.LEASED, Status.PENDING, Status.HELD]
        await other.settle(again, Done(), Delivered(200))

    async def test_no_two_leases_have_the_same_token(
        self, spool: Spool, other: Spool, clock: ManualClock
    ) -> None:
        for number in range(4):
            await stored(spool, verified(key=str(number)))
        leases = [*(await take(spool, 2)).leases, *(await take(other, 2)).leases]
        for lease in leases:
            await spool.release(lease)
        leases += (await take(other)).leases
        assert len({lease.token for lease in leases}) == 8

    async def test_a_late_outcome_counts_while_nobody_else_has_the_event(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        event_id = await stored(spool, verified())
        lease = await take_one(spool)
        await clock.advance(31)
        await spool.settle(lease, Done(), Delivered(200))
        assert (await record(spool, event_id)).status is Status.DELIVERED

    async def test_a_released_event_is_as_if_it_had_not_been_claimed(self, spool: Spool) -> None:
        event_id = await stored(spool, verified())
        await spool.release(await take_one(spool))
        after = await record(spool, event_id)
        assert (after.status, after.attempts) == (Status.PENDING, 0)
        assert (await take_one(spool)).attempt == 1

    async def test_a_released_event_may_be_put_off_and_has_all_its_time(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        event_id = await stored(spool, verified())
        due = clock.now() + timedelta(seconds=5)
        await clock.advance(2)
        await spool.release(await take_one(spool), due)
        after = await record(spool, event_id)
        assert (after.status, after.attempts, after.due_at) == (Status.PENDING, 0, due)
        assert (after.last_outcome, after.settled_at) == (None, None)
        assert await take(spool) == Claimed((), due)
        await clock.advance(3)
        lease = await take_one(spool)
        assert (lease.attempt, lease.round_attempt) == (1, 1)
        assert lease.round_started_at == RECEIVED + timedelta(seconds=3)
        await spool.release(lease, RECEIVED)
        assert (await take_one(spool)).round_started_at == RECEIVED + timedelta(seconds=3)

    async def test_a_released_lease_is_worth_nothing(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        await stored(spool, verified())
        released = await take_one(spool)
        await spool.release(released)
        await clock.advance(0.001)
        held = await take_one(spool)
        assert held.attempt == released.attempt
        with pytest.raises(LeaseLost):
            await spool.settle(released, Done(), Delivered(200))
        await spool.settle(held, Done(), Delivered(200))

    async def test_a_claim_whose_caller_is_gone_takes_nothing(self, spool: Spool) -> None:
        await stored(spool, verified())
        for turns in range(6):
            claiming = asyncio.ensure_future(take(spool))
            for _ in range(turns):
                await asyncio.sleep(0)
            claiming.cancel()
            with pytest.raises(asyncio.CancelledError):
                await claiming
        assert (await take_one(spool)).attempt == 1

    async def test_a_probe_changes_nothing_that_anybody_sees(self, spool: Spool) -> None:
        await stored(spool, verified())
        before = await spool.stats()
        await spool.probe()
        await spool.probe()
        after = await spool.stats()
        assert (after.events, after.oldest_pending) == (before.events, before.oldest_pending)

    # ---- events that are handed over as they are stored -----------------------------------------

    async def test_an_event_with_a_seat_is_handed_over_and_needs_no_claim(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        table = CountingHandoff(1)
        spool.subscribe("billing", table)
        event = verified(subject="tx")
        assert await spool.put(event) == Stored(event.event_id)
        # Whoever put it goes first.
        assert table.taken == []
        await asyncio.sleep(0)
        [lease] = table.taken
        assert lease.event == event_of(event)
        assert (lease.attempt, lease.round_attempt) == (1, 1)
        assert lease.round_started_at == clock.steady()
        assert lease.until == clock.steady() + CountingHandoff.LEASE
        assert (await take(spool)).leases == ()
        await spool.settle(lease, Done(), Delivered(200))
        assert (await record(spool, event.event_id)).status is Status.DELIVERED

    async def test_without_a_seat_an_event_waits_to_be_claimed(self, spool: Spool) -> None:
        table = CountingHandoff(0)
        spool.subscribe("billing", table)
        await stored(spool, verified())
        spool.subscribe("billing", None)
        await stored(spool, verified(key="later"))
        assert table.taken == []
        assert len((await take(spool)).leases) == 2

    async def test_a_lease_that_was_handed_over_runs_out_like_any_other(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        table = CountingHandoff(1)
        spool.subscribe("billing", table)
        first = await stored(spool, verified())
        await asyncio.sleep(0)
        await clock.advance(CountingHandoff.LEASE.total_seconds())
        lease = await take_one(spool)
        assert (lease.event.id, lease.attempt) == (first, 2)
        with pytest.raises(LeaseLost):
            await spool.settle(table.taken[0], Done(), Delivered(200))

    async def test_a_seat_is_left_by_what_is_not_stored(self, spool: Spool) -> None:
        table = CountingHandoff(3)
        await stored(spool, verified(on_conflict=OnConflict.REFUSE))
        spool.subscribe("billing", table)
        assert isinstance(await spool.put(verified()), Duplicate)
        other = verified(body=b"other", on_conflict=OnConflict.REFUSE)
        assert isinstance(await spool.put(other), Conflict)
        await stored(spool, verified(key="test", test=True))
        await asyncio.sleep(0)
        assert (table.seats.free, table.seats.reserved, table.taken) == (3, 0, [])
        assert table.cancellations == 2

    async def test_an_event_whose_putter_is_gone_is_handed_over_or_left(self, spool: Spool) -> None:
        table = CountingHandoff(1)
        spool.subscribe("billing", table)
        putting = asyncio.ensure_future(spool.put(verified()))
        await asyncio.sleep(0)
        putting.cancel()
        await asyncio.gather(putting, return_exceptions=True)
        await spool.probe()
        assert table.seats.free + len(table.taken) == 1
        assert table.seats.reserved == 0

    async def test_what_is_refused_is_due_again_as_if_it_had_not_been_leased(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        table = CountingHandoff(2, refuses=True)
        spool.subscribe("billing", table)
        await stored(spool, verified())
        await take(spool)
        await asyncio.wait_for(spool.wait_for_work("billing", 3600), 5)
        assert len(table.taken) == 1
        assert table.seats.reserved == 0
        lease = await take_one(spool)
        assert (lease.event, lease.attempt) == (table.taken[0].event, 1)
        with pytest.raises(LeaseLost):
            await spool.settle(table.taken[0], Done(), Delivered(200))

    async def test_the_spool_counts_seats_down_and_says_when_there_was_none(
        self, spool: Spool
    ) -> None:
        table = CountingHandoff(2)
        spool.subscribe("billing", table)
        puts = [spool.put_nowait(verified(key=str(n)), lambda _: None) for n in range(2)]
        assert (table.seats.free, table.seats.reserved, table.seats.missed) == (0, 2, False)
        puts.append(spool.put_nowait(verified(key="2"), lambda _: None))
        assert table.seats.missed
        await spool.probe()
        await asyncio.sleep(0)
        assert (len(table.taken), table.seats.reserved) == (2, 0)
        assert len((await take(spool)).leases) == 1

    # ---- after a crash --------------------------------------------------------------------------

    async def test_what_an_ended_process_had_in_hand_is_due_at_once(
        self, opener: Opener, clock: ManualClock
    ) -> None:
        first = await opener(clock)
        assert await first.recover(HORIZON) == 0
        event = await stored(first, verified())
        await take_one(first)
        await first.close()
        second = await opener(clock)
        assert await second.recover(HORIZON) == 1
        lease = await take_one(second)
        assert (lease.event.id, lease.attempt) == (event, 2)
        await second.close()

    async def test_what_a_living_process_has_in_hand_is_left_to_it(
        self, spool: Spool, other: Spool
    ) -> None:
        await spool.recover(HORIZON)
        await stored(spool, verified())
        lease = await take_one(spool)
        assert await other.recover(HORIZON) == 0
        assert (await take(other)).leases == ()
        await spool.settle(lease, Done(), Delivered(200))

    async def test_an_event_that_a_wrong_clock_put_off_is_due_at_once(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        await stored(spool, verified())
        await finish(spool, RetryAt(clock.steady() + HORIZON * 2))
        await stored(spool, verified(key="soon"))
        await finish(spool, RetryAt(clock.steady() + HORIZON / 2))
        assert await spool.recover(HORIZON) == 1
        assert (await take_one(spool)).event.key == "order-1"
        assert (await take(spool)).leases == ()

    @pytest.mark.parametrize("off", [-365, 0, 365], ids="{} days".format)
    async def test_an_event_is_as_old_as_when_it_fell_due_before(
        self, opener: Opener, clock: ManualClock, off: int
    ) -> None:
        """Neither a time without anybody to serve it nor a clock that was wrong makes it older."""
        before = ManualClock(clock.now() + timedelta(days=off))
        first = await opener(before)
        await stored(first, verified())
        await before.advance(60)
        await finish(first, RetryAt(before.steady() + timedelta(seconds=30)))
        await first.close()
        await clock.advance(86_400)
        second = await opener(clock)
        await second.recover(HORIZON)
        began = clock.steady()
        await clock.advance(10)
        lease = await take_one(second)
        assert lease.round_started_at == began - timedelta(seconds=90)
        await second.settle(lease, RetryAt(clock.steady()), Rejected(500))
        assert (await take_one(second)).round_started_at == lease.round_started_at
        await second.close()

    async def test_setting_the_wall_clock_moves_no_due_time(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        await stored(spool, verified())
        await finish(spool, RetryAt(clock.steady() + timedelta(minutes=1)))
        clock.jump(timedelta(days=365))
        assert (await take(spool)).leases == ()
        clock.jump(-timedelta(days=730))
        await clock.advance(60)
        assert len((await take(spool)).leases) == 1

    # ---- order --------------------------------------------------------------------------------

    async def test_order_holds_back_what_follows_an_unfinished_event(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        first = await stored(spool, verified(key="1", subject="a"))
        second = await stored(spool, verified(key="2", subject="a"))
        third = await stored(spool, verified(key="3", subject="a"))
        apart = await stored(spool, verified(key="4", subject="b"))
        claimed = await take(spool, ordered=True)
        assert ids(claimed) == [first, apart]
        assert (await take(spool, ordered=True)).leases == ()
        due = clock.now() + timedelta(seconds=5)
        await spool.settle(claimed.leases[0], RetryAt(due), Rejected(500))
        assert (await take(spool, ordered=True)).leases == ()
        await clock.advance(5)
        again = await take_one(spool, ordered=True)
        assert again.event.id == first
        await spool.settle(again, Done(), Delivered(200))
        lease = await take_one(spool, ordered=True)
        assert lease.event.id == second
        await spool.settle(lease, Dead(), Rejected(400))
        assert ids(await take(spool, ordered=True)) == [third]

    async def test_without_a_subject_order_goes_by_the_key(self, spool: Spool) -> None:
        first = await stored(spool, verified(key="1", body=b"1"))
        await stored(spool, verified(key="1", body=b"2"))
        named = await stored(spool, verified(key="2", subject="1"))
        assert ids(await take(spool, ordered=True)) == [first, named]

    async def test_endpoints_do_not_wait_for_each_other(self, spool: Spool) -> None:
        first = await stored(spool, verified(subject="a"))
        second = await stored(spool, verified(subject="a", endpoint="snap"))
        assert ids(await take(spool, ordered=True)) == [first, second]

    async def test_what_is_held_back_is_not_due(self, spool: Spool, clock: ManualClock) -> None:
        for number in range(3):
            await stored(spool, verified(key=str(number), subject="a"))
        await take_one(spool, ordered=True)
        claimed = await take(spool, ordered=True)
        assert claimed == Claimed((), clock.now() + LEASE)

    async def test_an_expired_lease_behind_a_requeued_event_waits_its_turn(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        first = await stored(spool, verified(key="1", subject="a"))
        second = await stored(spool, verified(key="2", subject="a"))
        await finish(spool, Dead(), Rejected(400))
        await take_one(spool, ordered=True)
        await spool.requeue(Query(ids=(first,)))
        await clock.advance(30)
        claimed = await take(spool, ordered=True)
        assert ids(claimed) == [first]
        await spool.settle(claimed.leases[0], Done(), Delivered(200))
        assert ids(await take(spool, ordered=True)) == [second]

    async def test_events_held_back_go_out_when_order_is_not_wanted_any_more(
        self, spool: Spool
    ) -> None:
        put = [await stored(spool, verified(key=str(n), subject="a")) for n in range(3)]
        assert ids(await take(spool, ordered=True)) == put[:1]
        assert ids(await take(spool, ordered=False)) == put[1:]

    async def test_claims_in_order_get_through_a_long_lane(self, spool: Spool) -> None:
        """A thousand events behind one must not hide what lies behind them."""
        await asyncio.gather(
            *(stored(spool, verified(key=str(number), subject="a")) for number in range(1100))
        )
        last = await stored(spool, verified(key="last", subject="b"))
        seen: list[str] = []
        for _ in range(4):
            claimed = await take(spool, ordered=True)
            seen += ids(claimed)
        assert len(seen) == 2
        assert seen[1] == last

    # ---- requeue ------------------------------------------------------------------------------

    async def test_a_requeued_event_starts_afresh(self, spool: Spool, clock: ManualClock) -> None:
        event_id = await stored(spool, verified())
        await finish(spool, RetryAt(clock.now()), Rejected(500))
        await finish(spool, Dead(), Rejected(500))
        await clock.advance(60)
        assert (await spool.requeue(Query(ids=(event_id,)))).ids == (event_id,)
        lease = await take_one(spool)
        assert (lease.attempt, lease.round_attempt, lease.round_started_at) == (3, 1, clock.now())

    async def test_only_finished_events_are_requeued(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        delivered = await stored(spool, verified(key="1"))
        await finish(spool)
        dead = await stored(spool, verified(key="2"))
        await finish(spool, Dead(), Rejected(400))
        leased = await stored(spool, verified(key="3"))
        await take_one(spool)
        pending = await stored(spool, verified(key="4"))
        everything = Query(ids=(delivered, dead, leased, pending, "unknown"))
        assert (await spool.requeue(everything)).ids == (delivered, dead)
        assert (await record(spool, leased)).status is Status.LEASED

    async def test_requeue_by_filter_takes_the_oldest_up_to_its_limit(self, spool: Spool) -> None:
        put = []
        for number in range(4):
            put.append(await stored(spool, verified(key=str(number))))
            await finish(spool, Dead(), Rejected(400))
        dead = Query(status=Status.DEAD, limit=3)
        assert (await spool.requeue(dead)).ids == tuple(put[:3])
        assert (await spool.requeue(dead)).ids == tuple(put[3:])
        assert (await spool.requeue(dead)).ids == ()

    async def test_what_nobody_would_deliver_is_not_requeued(self, spool: Spool) -> None:
        event_id = await stored(spool, verified())
        await finish(spool, Dead(), Rejected(400))
        left = Requeued(unserved=((event_id, "billing"),))
        for query in (Query(ids=(event_id,)), Query(status=Status.DEAD)):
            assert await spool.requeue(query, {"ledger"}) == left
            assert await spool.requeue(query, ()) == left
        assert (await record(spool, event_id)).status is Status.DEAD
        assert await spool.requeue(Query(status=Status.DEAD), {"billing"}) == Requeued((event_id,))

    async def test_requeueing_everything_by_accident_is_refused(self, spool: Spool) -> None:
        await stored(spool, verified())
        await finish(spool, Dead(), Rejected(400))
        with pytest.raises(ValueError, match="ids or a filter"):
            await spool.requeue(Query())
        assert await take(spool) == Claimed((), None)

    # ---- history ------------------------------------------------------------------------------

    async def test_pages_show_each_event_once_newest_first(self, spool: Spool) -> None:
        put = [await stored(spool, verified(key=str(number))) for number in range(7)]
        seen: list[str] = []
        after: str | None = None
        for number in range(3):
            page = await spool.page(Query(limit=3, after=after))
            seen += [each.id for each in page.records]
            after = page.next
            later = RECEIVED + timedelta(seconds=1 + number)
            await stored(spool, verified(key=f"new {number}", received_at=later))
        assert seen == put[::-1]
        assert after is None

    async def test_a_last_page_that_is_full_has_no_next(self, spool: Spool) -> None:
        for number in range(2):
            await stored(spool, verified(key=str(number)))
        assert (await spool.page(Query(limit=2))).next is None

    @pytest.mark.parametrize(
        ("query", "keys"),
        [
            (Query(), "54321"),
            (Query(status=Status.DEAD), "1"),
            (Query(status=Status.HELD), ""),
            (Query(endpoint="snap"), "3"),
            (Query(key="2"), "2"),
            (Query(key="2", endpoint="snap"), ""),
            (Query(status=Status.PENDING, endpoint="midtrans"), "542"),
            (Query(since=RECEIVED + timedelta(seconds=2)), "5432"),
            (Query(until=RECEIVED + timedelta(seconds=2)), "1"),
            (
                Query(since=RECEIVED + timedelta(seconds=2), until=RECEIVED + timedelta(seconds=4)),
                "32",
            ),
            (Query(ids=("e4", "e2", "e9")), "42"),
            (Query(ids=("e4", "e3"), endpoint="snap"), "3"),
        ],
    )
    async def test_a_filter_narrows(self, spool: Spool, query: Query, keys: str) -> None:
        for number in range(1, 6):
            await stored(
                spool,
                verified(
                    key=str(number),
                    endpoint="snap" if number == 3 else "midtrans",
                    event_id=f"e{number}",
                    received_at=RECEIVED + timedelta(seconds=number),
                ),
            )
            if number == 1:
                await finish(spool, Dead(), Rejected(400))
        assert "".join(each.key for each in (await spool.page(query)).records) == keys

    async def test_a_key_finds_what_was_proxied_and_what_is_in_conflict(self, spool: Spool) -> None:
        await spool.record_proxied([passed(spool, verified(event_id="a"))])
        await stored(spool, verified(body=b"1", event_id="b"))
        await stored(spool, verified(body=b"2", event_id="c"))
        await stored(spool, verified(endpoint="snap", event_id="d"))
        await stored(spool, verified(key="another"))
        page = await spool.page(Query(key="order-1"))
        assert [each.id for each in page.records] == ["d", "c", "b", "a"]

    @pytest.mark.parametrize("status", [Status.PENDING, Status.LEASED, Status.DEAD, Status.TEST])
    async def test_pages_of_a_status_go_on_where_the_last_one_has_ended(
        self, spool: Spool, status: Status
    ) -> None:
        test = status is Status.TEST
        put = [await stored(spool, verified(key=str(n), test=test)) for n in range(5)]
        if status in {Status.LEASED, Status.DEAD}:
            for lease in (await take(spool)).leases:
                if status is Status.DEAD:
                    await spool.settle(lease, Dead(), Rejected(400))
        seen: list[str] = []
        after: str | None = None
        for _ in range(3):
            page = await spool.page(Query(status=status, limit=2, after=after))
            assert {each.status for each in page.records} == {status}
            seen += [each.id for each in page.records]
            after = page.next
        assert (seen, after) == (put[::-1], None)

    @pytest.mark.parametrize("query", [Query(after="x"), Query(after="1-"), Query(limit=0)])
    async def test_an_improper_query_is_refused(self, spool: Spool, query: Query) -> None:
        with pytest.raises(ValueError, match=r"page|limit"):
            await spool.page(query)

    async def test_an_unknown_event_is_none(self, spool: Spool) -> None:
        assert await spool.get("unknown") is None

    async def test_a_record_tells_the_history(self, spool: Spool, clock: ManualClock) -> None:
        event_id = await stored(spool, verified(subject="tx"))
        assert await record(spool, event_id) == Record(
            id=event_id,
            endpoint="midtrans",
            provider="midtrans",
            status=Status.PENDING,
            key="order-1",
            subject="tx",
            received_at=RECEIVED,
            attempts=0,
            upstream="billing",
            due_at=clock.now(),
            settled_at=None,
            last_outcome=None,
            conflicts_with=None,
            out_of_order=False,
            client="103.208.23.6",
            destinations=(Destination("billing", Status.PENDING, 0, due_at=clock.now()),),
        )

    # ---- tokens in bodies ---------------------------------------------------------------------

    async def test_a_token_reaches_the_upstream_and_goes_once_it_is_delivered(
        self, spool: Spool
    ) -> None:
        event_id = await stored(spool, LINKED)
        lease = await take_one(spool)
        assert (lease.event.body, lease.event.tokens) == (LINKED.delivery.body, POINTERS)
        await spool.settle(lease, RetryAt(lease.until), Rejected(500))
        found = await spool.get(event_id)
        assert found is not None
        assert found[1] is not None
        assert found[1].body == LINKED.delivery.body
        assert await spool.expire_tokens(RECEIVED, 10) == 0
        await spool.requeue(Query(ids=(event_id,)))
        await spool.recover(timedelta(0))
        await finish(spool)
        assert await masked_event(spool, event_id)
        assert await spool.expire_tokens(RECEIVED + timedelta(days=1), 10) == 0

    async def test_what_was_masked_before_it_was_stored_is_told(self, spool: Spool) -> None:
        event_id = await stored(spool, verified(body=b'{"t":"***"}', redacted=("/t",)))
        lease = await take_one(spool)
        assert (lease.event.tokens, lease.event.redacted) == ((), ("/t",))
        await spool.settle(lease, Done(), Delivered(200))
        found = await spool.get(event_id)
        assert found is not None
        assert found[1] is not None
        assert (found[1].body, found[1].redacted) == (b'{"t":"***"}', ("/t",))

    async def test_what_was_handed_over_has_its_tokens_too(self, spool: Spool) -> None:
        handoff = CountingHandoff(1)
        spool.subscribe("billing", handoff)
        event_id = await stored(spool, LINKED)
        await spool.probe()
        spool.subscribe("billing", None)
        [lease] = handoff.taken
        assert (lease.event.body, lease.event.tokens) == (LINKED.delivery.body, POINTERS)
        await spool.settle(lease, Done(), Delivered(200))
        assert await masked_event(spool, event_id)
        assert event_of(verified()).tokens == ()

    @pytest.mark.parametrize("decision", [None, Dead(), Held()])
    async def test_a_token_goes_in_time_whatever_became_of_its_event(
        self, spool: Spool, decision: Decision | None
    ) -> None:
        event_id = await stored(spool, LINKED)
        await stored(spool, verified(key="other"))
        if decision is not None:
            lease = await take_one(spool)
            assert lease.event.id == event_id
            await spool.settle(lease, decision, Rejected(500))
        assert await spool.expire_tokens(RECEIVED + timedelta(seconds=1), 10) == 1
        assert await masked_event(spool, event_id)
        assert await spool.expire_tokens(RECEIVED + timedelta(seconds=1), 10) == 0
        # It can be delivered still, and a copy is a copy still.
        await spool.requeue(Query(ids=(event_id,)))
        leases = (await take(spool)).leases
        assert [each.event.redacted for each in leases if each.event.id == event_id] == [POINTERS]
        assert isinstance(await spool.put(LINKED), Duplicate)

    async def test_so_many_tokens_go_at_a_time(self, spool: Spool) -> None:
        for number in range(3):
            await stored(
                spool,
                replace(
                    LINKED,
                    event_id=f"e{number}",
                    verification=replace(LINKED.verification, key=str(number)),
                ),
            )
        late = RECEIVED + timedelta(seconds=1)
        assert [await spool.expire_tokens(late, 2) for _ in range(3)] == [2, 1, 0]

    async def test_what_is_passed_on_keeps_no_token(self, spool: Spool) -> None:
        await spool.record_proxied([passed(spool, LINKED)])
        assert await masked_event(spool, LINKED.event_id)

    # ---- prune --------------------------------------------------------------------------------

    async def test_bodies_go_first_and_keys_later(self, spool: Spool) -> None:
        event_id = await stored(spool, verified())
        await finish(spool)
        before, after = RECEIVED, RECEIVED + timedelta(microseconds=1)
        assert await spool.prune(before, before, 10) == 0
        assert await spool.prune(after, before, 10) == 1
        assert await spool.prune(after, before, 10) == 0
        found = await spool.get(event_id)
        assert found is not None
        assert found[1] is None
        assert (await spool.requeue(Query(ids=(event_id,)))).ids == ()
        assert await spool.put(verified()) == Duplicate(event_id)
        assert await spool.prune(after, after, 10) == 1
        assert await spool.get(event_id) is None
        assert isinstance(await spool.put(verified()), Stored)

    async def test_unfinished_and_dead_events_are_never_pruned(self, spool: Spool) -> None:
        dead = await stored(spool, verified(key="dead"))
        await finish(spool, Dead(), Rejected(400))
        leased = await stored(spool, verified(key="leased"))
        await take_one(spool)
        pending = await stored(spool, verified(key="pending"))
        await stored(spool, verified(key="test", test=True))
        late = RECEIVED + timedelta(days=400)
        assert await spool.prune(late, late, 10) == 1
        for event_id in (dead, leased, pending):
            found = await spool.get(event_id)
            assert found is not None
            assert found[1] is not None

    async def test_what_is_left_of_a_conflict_is_known_when_the_first_is_pruned(
        self, spool: Spool
    ) -> None:
        first = await stored(spool, verified(body=b"1"))
        await finish(spool)
        second = await stored(spool, verified(body=b"2"))
        late = RECEIVED + timedelta(days=400)
        assert await spool.prune(RECEIVED, late, 10) == 1
        assert await spool.get(first) is None
        assert await spool.put(verified(body=b"2")) == Duplicate(second)
        refuse = OnConflict.REFUSE
        assert await spool.put(verified(body=b"3", on_conflict=refuse)) == Conflict(second)
        assert await spool.put(verified(body=b"1", event_id="c")) == Stored("c", second)
        keys = [each.id for each in (await spool.page(Query(key="order-1"))).records]
        assert keys == ["c", second]

    async def test_a_later_state_counts_until_the_newest_is_pruned(self, spool: Spool) -> None:
        await stored(spool, verified(key="1", subject="tx"))
        await finish(spool)
        await stored(spool, verified(key="2", subject="tx"))
        late = RECEIVED + timedelta(days=400)
        assert await spool.prune(RECEIVED, late, 10) == 1
        initial = verified(key="3", subject="tx", opening=True, event_id="a")
        assert await spool.put(initial) == Stored("a", None, out_of_order=True)
        for _ in range(2):
            await finish(spool)
        assert sum([await spool.prune(RECEIVED, late, 10) for _ in range(3)]) == 2
        again = verified(key="4", subject="tx", opening=True, event_id="b")
        assert await spool.put(again) == Stored("b")

    async def test_pruning_passes_over_what_stays(self, spool: Spool) -> None:
        for number in range(30):
            await stored(spool, verified(key=str(number)))
        for lease in (await take(spool, 25)).leases:
            await spool.settle(lease, Dead(), Rejected(400))
        await finish(spool)
        late = RECEIVED + timedelta(days=400)
        assert await spool.prune(late, late, 2) == 1
        assert await spool.prune(late, late, 2) == 0
        assert await spool.prune(late, late, 2) == 0
        assert (await spool.stats()).events == {
            ("midtrans", Status.DEAD): 25,
            ("midtrans", Status.PENDING): 4,
        }

    async def test_pruning_goes_in_steps(self, spool: Spool) -> None:
        for number in range(5):
            await stored(spool, verified(key=str(number), test=True))
        late = RECEIVED + timedelta(days=400)
        steps = [await spool.prune(late, RECEIVED, 2) for _ in range(4)]
        assert steps == [2, 2, 1, 0]

    # ---- stats --------------------------------------------------------------------------------

    async def test_a_sound_store_has_nothing_wrong_with_it(self, spool: Spool) -> None:
        await stored(spool, verified())
        assert await spool.check_integrity() == ()

    async def test_stats_count_what_there_is(self, spool: Spool, clock: ManualClock) -> None:
        assert (await spool.stats()).events == {}
        for number in range(4):
            received = RECEIVED + timedelta(seconds=number)
            await stored(spool, verified(key=str(number), received_at=received))
        await stored(spool, verified(endpoint="snap", upstream="stock", test=True))
        await finish(spool)
        await take_one(spool)
        stats = await spool.stats()
        assert stats.events == {
            ("midtrans", Status.DELIVERED): 1,
            ("midtrans", Status.LEASED): 1,
            ("midtrans", Status.PENDING): 2,
            ("snap", Status.TEST): 1,
        }
        assert stats.oldest_pending == {"billing": RECEIVED + timedelta(seconds=1)}
        assert stats.size > 0
        assert stats.free > 0
        late = RECEIVED + timedelta(days=400)
        await spool.prune(late, late, 10)
        assert ("snap", Status.TEST) not in (await spool.stats()).events

    # ---- wait ---------------------------------------------------------------------------------

    async def test_waiting_ends_at_its_time(self, spool: Spool, clock: ManualClock) -> None:
        waiting = asyncio.ensure_future(spool.wait_for_work("billing", 0.5))
        await clock.advance(0.4)
        assert not waiting.done()
        await clock.advance(0.1)
        assert waiting.done()
        await waiting

    async def test_what_another_process_stores_is_noticed_within_a_second(
        self, spool: Spool, other: Spool, clock: ManualClock
    ) -> None:
        await take(spool)
        waiting = asyncio.ensure_future(spool.wait_for_work("billing", 3600))
        await asyncio.sleep(0)
        await stored(other, verified())
        await clock.advance(1)
        await asyncio.wait_for(waiting, 5)
        assert len((await take(spool)).leases) == 1

    @pytest.mark.parametrize("ending", ["put", "release", "requeue", "retry", "next in order"])
    async def test_new_work_wakes_at_once(
        self, spool: Spool, clock: ManualClock, ending: str
    ) -> None:
        """The clock stands still, so only the work itself can wake."""
        await stored(spool, verified(key="1", subject="a"))
        await stored(spool, verified(key="2", subject="a"))
        lease = await take_one(spool, ordered=True)
        await take(spool, ordered=True)
        waiting = asyncio.ensure_future(spool.wait_for_work("billing", 3600))
        await clock.advance(0)
        assert not waiting.done()
        match ending:
            case "put":
                await stored(spool, verified(key="3"))
            case "release":
                await spool.release(lease)
            case "retry":
                await spool.settle(lease, RetryAt(clock.now()), Rejected(500))
            case "next in order":
                await spool.settle(lease, Done(), Delivered(200))
            case _:
                await spool.settle(lease, Dead(), Rejected(400))
                await take(spool, ordered=True)
                await spool.requeue(Query(ids=(lease.event.id,)))
        await asyncio.wait_for(waiting, 5)

    async def test_work_stored_before_the_wait_begins_is_not_missed(self, spool: Spool) -> None:
        await take(spool)
        await stored(spool, verified())
        await asyncio.wait_for(spool.wait_for_work("billing", 3600), 5)

    async def test_the_work_of_another_upstream_wakes_nobody(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        await take(spool)
        await stored(spool, verified(upstream="stock"))
        waiting = asyncio.ensure_future(spool.wait_for_work("billing", 0.5))
        await asyncio.sleep(0)
        assert not waiting.done()
        await clock.advance(0.5)
        await waiting

    # ---- the store ----------------------------------------------------------------------------

    async def test_what_was_stored_is_there_when_opened_again(
        self, opener: Opener, clock: ManualClock
    ) -> None:
        first = await opener(clock)
        event_id = await stored(first, verified())
        await first.close()
        second = await opener(clock)
        assert ids(await take(second)) == [event_id]
        await second.close()

    async def test_closing_finishes_what_was_begun(
        self, opener: Opener, clock: ManualClock
    ) -> None:
        spool = await opener(clock)
        async with asyncio.TaskGroup() as group:
            puts = [group.create_task(spool.put(verified(key=str(n)))) for n in range(50)]
            await asyncio.sleep(0)
            await spool.close()
        assert all(isinstance(put.result(), Stored) for put in puts)

    async def test_a_closed_spool_says_so(self, opener: Opener, clock: ManualClock) -> None:
        spool = await opener(clock)
        await spool.close()
        await spool.close()
        with pytest.raises(SpoolUnavailable, match="closed"):
            await spool.put(verified())
        with pytest.raises(SpoolUnavailable, match="closed"):
            await spool.page(Query())
