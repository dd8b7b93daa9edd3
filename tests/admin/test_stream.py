"""The stream of what happens: for who may read, filtered, and ended when it has to be."""

import asyncio
import io
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from relay.admin.stream import HEARTBEAT, Stream, Wanted, parse_wanted
from relay.core.clock import SystemClock
from relay.core.event import AttemptRecord, Status
from relay.core.request import Verdict
from relay.telemetry import DeliveryRecord, Telemetry
from relay.telemetry.feed import MAX_SUBSCRIBERS, MAX_WAITING
from relay.telemetry.log import Log, LogWriter
from tests.harness.clock import ManualClock, run_loop_until
from tests.harness.deliveries import RECEIVED

UPSTREAMS = {"midtrans": ("billing",), "vipps": ("ledger",)}


def upstreams_of(endpoint: str) -> tuple[str, ...]:
    return UPSTREAMS.get(endpoint, ())


class Bench:
    """A subscriber that streams what its telemetry is told."""

    def __init__(self, client: aiohttp.ClientSession, telemetry: Telemetry) -> None:
        self.client = client
        self.telemetry = telemetry
        self.admitted = True
        self.streams: list[Stream] = []
        self.port = 0

    def deliver(self, endpoint: str = "midtrans", number: int = 1) -> None:
        record = DeliveryRecord("192.0.2.1", RECEIVED)
        record.endpoint = record.provider = endpoint
        record.verdict, record.status, record.id = Verdict.ACCEPTED, 200, f"evt_{number}"
        self.telemetry.received(record)

    def attempt(self, decision: str, upstream: str = "billing") -> None:
        made = AttemptRecord(
            *("evt_1", "midtrans", "midtrans", upstream, 1, "delivered", 200, None, decision),
            due=None,
            duration=0.1,
            delay=None,
        )
        self.telemetry.attempted(made, RECEIVED)

    async def listening(self, number: int) -> None:
        await run_loop_until(lambda: len(self.telemetry.feed.subscribers) == number)


async def _bench(clock: SystemClock | ManualClock) -> AsyncIterator[Bench]:
    writer = LogWriter(io.BytesIO())
    telemetry = Telemetry(Log(writer, clock))
    running: list[Bench] = []
    stream = Stream(telemetry.feed, clock, upstreams_of, lambda _: running[0].admitted)
    application = web.Application()
    application.add_routes([web.get("/stream", stream.answer)])
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        bench = Bench(client, telemetry)
        running.append(bench)
        bench.streams.append(stream)
        bench.port = port
        yield bench
    stream.close()
    await runner.cleanup()
    writer.close()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async for bench in _bench(SystemClock()):
        yield bench


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def still(clock: ManualClock) -> AsyncIterator[Bench]:
    """Give one whose time moves only when told to."""
    async for bench in _bench(clock):
        yield bench


async def block(response: aiohttp.ClientResponse) -> list[str]:
    """Return the lines of the next event or comment."""
    lines: list[str] = []
    async with asyncio.timeout(10):
        while line := (await response.content.readline()).decode().rstrip("\n"):
            lines.append(line)
    return lines


async def event(response: aiohttp.ClientResponse) -> tuple[str, dict[str, Any]]:
    """Return the kind and the fields of the next event."""
    kind, data = await block(response)
    return kind.removeprefix("event: "), orjson.loads(data.removeprefix("data: "))


async def test_what_happens_is_written_as_server_sent_events(bench: Bench) -> None:
    async with bench.client.get("/stream") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert await block(response) == ["retry: 1000"]
        bench.deliver()
        bench.attempt("done")
        kind, fields = await event(response)
        assert (kind, fields["id"], fields["verdict"]) == ("delivery", "evt_1", "accepted")
        kind, fields = await event(response)
        assert (kind, fields["status"]) == ("attempt", "delivered")
        bench.telemetry.acted("pause", "token", "::1", {"upstream": "billing"})
        assert (await event(response))[0] == "act"
    await bench.client.close()


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("endpoint=midtrans", ["delivery midtrans", "attempt billing", "attempt ledger"]),
        ("endpoint=nothing", []),
        ("status=dead", ["attempt ledger"]),
        ("upstream=ledger", ["attempt ledger", "delivery vipps", "act"]),
        ("", ["delivery midtrans", "attempt billing", "attempt ledger", "delivery vipps", "act"]),
    ],
)
async def test_filters_narrow_it(bench: Bench, query: str, told: list[str]) -> None:
    async with bench.client.get(f"/stream?{query}") as response:
        await block(response)
        bench.deliver()
        bench.attempt("done")
        bench.attempt("dead", "ledger")
        bench.deliver("vipps")
        bench.telemetry.acted("pause", "token", "::1", {"upstream": "ledger"})
        bench.streams[0].close()
        found = []
        while not response.content.at_eof():
            lines = await block(response)
            if lines and lines[0].startswith("event: "):
                kind, fields = lines[0][7:], orjson.loads(lines[1].removeprefix("data: "))
                name = {"attempt": "upstream", "delivery": "endpoint"}.get(kind)
                found.append(f"{kind} {fields[name]}" if name else kind)
    assert found == told


