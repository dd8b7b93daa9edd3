"""A body is read as it was sent, up to its limits, and no further."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from relay.core.request import Headers
from relay.edge.slow_path import headers_of
from relay.spool.history import Query
from tests.harness.clock import ManualClock, run_loop_until
from tests.harness.edge import RunningEdge, genuine, running_edge
from tests.harness.wire import exchange, read_reply, request


async def received(edge: RunningEdge) -> None:
    """Return when all that was sent before has been received: what comes later is answered."""
    assert (await exchange(edge.address, request("GET", "/healthz"))).status == 200


def chunked(body: bytes, size: int, coding: str = "chunked") -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    coded = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return request("POST", "/hook", [("Transfer-Encoding", coding)], coded + b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("size", "coding"),
    [(1, "chunked"), (7, "chunked"), (10_000, "chunked"), (7, "Chunked"), (7, "CHUNKED")],
)
async def test_chunks_are_put_together(size: int, coding: str, tmp_path: Path) -> None:
    body = genuine()
    async with running_edge(tmp_path) as edge:
        assert (await exchange(edge.address, chunked(body, size, coding))).status == 200
        (record,) = (await edge.spool.page(Query())).records
        found = await edge.spool.get(record.id)
    assert found is not None
    assert found[1] is not None
    assert found[1].body == body


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request("POST", "/hook", [("Content-Length", "4097")]), 413),
        (chunked(b" " * 4097, 100), 413),
        (request("POST", "/hook", [("Content-Encoding", "gzip")], b"x"), 415),
        (request("POST", "/hook", [("Content-Encoding", "identity, br")], b"x"), 415),
        (request("POST", "/hook", [("Content-Encoding", "identity")], b"x"), 400),
        (request("POST", "/hook", [("Content-Length", "10")], b"x"), 408),
        (request("POST", "/hook", [("Transfer-Encoding", "chunked")], b"zz\r\n"), 400),
        (request("POST", "/hook", body=b""), 400),
    ],
)
async def test_what_may_not_be_sent_is_refused(raw: bytes, status: int, tmp_path: Path) -> None:
    async with running_edge(tmp_path, seconds=0.2) as edge:
        assert (await exchange(edge.address, raw)).status == status
        assert (await edge.spool.page(Query())).records == ()


async def test_a_body_may_take_its_time_but_may_not_drip(tmp_path: Path) -> None:
    clock, body = ManualClock(), genuine().ljust(3000)
    head = request("POST", "/hook", [("Content-Length", "3000")])
    async with running_edge(tmp_path, clock=clock, seconds=20) as edge:
        for step, pause, status in ((600, 4.5, 408), (1500, 4.5, 200), (100, 4.5, 408)):
            reader, writer = await asyncio.open_connection(*edge.address)
            answer = asyncio.ensure_future(read_reply(reader))
            writer.write(head)
            for at in range(0, 3000, step):
                writer.write(body[at : at + step])
                await received(edge)
                await clock.advance(pause)
                if answer.done():
                    break
            assert (await answer).status == status
            writer.close()
        details = [line.get("detail") for line in edge.lines() if line.get("reason")]
    assert details == ["less than 240 bytes a second"] * 2


async def test_all_of_a_body_has_its_time(tmp_path: Path) -> None:
    clock = ManualClock()
    head = request("POST", "/hook", [("Content-Length", "3000")])
    async with running_edge(tmp_path, clock=clock, seconds=4) as edge:
        reader, writer = await asyncio.open_connection(*edge.address)
        writer.write(head + b"x" * 2000)
        await received(edge)
        await clock.advance(4.5)
        assert (await read_reply(reader)).status == 408
        writer.close()
        (line,) = edge.lines()
    assert (line["reason"], line.get("detail")) == ("body_timeout", None)


async def test_a_sender_that_leaves_midway_is_accounted_for(tmp_path: Path) -> None:
    async with running_edge(tmp_path, seconds=5) as edge:
        _, writer = await asyncio.open_connection(*edge.address)
        writer.write(request("POST", "/hook", [("Content-Length", "10")], b"x"))
        await writer.drain()
        await run_loop_until(lambda: len(edge.connections) == 1)
        writer.close()
        await run_loop_until(lambda: len(edge.connections) == 0)
        await edge.edge.stop(timedelta(seconds=1))
        (line,) = edge.lines()
    assert (line["verdict"], line["reason"]) == ("refused", "body_malformed")


# ---- a whole request ------------------------------------------------------------------------
# Header fields are what came, byte by byte and in order.

_SENT = b"GET / HTTP/1.1\r\nHost: h\r\nX-Odd: \xe9\xff\r\nx-odd: 2\r\nConnection: close\r\n\r\n"


async def test_fields_keep_their_order_their_case_and_their_bytes() -> None:
    found: list[Headers] = []

    async def take(request: web.BaseRequest) -> web.StreamResponse:
        found.append(headers_of(request))
        return web.Response()

    async with RawTestServer(take) as server:
        assert server.port is not None
        assert (await exchange(("127.0.0.1", server.port), _SENT)).status == 200
    assert list(found[0])[1:3] == [("X-Odd", "\xe9\xff"), ("x-odd", "2")]
    assert found[0].values("X-ODD") == ("\xe9\xff", "2")
