"""Requests become deliveries, connections are kept, and the end is in good order."""

import asyncio
import errno
import resource
from datetime import timedelta
from pathlib import Path

import pytest

from relay.allowlist import Mode
from relay.edge.listener import Listener, connection_budget, descriptors
from relay.spool.history import Query
from tests.harness.clock import CountingClock, run_loop_until
from tests.harness.edge import RunningEdge, genuine_request, running_edge
from tests.harness.wire import Reply, exchange, read_reply, request


async def test_two_deliveries_share_one_connection(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        reader, writer = await asyncio.open_connection(*edge.address)
        for _ in range(2):
            writer.write(genuine_request())
            assert (await read_reply(reader)).status == 200
        writer.close()
        assert len((await edge.spool.page(Query())).records) == 2


async def test_a_delivery_reads_the_clock_once_a_step(tmp_path: Path) -> None:
    clock = CountingClock()
    async with running_edge(tmp_path, clock=clock) as edge:
        reader, writer = await asyncio.open_connection(*edge.address)
        requests = [genuine_request(), genuine_request()]
        for raw in requests:
            # The deadline of a connection's first head is one look more.
            clock.reads.clear()
            writer.write(raw)
            assert (await read_reply(reader)).status == 200
        writer.close()
        assert clock.reads == {
            ("relay.edge.fast_lane", "now"): 1,
            ("relay.ingest.pipeline", "monotonic"): 3,
            ("relay.edge.answers", "monotonic"): 1,
            ("relay.spool.sqlite", "steady"): 1,
            ("relay.telemetry", "now"): 1,
        }


async def test_pipelined_deliveries_are_answered_in_order(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        reader, writer = await asyncio.open_connection(*edge.address)
        writer.write(genuine_request() + request("POST", "/other") + genuine_request())
        answers = [(await read_reply(reader)).status for _ in range(3)]
        writer.close()
    assert answers == [200, 404, 200]


async def test_health_is_answered_to_anybody_and_is_no_delivery(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        reply = await exchange(edge.address, request("GET", "/healthz"))
        assert (reply.status, reply.body) == (200, b"OK")
        head = await exchange(edge.address, request("POST", "/healthz"))
        assert head.status == 404
        assert len(edge.lines()) == 1


async def test_a_body_that_was_not_wanted_closes_the_connection(tmp_path: Path) -> None:
    raw = request("POST", "/other", [("Content-Length", "1000000")], b"begin")
    async with running_edge(tmp_path) as edge:
        reader, writer = await asyncio.open_connection(*edge.address)
        writer.write(raw)
        reply = await read_reply(reader)
        assert (reply.status, reply.value("Connection")) == (404, "close")
        writer.close()


async def test_after_the_stop_nobody_gets_in(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        reply = await exchange(edge.address, request("GET", "/healthz"))
        assert reply.status == 200
        await edge.edge.stop(timedelta())
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*edge.address)


async def test_at_the_end_a_request_that_is_on_its_way_is_answered(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        idle = [await asyncio.open_connection(*edge.address) for _ in range(3)]
        for reader, writer in idle:
            writer.write(genuine_request())
            assert (await read_reply(reader)).value("Connection") is None
        stopping = asyncio.ensure_future(edge.edge.stop(timedelta(seconds=20)))
        await run_loop_until(lambda: not edge.edge.accepting)
        for (reader, writer), last in zip(
            idle, [genuine_request(), request("GET", "/healthz"), request("GET", "/")], strict=True
        ):
            writer.write(last)
            reply = await read_reply(reader)
            assert reply.status in {200, 404}
            assert reply.value("Connection") == "close"
            assert await reader.read() == b""
            writer.close()
        # Nobody is left to wait for.
        async with asyncio.timeout(10):
            await stopping
        assert len((await edge.spool.page(Query())).records) == 4


async def test_at_the_end_nobody_holds_it_up(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        reader, writer = await asyncio.open_connection(*edge.address)
        async with asyncio.timeout(10):
            await edge.edge.stop(timedelta(seconds=1))
        assert await reader.read() == b""
        writer.close()


async def test_a_taken_port_leaves_nothing_open(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as first:
        with pytest.raises(OSError) as taken:  # noqa: PT011 - its number is looked at
            await first.edge.start([Listener("127.0.0.1", 0), Listener(*first.address)])
        assert taken.value.errno == errno.EADDRINUSE
        assert not first.edge.accepting


# ---- what one client has in hand ----------------------------------------------------------------

PROXY, ONE, TWO = "127.0.0.2", "203.0.113.1", "203.0.113.2"
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def forwarded(client: str, raw: bytes) -> bytes:
    return raw.replace(b"Host", f"X-Forwarded-For: {client}\r\nHost".encode(), 1)


async def through_proxy(edge: RunningEdge, raw: bytes) -> tuple[Reply, Ends]:
    """Send this as the proxy does; return the first answer, which may be 100."""
    reader, writer = await asyncio.open_connection(*edge.address, local_addr=(PROXY, 0))
    writer.write(raw)
    return await read_reply(reader), (reader, writer)


async def begun(edge: RunningEdge, client: str) -> Ends:
    """Begin a delivery of this client; its body is being read when this returns."""
    fields = [("Expect", "100-continue"), ("Content-Length", "100")]
    reply, ends = await through_proxy(edge, forwarded(client, request("POST", "/hook", fields)))
    assert reply.status == 100
    return ends


async def test_no_client_of_a_proxy_can_use_up_what_there_is(tmp_path: Path) -> None:
    async with running_edge(
        tmp_path, connections=20, per_address=2, trusted=[PROXY], mode=Mode.OFF
    ) as edge:
        held = [await begun(edge, ONE) for _ in range(2)]
        refused, (_, writer) = await through_proxy(edge, forwarded(ONE, genuine_request()))
        assert refused.status == 502
        held += [await begun(edge, TWO)]
        answered, (_, other) = await through_proxy(edge, forwarded(TWO, genuine_request()))
        assert answered.status == 200
        for reader, each in held:
            each.write(bytes(100))
            assert (await read_reply(reader)).status == 400
        again, (_, last) = await through_proxy(edge, forwarded(ONE, genuine_request()))
        assert again.status == 200
        for each in (writer, other, last, *(each for _, each in held)):
            each.close()
        await run_loop_until(lambda: len(edge.connections) == 0)
        line = edge.lines()[0]
    assert (line["reason"], line["client"], line["peer"]) == ("too_many_connections", ONE, PROXY)


# ---- running out of descriptors -------------------------------------------------------------
# Connections never take the descriptors that everything else needs.


@pytest.mark.parametrize(
    ("available", "others", "expected"),
    [(4096, 32, 4000), (1024, 0, 960), (1024, 2000, 512), (100, 32, 50), (1, 0, 1)],
)
def test_the_reserve_is_kept(available: int, others: int, expected: int) -> None:
    assert connection_budget(available=available, others=others) == expected


def test_the_limit_of_this_process_is_known() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert descriptors() == (2**31 if soft == resource.RLIM_INFINITY else soft)


# ---- the server of connections --------------------------------------------------------------


async def test_aiohttp_has_the_names_that_the_fast_lane_goes_by(tmp_path: Path) -> None:
    """An idle connection of aiohttp waits for a message, and holds none."""
    async with running_edge(tmp_path) as edge:
        reader, writer = await asyncio.open_connection(*edge.address)
        writer.write(genuine_request())
        assert (await read_reply(reader)).status == 200
        server = edge.edge._server
        assert server is not None
        [connection] = server.connections
        waiter = connection._waiter
        assert waiter is not None
        assert not waiter.done()
        busy = (connection._messages, connection._paused)
        assert [*map(bool, busy)] == [False, False]
        assert (connection._close, connection._force_close) == (False, False)
        writer.close()
        await run_loop_until(lambda: not server.connections)


async def test_its_own_timer_for_idle_connections_never_falls_due(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        _, writer = await asyncio.open_connection(*edge.address)
        await run_loop_until(lambda: len(edge.connections) == 1)
        server = edge.edge._server
        assert server is not None
        [connection] = server.connections
        assert connection.keepalive_timeout > 365 * 86_400
        writer.close()
        await run_loop_until(lambda: len(edge.connections) == 0)