@pytest.mark.parametrize("query", ["colour=red", "status=gone"])
def test_a_filter_that_is_none_is_told_what_there_is(query: str) -> None:
    name, _, value = query.partition("=")
    with pytest.raises(ValueError, match="there are: "):
        parse_wanted({name: value}, upstreams_of)


def test_acts_on_something_else_are_not_wanted_with_a_filter() -> None:
    wanted = Wanted(None, None, "billing", upstreams_of)
    assert not wanted.takes("act", {"touched": {"events": ["evt_1"]}})
    assert not wanted.takes("reload", {"taken": True})
    assert not Wanted(None, Status.DEAD, None, upstreams_of).takes("reload", {"taken": True})


@pytest.mark.parametrize(
    ("routed", "upstream", "is_wanted"),
    [
        (None, "billing", True),
        (None, "ledger", False),
        (("ledger", "crm"), "ledger", True),
        (("ledger", "crm"), "billing", False),
        ((), "billing", False),
    ],
)
def test_a_delivery_goes_where_its_route_leads(
    routed: tuple[str, ...] | None, upstream: str, is_wanted: bool
) -> None:
    wanted = Wanted(None, None, upstream, upstreams_of)
    assert wanted.takes("delivery", {"endpoint": "midtrans", "upstreams": routed}) is is_wanted


async def test_both_ends_see_that_the_other_is_there(still: Bench, clock: ManualClock) -> None:
    async with still.client.get("/stream") as response:
        await block(response)
        await clock.advance(HEARTBEAT)
        assert await block(response) == [": still here"]


async def test_a_session_that_has_ended_ends_the_stream(still: Bench, clock: ManualClock) -> None:
    async with still.client.get("/stream") as response:
        await block(response)
        still.admitted = False
        await clock.advance(HEARTBEAT)
        assert await response.content.read() == b""


async def test_a_session_that_has_ended_is_not_told_what_comes_next(still: Bench) -> None:
    async with still.client.get("/stream") as response:
        await block(response)
        still.admitted = False
        still.deliver()
        assert await response.content.read() == b""


async def test_the_end_of_the_process_ends_it_at_once(bench: Bench) -> None:
    async with bench.client.get("/stream") as response:
        await block(response)
        bench.deliver()
        bench.streams[0].close()
        async with asyncio.timeout(1):
            rest = await response.content.read()
    assert b"evt_1" in rest
    async with bench.client.get("/stream") as late, asyncio.timeout(1):
        await late.content.read()


async def test_more_than_so_many_are_told_to_come_later(bench: Bench) -> None:
    open_ones = [await bench.client.get("/stream") for _ in range(MAX_SUBSCRIBERS)]
    async with bench.client.get("/stream") as refused:
        assert refused.status == 503
        assert refused.reason == "32 listen already; close a page or a `tail`"
    # One that has gone makes room before it would be noticed by writing.
    open_ones[0].close()
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        while (again := await bench.client.get("/stream")).status != 200:
            again.close()
    for each in (*open_ones, again):
        each.close()


@pytest.mark.parametrize("reads_again", [True, False])
async def test_one_that_does_not_read_is_dropped_and_told_so(
    still: Bench, clock: ManualClock, *, reads_again: bool
) -> None:
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        slow.connect(("127.0.0.1", still.port))
        slow.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await still.listening(1)
        number = 0
        while still.telemetry.feed.subscribers:
            number += 1
            still.deliver(number=number)
            if number % (MAX_WAITING // 2) == 0:
                await clock.advance(0.05)
        slow.settimeout(10)
        if not reads_again:
            await clock.advance(2.0)
        received = await asyncio.to_thread(_read, slow)
    assert b"event: delivery" in received
    assert received.count(b"evt_") < number
    assert (DROPPED in received) is reads_again


DROPPED = b'event: dropped\ndata: {"reason":"more has happened than was read"}'


def _read(connection: socket.socket) -> bytes:
    """Return what comes until the connection ends, or the last event has come."""
    received = b""
    with suppress(ConnectionResetError):
        while DROPPED not in received and (data := connection.recv(65536)):
            received += data
    return received
