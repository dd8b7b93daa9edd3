"""A connection has limits, and whatever comes over it gets a plain answer of ours."""

import asyncio
from pathlib import Path

import pytest

from tests.harness.edge import RunningEdge, genuine_request, running_edge, until
from tests.harness.wire import Reply, exchange, read_reply, request


async def open_and_wait(edge: RunningEdge, opened: list[asyncio.StreamWriter]) -> Reply:
    """Open a connection, say nothing, and return what comes."""
    reader, writer = await asyncio.open_connection(*edge.address)
    opened.append(writer)
    return await read_reply(reader)


@pytest.mark.parametrize(("total", "per_address"), [(2, 10), (10, 2)])
async def test_one_connection_too_many_is_told_so(
    total: int, per_address: int, tmp_path: Path
) -> None:
    opened: list[asyncio.StreamWriter] = []
    async with running_edge(tmp_path, connections=total, per_address=per_address) as edge:
        for _ in range(2):
            reader, writer = await asyncio.open_connection(*edge.address)
            opened.append(writer)
            writer.write(genuine_request())
            assert (await read_reply(reader)).status == 200
        turned_away = await open_and_wait(edge, opened)
        for writer in opened:
            writer.close()
        assert turned_away.status == 502
        assert edge.lines()[-1]["reason"] == "too_many_connections"


async def test_a_connection_that_ends_makes_room(tmp_path: Path) -> None:
    async with running_edge(tmp_path, connections=1) as edge:
        for _ in range(5):
            reader, writer = await asyncio.open_connection(*edge.address)
            writer.write(genuine_request())
            assert (await read_reply(reader)).status == 200
            writer.close()
            await until(lambda: len(edge.connections) == 0)


async def test_headers_that_do_not_end_are_timed_out(tmp_path: Path) -> None:
    async with running_edge(tmp_path, seconds=0.1) as edge:
        assert (await exchange(edge.address, b"POST /hook HTTP/1.1\r\nHo")).status == 408
        opened: list[asyncio.StreamWriter] = []
        assert (await open_and_wait(edge, opened)).status == 408
        opened[0].close()


async def test_the_second_request_of_a_connection_has_a_deadline_too(tmp_path: Path) -> None:
    async with running_edge(tmp_path, seconds=0.1) as edge:
        reader, writer = await asyncio.open_connection(*edge.address)
        writer.write(genuine_request())
        assert (await read_reply(reader)).status == 200
        writer.write(b"POST /hook HTTP/1.1\r\n")
        assert (await read_reply(reader)).status == 408
        writer.close()


@pytest.mark.parametrize(
    ("raw", "status", "reason"),
    [
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400, "body_malformed"),
        (b"POST /hook HTTP/9.9\r\n\r\n", 400, "body_malformed"),
        (b"POST /hook HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431, ""),
        (b"POST /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431, ""),
        (b"POST /hook HTTP/1.1\r\nHost: a\r\n" + b"X: x\r\n" * 70 + b"\r\n", 431, ""),
        (
            request("POST", "/hook", [("Content-Length", "1"), ("Transfer-Encoding", "chunked")]),
            400,
            "body_malformed",
        ),
        (b"POST /hook HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\nx", 400, "body_malformed"),
        (b"POST /hook HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n", 400, "body_malformed"),
    ],
)
async def test_what_is_no_request_gets_a_plain_answer(
    raw: bytes, status: int, reason: str, tmp_path: Path
) -> None:
    async with running_edge(tmp_path) as edge:
        reply = await exchange(edge.address, raw)
        (line,) = edge.lines()
    assert reply.status == status
    assert reply.value("Server") == "relay"
    assert reply.body == b""
    assert line["reason"] == (reason or "headers_too_large")
    assert line["endpoint"] == ""
