"""What people ask to have requeued: read, bounded, counted, and done a page at a time."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from relay.admin import requeueing
from relay.admin.requeueing import Order, parse_order, parse_rate
from relay.admin.upstreams import UnknownUpstream
from relay.core.event import Delivered, Done, Status
from relay.spool.history import Query, Requeued
from relay.spool.sqlite import SqliteSpool, open_spool
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED, numbered

BOTH = ("billing", "ledger")
DELIVERED = Query(status=Status.DELIVERED)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def spool(tmp_path: Path, clock: ManualClock) -> AsyncIterator[SqliteSpool]:
    spool = await open_spool(tmp_path / "relay.db", clock)
    yield spool
    await spool.close()


async def store(spool: SqliteSpool, number: int) -> None:
    """Store so many events, in their order."""
    await asyncio.gather(*(spool.put(numbered(each)) for each in range(number)))


async def deliver(spool: SqliteSpool, upstream: str = "billing") -> list[str]:
    """Deliver what is due; return the ids."""
    claimed = await spool.claim(upstream, 1000, timedelta(minutes=1), ordered=False)
    # Together: each write of its own waits for the disk.
    settling = (spool.settle(lease, Done(), Delivered(200)) for lease in claimed.leases)
    await asyncio.gather(*settling)
    return [lease.event.id for lease in claimed.leases]


@pytest.mark.parametrize(
    ("text", "interval"), [("50/s", 0.02), ("10/m", 6), ("5/h", 720), ("999999/s", 0.000001)]
)
def test_a_rate_is_a_time_between_two(text: str, interval: float) -> None:
    assert parse_rate(text) == timedelta(seconds=interval)


@pytest.mark.parametrize("text", ["", "0/s", "5", "5/d", "1.5/s", "-1/s", "5/s ", "٣/s"])
def test_what_is_no_rate_is_told_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="50/s, 10/m or 5/h"):
        parse_rate(text)


def test_an_order_is_filters_and_what_to_do_with_them() -> None:
    given = {"status": "dead", "to": "ledger", "rate": "5/s", "limit": "7"}
    assert parse_order(given, RECEIVED) == Order(Query(status=Status.DEAD), "ledger", "5/s", 7)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "needs a filter"),
        ({"to": "ledger", "limit": "5"}, "needs a filter"),
        ({"status": "lost"}, "no status"),
        ({"status": "dead", "rate": "fast"}, "50/s"),
        ({"status": "dead", "limit": "0"}, "limit"),
        ({"status": "dead", "after": "1-1"}, "no pages"),
        ({"state": "dead"}, "no filter"),
    ],
)
def test_what_is_no_order_is_told(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_order(given, RECEIVED)


async def test_everything_goes_once_though_it_is_delivered_meanwhile(
    spool: SqliteSpool, clock: ManualClock
) -> None:
    await store(spool, 250)
    assert len(await deliver(spool)) == 250
    await clock.advance(1)
    order = Order(DELIVERED)
    assert (await requeueing.count(spool, order, BOTH)).events == 250
    pages: list[int] = []
    delivered: list[asyncio.Task[list[str]]] = []

    def on_page(page: Requeued) -> None:
        pages.append(len(page.ids))
        delivered.append(asyncio.ensure_future(deliver(spool)))

    await requeueing.requeue(spool, order, BOTH, clock.now(), on_page)
    assert pages == [100, 100, 50]
    assert sum(map(len, await asyncio.gather(*delivered))) == 250


async def test_many_ids_are_a_few_writes_and_a_limit_is_one(
    spool: SqliteSpool, clock: ManualClock
) -> None:
    ids = [numbered(number).event_id for number in range(150)]
    await store(spool, 150)
    await deliver(spool)
    await clock.advance(1)
    order = Order(Query(ids=tuple(ids)), to="ledger")
    pages: list[Requeued] = []
    await requeueing.requeue(spool, order, BOTH, clock.now(), pages.append)
    assert [len(page.ids) for page in pages] == [100, 50]
    order = Order(DELIVERED, most=120)
    pages.clear()
    await requeueing.requeue(spool, order, BOTH, clock.now(), pages.append)
    assert [len(page.ids) for page in pages] == [100, 20]
    assert order.touched(120, []) == {
        "requeued": 120,
        "filter": {"status": "delivered"},
        "limit": 120,
    }


async def test_a_rate_is_kept_from_page_to_page(spool: SqliteSpool, clock: ManualClock) -> None:
    await store(spool, 101)
    await deliver(spool)
    await clock.advance(1)
    order = Order(DELIVERED, rate="10/s")
    await requeueing.requeue(spool, order, BOTH, clock.now(), lambda _: None)
    went = []
    for _ in range(11):
        went.append(len(await deliver(spool)))
        await clock.advance(1)
    assert went == [1, *[10] * 10]


async def test_what_would_take_days_or_goes_nowhere_is_refused(spool: SqliteSpool) -> None:
    await store(spool, 25)
    await deliver(spool)
    with pytest.raises(ValueError, match=r"25 events at 1/h take longer than 24 hours"):
        await requeueing.count(spool, Order(DELIVERED, rate="1/h"), BOTH)
    assert (await requeueing.count(spool, Order(DELIVERED, rate="1/h", most=24), BOTH)).events == 24
    with pytest.raises(UnknownUpstream, match="did you mean"):
        await requeueing.count(spool, Order(DELIVERED, to="leger"), BOTH)
    counted = await requeueing.count(spool, Order(DELIVERED), BOTH)
    assert requeueing.counted_json(counted) == {
        "would_requeue": 25,
        "destinations": [{"upstream": "billing", "status": "delivered", "number": 25}],
    }


async def test_where_it_is_cancelled_the_page_that_is_written_is_told(
    spool: SqliteSpool, clock: ManualClock
) -> None:
    await store(spool, 250)
    await deliver(spool)
    await clock.advance(1)
    pages: list[Requeued] = []
    order = Order(DELIVERED)
    work = requeueing.requeue(spool, order, BOTH, clock.now(), pages.append)
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (
        sum(len(page.ids) for page in pages)
        == (await spool.stats()).events["midtrans", Status.PENDING]
    )
    assert len(pages) == 1
