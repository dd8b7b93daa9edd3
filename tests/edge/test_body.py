"""A body is read as it was sent, up to its limits, and no further."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from relay.spool import Query
from tests.harness.edge import genuine, running_edge, until
from tests.harness.wire import exchange, request


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    coded = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return request("POST", "/hook", [("Transfer-Encoding", "chunked")], coded + b"0\r\n\r\n")


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_chunks_are_put_together(size: int, tmp_path: Path) -> None:
    body = genuine()
    async with running_edge(tmp_path) as edge:
        assert (await exchange(edge.address, chunked(body, size))).status == 200
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


async def test_a_sender_that_leaves_midway_is_accounted_for(tmp_path: Path) -> None:
    async with running_edge(tmp_path, seconds=5) as edge:
        _, writer = await asyncio.open_connection(*edge.address)
        writer.write(request("POST", "/hook", [("Content-Length", "10")], b"x"))
        await writer.drain()
        await until(lambda: len(edge.connections) == 1)
        writer.close()
        await until(lambda: len(edge.connections) == 0)
        await edge.edge.stop(timedelta(seconds=1))
        (line,) = edge.lines()
    assert (line["verdict"], line["reason"]) == ("refused", "body_malformed")
