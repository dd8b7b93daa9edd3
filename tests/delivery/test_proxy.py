"""A delivery is passed on once, told, noted, and never in a crowd."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from relay.core.clock import SystemClock
from relay.core.errors import SpoolUnavailable, UpstreamOverloaded
from relay.core.event import (
    AttemptRecord,
    Delivered,
    ProxiedDelivery,
    ProxyResponse,
    Rejected,
    Unreachable,
)
from relay.core.request import Ack
from relay.core.secret import Secret
from relay.delivery.proxy import ProxiedHistory, ProxyForwarder, ProxySender, ProxyUpstream
from relay.delivery.sender import Forwarding, HttpSender
from relay.signatures.shared_secret import Signer
from relay.spool import SpoolBroken
from relay.spool.history import Query
from relay.spool.sqlite import open_spool
from relay.telemetry import Telemetry
from relay.telemetry.log import Log, LogWriter
from tests.harness.clock import ManualClock, run_loop_until
from tests.harness.deliveries import RECEIVED, verified
from tests.harness.spying_spool import RecordingObserver, SpyingSpool
from tests.harness.upstream import RefusingPort, Upstream, answer, hang, when

LIMIT = timedelta(seconds=5)


@dataclass
class Bench:
    proxy_forwarder: ProxyForwarder
    observer: RecordingObserver
    noted: list[ProxiedDelivery]


def bench(asker: ProxySender, *, concurrency: int = 2, clock: ManualClock | None = None) -> Bench:
    observer, noted = RecordingObserver(), list[ProxiedDelivery]()
    proxy_forwarder = ProxyForwarder(
        proxy_upstreams={"billing": ProxyUpstream(asker, concurrency)},
        clock=clock or ManualClock(RECEIVED),
        observer=observer,
        note=noted.append,
    )
    return Bench(proxy_forwarder, observer, noted)


@asynccontextmanager
async def passing(
    url: str, *, concurrency: int = 2, signer: Signer | None = None
) -> AsyncIterator[Bench]:
    clock = ManualClock(RECEIVED)
    sender = HttpSender(url, timeout=LIMIT, concurrency=concurrency, clock=clock, signer=signer)
    try:
        yield bench(sender, concurrency=concurrency, clock=clock)
    finally:
        await sender.close()


async def test_a_delivery_arrives_as_an_event_does() -> None:
    delivery = verified(
        event_id="evt_1",
        body=b"\x00 {}",
        ambiguous=True,
        path="/snap/v1.0/qr?a=%20b",
        remainder="/v1.0/qr",
    )
    head = replace(delivery.delivery.head, method="DELETE")
    delivery = replace(delivery, delivery=replace(delivery.delivery, head=head))
    signer = Signer([Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")])
    async with Upstream() as upstream, passing(upstream.url + "/base", signer=signer) as way:
        await way.proxy_forwarder.forward(delivery)
    [received] = upstream.received
    assert (received.method, received.target) == ("DELETE", "/base/v1.0/qr?a=%20b")
    assert received.body == b"\x00 {}"
    shown = {name: received.values(name) for name, _ in received.headers}
    signature = shown.pop("webhook-signature")
    assert signature[0].startswith("v1,")
    del shown["Host"]
    assert shown == {
        "Content-Type": ["application/json"],
        "Content-Length": ["4"],
        "webhook-id": ["evt_1"],
        "webhook-timestamp": [str(int(RECEIVED.timestamp()))],
        "Relay-Endpoint": ["midtrans"],
        "Relay-Provider": ["midtrans"],
        "Relay-Environment": ["production"],
        "Relay-Event-Key": ["order-1"],
        "Relay-Client-Address": ["103.208.23.6"],
        "Relay-Attempt": ["1"],
        "Relay-Received-At": ["2026-01-05T12:00:00.000000Z"],
        "Relay-Signed": ["order_id, status_code, gross_amount, ambiguous"],
    }


@pytest.mark.parametrize(
    ("status", "outcome", "told"),
    [
        (200, Delivered(200), "delivered"),
        (404, Rejected(404), "rejected"),
        (500, Rejected(500), "rejected"),
    ],
)
async def test_what_came_of_it_is_told_and_noted(
    status: int, outcome: Delivered | Rejected, told: str
) -> None:
    delivery = verified(event_id="evt_1")
    async with Upstream(answer(status)) as upstream, passing(upstream.url) as way:
        answered = await way.proxy_forwarder.forward(delivery)
    assert answered == ProxyResponse(outcome, None if status == 500 else Ack(status, b"", ""))
    assert way.noted == [ProxiedDelivery(delivery, outcome, RECEIVED)]
    assert way.observer.attempts == [
        AttemptRecord(
            event_id="evt_1",
            endpoint="midtrans",
            provider="midtrans",
            upstream="billing",
            attempt=1,
            outcome=told,
            status=status,
            cause=None,
            decision="passed",
            due=None,
            duration=0.0,
            delay=0.0 if status == 200 else None,
        )
    ]


async def test_there_is_one_attempt_whatever_comes_of_it() -> None:
    with RefusingPort() as url:
        async with passing(url) as way:
            answered = await way.proxy_forwarder.forward(verified())
    assert answered == ProxyResponse(Unreachable("refused"))
    assert [each.cause for each in way.observer.attempts] == ["refused"]
    assert len(way.noted) == 1


async def test_the_cap_holds_and_a_crowd_is_turned_away() -> None:
    release = asyncio.Event()
    async with (
        Upstream(when(release, answer(200))) as upstream,
        passing(upstream.url, concurrency=2) as way,
    ):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(way.proxy_forwarder.forward(verified())) for _ in range(4)]
            await upstream.has_received(2)
            with pytest.raises(
                UpstreamOverloaded, match="4 deliveries are being passed on to billing"
            ):
                await way.proxy_forwarder.forward(verified())
            assert len(upstream.received) == 2
            release.set()
        assert {task.result().outcome for task in tasks} == {Delivered(200)}
        assert (upstream.connections, len(upstream.received)) == (2, 4)
        assert len(way.noted) == len(way.observer.attempts) == 4
        # There is room again.
        assert (await way.proxy_forwarder.forward(verified())).outcome == Delivered(200)


async def test_an_attempt_that_is_cut_short_is_told_and_noted() -> None:
    async with Upstream(hang) as upstream, passing(upstream.url, concurrency=1) as way:
        for number in (1, 2, 3):
            passing_on = asyncio.ensure_future(way.proxy_forwarder.forward(verified()))
            await upstream.has_received(number)
            passing_on.cancel()
            with pytest.raises(asyncio.CancelledError):
                await passing_on
    assert [each.outcome for each in way.noted] == [Unreachable("shutdown")] * 3
    assert [each.cause for each in way.observer.attempts] == ["shutdown"] * 3


class Faulty:
    """Makes a mistake."""

    def forward(self, forwarding: Forwarding) -> None:
        raise KeyError(forwarding.delivery.event_id)


async def test_one_that_is_cut_short_as_its_answer_comes_is_told_once() -> None:
    sent: list[Forwarding] = []

    class Sender:
        def forward(self, forwarding: Forwarding) -> None:
            sent.append(forwarding)

    made = bench(Sender())
    task = asyncio.ensure_future(made.proxy_forwarder.forward(verified()))
    await asyncio.sleep(0)
    sent[0].responded(ProxyResponse(Delivered(200), Ack(200)))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [each.outcome for each in made.noted] == [Delivered(200)]
    assert [each.outcome for each in made.observer.attempts] == ["delivered"]


async def test_our_own_mistake_is_no_answer_and_is_told() -> None:
    way = bench(Faulty(), concurrency=1)
    for _ in range(3):
        assert await way.proxy_forwarder.forward(verified()) == ProxyResponse(Unreachable("fault"))
    assert [upstream for upstream, _, _ in way.observer.faults] == ["billing"] * 3
    assert [each.outcome for each in way.noted] == [Unreachable("fault")] * 3


# ---- history written behind -----------------------------------------------------------------
# History is written behind: in batches, once, and without ever being waited for.


def passed(number: int, body: bytes = b"{}", key: str = "order-1") -> ProxiedDelivery:
    delivery = verified(event_id=f"e{number:03}", body=body, key=key)
    return ProxiedDelivery(delivery, Delivered(200), RECEIVED)


@dataclass
class HistoryBench:
    """A running `ProxiedHistory`, and its spool."""

    clock: ManualClock
    spool: SpyingSpool
    log: io.BytesIO
    writer: LogWriter
    history: ProxiedHistory
    running: "asyncio.Task[None]"

    async def written(self, *ids: str) -> None:
        """Return when history holds these, and `ProxiedHistory` waits for more.

        The spool's thread has no bell for it. What is read here may be so before the answer to
        the write is taken; time that passes meanwhile would be missed.
        """
        async with asyncio.timeout(10):
            while await self.ids() != list(ids):
                pass
        await run_loop_until(lambda: self.spool.recording == 0)

    async def ids(self) -> list[str]:
        page = await self.spool.page(Query(limit=1000))
        return sorted(record.id for record in page.records)

    async def end(self) -> None:
        """Stop as a relay stops."""
        self.running.cancel()
        await asyncio.wait({self.running})
        await self.history.flush()

    def lines(self) -> list[dict[str, Any]]:
        self.writer.close()
        return [orjson.loads(line) for line in self.log.getvalue().splitlines()]


@pytest.fixture
def room() -> int:
    return 1_000_000


@pytest.fixture
async def history_bench(tmp_path: Path, room: int) -> AsyncIterator[HistoryBench]:
    clock, log = ManualClock(RECEIVED), io.BytesIO()
    writer = LogWriter(log)
    real = await open_spool(tmp_path / "relay.db", SystemClock())
    spool = SpyingSpool(real, clock)
    telemetry = Telemetry(Log(writer, clock))
    history = ProxiedHistory(spool, clock=clock, telemetry=telemetry, buffer_bytes=room)
    running = asyncio.get_running_loop().create_task(history.run())
    yield HistoryBench(clock, spool, log, writer, history, running)
    running.cancel()
    await asyncio.wait({running})
    await real.close()
    writer.close()


async def test_what_comes_together_is_written_together(history_bench: HistoryBench) -> None:
    for number in range(3):
        history_bench.history.note(passed(number))
    await history_bench.clock.advance(0.03)
    history_bench.history.note(passed(3))
    assert history_bench.spool.recorded == []
    await history_bench.clock.advance(0.03)
    await history_bench.written("e000", "e001", "e002", "e003")
    assert history_bench.spool.recorded == [4]
    assert history_bench.lines() == []


async def test_more_is_written_when_more_comes(history_bench: HistoryBench) -> None:
    history_bench.history.note(passed(1))
    await history_bench.clock.advance(0.1)
    await history_bench.written("e001")
    history_bench.history.note(passed(2))
    await history_bench.clock.advance(0.1)
    await history_bench.written("e001", "e002")
    assert history_bench.spool.recorded == [1, 1]


@pytest.mark.parametrize("room", [2_000_000])
async def test_a_long_queue_goes_in_steps(history_bench: HistoryBench, room: int) -> None:
    number = room // 2100
    for each in range(number):
        history_bench.history.note(passed(each))
    await history_bench.clock.advance(0.1)
    await history_bench.end()
    assert len(await history_bench.ids()) == number
    assert history_bench.spool.recorded[-2:] == [500, number - 500]


async def test_what_waits_at_the_end_is_written(history_bench: HistoryBench) -> None:
    history_bench.history.note(passed(1))
    await history_bench.end()
    assert await history_bench.ids() == ["e001"]


@pytest.mark.parametrize("turns", range(6))
async def test_stopping_in_the_middle_of_a_write_loses_and_doubles_nothing(
    turns: int, history_bench: HistoryBench
) -> None:
    history_bench.history.note(passed(1))
    await history_bench.clock.advance(0.099)
    advancing = asyncio.ensure_future(history_bench.clock.advance(0.001))
    for _ in range(turns * 10):
        await asyncio.sleep(0)
    await history_bench.end()
    await advancing
    assert await history_bench.ids() == ["e001"]
    assert history_bench.lines() == []


async def test_a_spool_in_trouble_gets_it_later(history_bench: HistoryBench) -> None:
    history_bench.spool.broken["record_proxied"] = SpoolUnavailable("disk full")
    history_bench.history.note(passed(1))
    await history_bench.clock.advance(0.1)
    history_bench.history.note(passed(2))
    assert history_bench.spool.recorded == [1]
    history_bench.spool.broken.clear()
    await history_bench.clock.advance(1)
    await history_bench.written("e001", "e002")
    assert history_bench.spool.recorded == [1, 2]
    assert [(line["event"], line["level"]) for line in history_bench.lines()] == [
        ("history_delayed", "warning")
    ]


@pytest.mark.parametrize("room", [8000])
async def test_without_room_the_newest_is_lost_and_said_to_be(history_bench: HistoryBench) -> None:
    """Each takes its body and a little more."""
    history_bench.history.note(passed(1, bytes(5000)))
    history_bench.history.note(passed(2))
    await history_bench.clock.advance(0.1)
    await history_bench.written("e001")
    await history_bench.end()
    history_bench.history.note(passed(3, bytes(5000)))
    await history_bench.history.flush()
    await history_bench.written("e001", "e003")
    assert [(line["event"], line["id"]) for line in history_bench.lines()] == [
        ("history_lost", "e002")
    ]


async def test_what_cannot_be_written_at_the_end_is_lost_and_said_to_be(
    history_bench: HistoryBench,
) -> None:
    history_bench.spool.broken["record_proxied"] = SpoolUnavailable("disk full")
    for number in (1, 2):
        history_bench.history.note(passed(number))
    await history_bench.end()
    assert [(line["event"], line["id"], line["detail"]) for line in history_bench.lines()] == [
        ("history_lost", "e001", "disk full"),
        ("history_lost", "e002", "disk full"),
    ]


async def test_one_that_cannot_be_written_keeps_nobody_else(history_bench: HistoryBench) -> None:
    for number, key in enumerate(("a", "half a pair \ud800", "b")):
        history_bench.history.note(passed(number, key=key))
    await history_bench.end()
    assert await history_bench.ids() == ["e000", "e002"]
    assert [line["event"] for line in history_bench.lines()] == [
        "history_fault",
        "history_lost",
    ]


async def test_a_broken_spool_ends_the_history(history_bench: HistoryBench) -> None:
    history_bench.spool.broken["record_proxied"] = SpoolBroken("disk I/O error")
    history_bench.history.note(passed(1))
    await history_bench.clock.advance(0.1)
    with pytest.raises(SpoolBroken):
        await history_bench.running
    await history_bench.history.flush()
    assert [line["event"] for line in history_bench.lines()] == ["history_lost"]
