"""A body is read as it was sent, up to its limits, and no further."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from aiohttp.web import BaseRequest, Response, Server, StreamResponse

from relay.core.errors import Reason, Refusal
from relay.core.request import Headers
from relay.edge.slow_path import BodyReader, headers_of
from relay.spool import Query
from tests.harness.clock import run_loop_until
from tests.harness.edge import genuine, running_edge
from tests.harness.wire import exchange, read_reply, request


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


async def test_a_body_may_take_its_time_but_may_not_drip() -> None:
    limits = BodyReader(size=4096, timeout=timedelta(seconds=20), grace=timedelta(seconds=0.25))
    answers: list[bytes | Refusal] = []

    async def handle(request: BaseRequest) -> StreamResponse:
        try:
            answers.append(await limits.read(request))
        except Refusal as refusal:
            answers.append(refusal)
        return Response()

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server(handle), "127.0.0.1", 0)
    address = server.sockets[0].getsockname()[:2]
    head = request("POST", "/", [("Content-Length", "600")])
    for step, pause in ((60, 0.05), (1, 0.05)):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(head)
        for _ in range(0, 600, step):
            # The pace of the sender is what is tried.
            await asyncio.sleep(pause)
            if answers[1:]:
                break
            writer.write(b"x" * step)
        await read_reply(reader)
        writer.close()
    server.close()
    taken, refused = answers
    assert taken == b"x" * 600
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.BODY_TIMEOUT


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
