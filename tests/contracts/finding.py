"""What every spool finds by what a person has in hand: beside `SpoolContract`."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from relay.core.event import Dead, Rejected, Status
from relay.spool import Spool
from relay.spool.history import Query
from tests.contracts.spool import finish, passed, take
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED, verified

#: More than a search looks up one by one.
MANY = 2600

#: What means something to a statement, a pattern, a terminal, a browser or a spreadsheet.
HOSTILE = (
    *(
        "%",
        "_",
        "%%%%",
        "____",
        "*",
        "????",
        "[A-Z]",
        "'; DROP TABLE events; --",
        '"',
        "\\",
        "\\\\",
    ),
    *(
        "a\0bc",
        "\0\0\0\0",
        "<script>alert(1)</script>",
        "=1+1;A",
        "\x1b[2J\x1b[1m",
        "a\u202eb\u202e",
    ),
    *("\U0001f600\U0001f600", "é" * 20, "e\u0301" * 10, "ORDER\n1\t", "\uffff\U0010ffff", "null"),
)


def named(number: int | str, text: str, **more: str) -> dict[str, object]:
    """Return what makes an event with this reference."""
    references = (("order_id", text), *more.items())
    return {"key": f"key-{number}", "event_id": f"evt_{number:>08}", "references": references}


async def keep(spool: Spool, *texts: str, first: int = 0, **other: str) -> list[str]:
    """Store an event for each of these references; return their ids, the newest first.

    first: the number of the first one.
    """
    events = [
        verified(
            **named(number, text),  # type: ignore[arg-type] # as `named` makes them
            received_at=RECEIVED + timedelta(seconds=number),
            **other,  # type: ignore[arg-type] # names of an endpoint or an upstream
        )
        for number, text in enumerate(texts, first)
    ]
    for at in range(0, len(events), 200):
        await asyncio.gather(*(spool.put(event) for event in events[at : at + 200]))
    return [event.event_id for event in reversed(events)]


async def fill(spool: Spool) -> None:
    """Let everything be in the index that there is, and the index be as small as may be."""
    while await spool.references.fill(1) or await spool.references.prune():
        pass


async def found(spool: Spool, text: str | None = None, **filters: object) -> list[str]:
    """Return the ids of every event that is found, page after page of 3."""
    ids: list[str] = []
    query = Query(find=text, limit=3, **filters)  # type: ignore[arg-type] # fields of it
    while True:
        page = await spool.page(query)
        ids += [record.id for record in page.records]
        if page.next is None:
            return ids
        assert len(page.records) == 3
        query = Query(find=text, limit=3, after=page.next, **filters)  # type: ignore[arg-type]


class FindingContract:
    @pytest.fixture(params=["new", "indexed", "behind"])
    def index(self, request: pytest.FixtureRequest) -> str:
        """Give whether the events are in the index when they are searched, and others are not."""
        return str(request.param)

    async def settle_in(self, spool: Spool, index: str) -> None:
        if index != "new":
            await fill(spool)
        if index == "behind":
            await spool.put(verified(key="later", endpoint="later", upstream="later"))

    # ---- by reference -------------------------------------------------------------------------

    async def test_a_reference_is_found_whole_and_by_its_beginning(
        self, spool: Spool, index: str
    ) -> None:
        texts = ("ORDER-1", "ORDER-12", "order-1", "ORDER", "other", "X-ORDER-1")
        ids = await keep(spool, *texts)
        await self.settle_in(spool, index)
        assert await found(spool, "ORDER-1") == [ids[4], ids[5]]
        assert await found(spool, "ORDER-12") == [ids[4]]
        assert await found(spool, "ORDE") == [ids[2], ids[4], ids[5]]
        assert await found(spool, "order-1") == [ids[3]]
        assert await found(spool, "ORDER-123") == []

    async def test_a_beginning_has_four_letters(self, spool: Spool, index: str) -> None:
        [longer, short] = await keep(spool, "42", "42-a")
        await self.settle_in(spool, index)
        assert await found(spool, "42") == [short]
        assert await found(spool, "42-") == []
        assert await found(spool, "42-a") == [longer]

    async def test_every_reference_of_an_event_finds_it_once(
        self, spool: Spool, index: str
    ) -> None:
        event = verified(**named(1, "same-1", transaction_id="same-2", trxId="same-1"))  # type: ignore[arg-type]
        await spool.put(event)
        await self.settle_in(spool, index)
        for text in ("same", "same-1", "same-2"):
            assert await found(spool, text) == [event.event_id]

    async def test_whatever_a_reference_holds_is_text(self, spool: Spool, index: str) -> None:
        ids = await keep(spool, *HOSTILE)
        await self.settle_in(spool, index)
        for text in (*HOSTILE, *(text[:4] for text in HOSTILE)):
            begins = [each.startswith(text) if len(text) >= 4 else each == text for each in HOSTILE]
            expected = [each for each, begun in zip(ids, reversed(begins), strict=True) if begun]
            assert await found(spool, text) == expected

    async def test_what_cannot_be_stored_is_not_found(self, spool: Spool) -> None:
        await keep(spool, "ORDER-1")
        for text in ("", "\ud800", "ORDER\udc80", "x" * 10_000_000, "ORDER-1\0", "ORDER-1 "):
            assert await found(spool, text) == []

    async def test_what_was_passed_on_is_found(self, spool: Spool, index: str) -> None:
        event = verified(**named(1, "ORDER-1"))  # type: ignore[arg-type] # as `named` makes it
        await spool.record_proxied([passed(spool, event)])
        await self.settle_in(spool, index)
        for text in ("ORDER-1", event.event_id, "key-1"):
            assert await found(spool, text) == [event.event_id]

    # ---- by id and by key ---------------------------------------------------------------------

    async def test_an_id_is_found_by_any_beginning(self, spool: Spool) -> None:
        ids = await keep(spool, *("x" * 20 for _ in range(12)))
        assert await found(spool, ids[3]) == [ids[3]]
        assert await found(spool, "evt_0000001") == ids[:2]
        assert await found(spool, "e") == ids
        assert await spool.starting_with("evt_0000001", 5) == tuple(sorted(ids[:2]))
        assert await spool.starting_with("evt_", 3) == tuple(sorted(ids))[:3]
        for text in ("EVT_", "%", "evt%", "\ud800", "\0"):
            assert await spool.starting_with(text, 5) == ()

    async def test_a_key_is_found_whole(self, spool: Spool) -> None:
        ids = await keep(spool, *("x" * 20 for _ in range(11)))
        assert await found(spool, "key-1") == [ids[-2]]
        assert await found(spool, "key-") == []

    # ---- with other filters -------------------------------------------------------------------

    async def test_other_filters_narrow_what_is_found(self, spool: Spool, index: str) -> None:
        ids = await keep(spool, "ORDER-1", "ORDER-2", "ORDER-3", "other")
        other = verified(key="o", endpoint="vipps", references=(("id", "ORDER-9"),))
        await spool.put(other)
        dead = await finish(spool, Dead(), Rejected(400))
        await self.settle_in(spool, index)
        assert dead == ids[3]
        assert await found(spool, "ORDER", endpoint="vipps") == [other.event_id]
        assert await found(spool, "ORDER", status=Status.DEAD) == [dead]
        assert await found(spool, "ORDER", status=Status.PENDING) == [other.event_id, *ids[1:3]]
        assert await found(spool, "ORDER", status=Status.HELD) == []
        at = RECEIVED + timedelta(seconds=1)
        assert await found(spool, "ORDER-", since=at, endpoint="midtrans") == ids[1:3]
        assert await found(spool, "ORDER-", until=at, endpoint="midtrans") == [ids[3]]
        assert await found(spool, "ORDER-2", key="key-1") == [ids[2]]
        assert await found(spool, "ORDER-2", key="key-2") == []
        assert await found(spool, "ORDER", endpoint="nobody") == []

    # ---- many alike ---------------------------------------------------------------------------

    async def test_of_many_that_begin_alike_the_newest_come_first(self, spool: Spool) -> None:
        ids = await keep(spool, *(f"ORDER-{number}" for number in range(MANY)))
        for _ in range(2):
            await self.many(spool, ids)
            await fill(spool)

    async def many(self, spool: Spool, ids: Sequence[str]) -> None:
        for text in ("ORDER", "evt_"):
            first = await spool.page(Query(find=text, limit=50))
            assert [record.id for record in first.records] == list(ids[:50])
            second = await spool.page(Query(find=text, limit=50, after=first.next))
            assert [record.id for record in second.records] == list(ids[50:100])
            at = RECEIVED + timedelta(seconds=100)
            old = await spool.page(Query(find=text, until=at))
            assert [record.id for record in old.records] == list(ids[-100:])
            assert old.next is None
            for filters in ({"status": Status.DELIVERED}, {"status": Status.DEAD}):
                assert (await spool.page(Query(find=text, **filters))).records == ()  # type: ignore[arg-type]
            waiting = await spool.page(Query(find=text, status=Status.PENDING, limit=2))
            assert [record.id for record in waiting.records] == list(ids[:2])

    # ---- by upstream --------------------------------------------------------------------------

    async def test_an_upstream_has_the_events_that_go_there(
        self, spool: Spool, clock: ManualClock
    ) -> None:
        ours = await keep(spool, *(f"ORDER-{number}" for number in range(5)))
        theirs = verified(key="theirs", upstream="ledger", references=(("id", "ORDER-0"),))
        await spool.put(theirs)
        dead = await finish(spool, Dead(), Rejected(400))
        done = await finish(spool)
        [leased] = (await take(spool, 1)).leases
        assert await found(spool, upstream="billing") == ours
        assert await found(spool, upstream="ledger") == [theirs.event_id]
        assert await found(spool, upstream="nobody") == []
        for status, expected in (
            (Status.DEAD, [dead]),
            (Status.DELIVERED, [done]),
            (Status.LEASED, [leased.event.id]),
            (Status.PENDING, ours[:2]),
            (Status.HELD, []),
            (Status.TEST, []),
        ):
            assert await found(spool, upstream="billing", status=status) == expected
            assert await found(spool, "ORDER", upstream="billing", status=status) == expected
        assert await found(spool, "ORDER", upstream="ledger") == [theirs.event_id]
        assert await found(spool, upstream="ledger", status=Status.DEAD) == []

    # ---- requeueing what is found -------------------------------------------------------------

    async def test_what_is_found_is_requeued(self, spool: Spool, index: str) -> None:
        ids = await keep(spool, "ORDER-1", "ORDER-2", "other-1", "ORDER-3")
        for _ in ids:
            await finish(spool, Dead(), Rejected(400))
        await self.settle_in(spool, index)
        counted = await spool.requeueable(Query(find="ORDER"))
        assert (counted.events, counted.destinations) == (3, {("billing", Status.DEAD): 3})
        assert (await spool.requeueable(Query(find="ORDER"), most=2)).events == 2
        assert (await spool.requeueable(Query(find="nothing"))).events == 0
        assert (await spool.requeue(Query(find="ORDER-3"))).ids == (ids[0],)
        assert (await spool.requeue(Query(find="ORDER", limit=1))).ids == (ids[3],)
        assert (await spool.requeue(Query(find="ORDER"), {"ledger"})).unserved == (
            (ids[2], "billing"),
        )
        assert (await spool.requeue(Query(find="ORDER", status=Status.HELD))).ids == ()
        assert (await spool.requeue(Query(find="nothing"))).ids == ()
        assert (await spool.requeue(Query(upstream="ledger"))).ids == ()
        assert (await spool.requeue(Query(upstream="billing"))).ids == (ids[2], ids[1])

    # ---- the index ----------------------------------------------------------------------------

    async def test_the_index_is_filled_when_enough_is_there(self, spool: Spool) -> None:
        assert not await spool.references.fill(1)
        await keep(spool, "ORDER-1", "ORDER-2")
        assert not await spool.references.fill(3)
        assert await spool.references.fill(2)
        assert not await spool.references.fill(1)
        assert not await spool.references.prune()

    async def test_what_is_gone_is_not_found_and_dead_events_stay(self, spool: Spool) -> None:
        ids = await keep(spool, "ORDER-1", "ORDER-2", "ORDER-3")
        dead = await finish(spool, Dead(), Rejected(400))
        await finish(spool)
        await fill(spool)
        late = RECEIVED + timedelta(days=60)
        while await spool.prune(late, late, 10):
            pass
        await finish(spool, Dead(), Rejected(400))
        assert await found(spool, "ORDER") == [ids[0], dead]
        assert await spool.references.prune()
        assert not await spool.references.prune()
        assert await found(spool, "ORDER") == [ids[0], dead]
        assert await found(spool, "ORDER-1") == [dead]
