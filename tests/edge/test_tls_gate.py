"""A TLS connection counts from its first packet, and has to shake hands in time."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import pytest

from relay.edge.listener import Listener
from relay.edge.tls import server_context
from relay.spool import Query
from tests.harness.certified import certified
from tests.harness.edge import RunningEdge, genuine_request, running_edge, until
from tests.harness.wire import read_reply, request


@pytest.fixture
def client(tmp_path: Path) -> ssl.SSLContext:
    return certified(tmp_path, "pay.example.com")[1]


@pytest.fixture
def listener(tmp_path: Path, client: ssl.SSLContext) -> Listener:
    pem = tmp_path / "certificate.pem"
    return Listener("127.0.0.1", 0, server_context(pem, pem))


Sure = tuple[RunningEdge, asyncio.StreamReader, asyncio.StreamWriter]


async def nothing(reader: asyncio.StreamReader) -> bool:
    """Say whether the connection ends without an answer that HTTP would know."""
    try:
        return b"HTTP" not in await reader.read()
    except ConnectionResetError:
        return True


async def test_silent_connections_are_counted_and_limited(
    tmp_path: Path, listener: Listener
) -> None:
    async with running_edge(tmp_path, per_address=2, listener=listener) as edge:
        silent = [await asyncio.open_connection(*edge.address) for _ in range(2)]
        await until(lambda: len(edge.connections) == 2)
        reader, writer = await asyncio.open_connection(*edge.address)
        assert await nothing(reader)
        writer.close()
        for _, each in silent:
            each.close()
        await until(lambda: len(edge.connections) == 0)
        assert [line["reason"] for line in edge.lines()] == ["too_many_connections"]


async def test_a_handshake_that_does_not_come_is_timed_out(
    tmp_path: Path, listener: Listener
) -> None:
    async with running_edge(tmp_path, seconds=0.1, listener=listener) as edge:
        reader, writer = await asyncio.open_connection(*edge.address)
        assert await reader.read() == b""
        writer.close()
        await until(lambda: len(edge.connections) == 0)
        assert [line["reason"] for line in edge.lines()] == ["header_timeout"]


async def test_what_is_not_tls_is_closed_without_a_word(tmp_path: Path, listener: Listener) -> None:
    async with running_edge(tmp_path, listener=listener) as edge:
        reader, writer = await asyncio.open_connection(*edge.address)
        writer.write(genuine_request())
        assert await nothing(reader)
        writer.close()
        await until(lambda: len(edge.connections) == 0)
        assert edge.lines() == []


async def test_one_connection_is_counted_once(
    tmp_path: Path, listener: Listener, client: ssl.SSLContext
) -> None:
    async with running_edge(tmp_path, connections=1, listener=listener) as edge:
        reader, writer = await asyncio.open_connection(
            *edge.address, ssl=client, server_hostname="pay.example.com"
        )
        for _ in range(2):
            writer.write(genuine_request())
            assert (await read_reply(reader)).status == 200
        assert len(edge.connections) == 1
        writer.close()
        await until(lambda: len(edge.connections) == 0)


async def test_the_stop_does_not_wait_for_a_handshake(tmp_path: Path, listener: Listener) -> None:
    async with running_edge(tmp_path, seconds=30, listener=listener) as edge:
        _, writer = await asyncio.open_connection(*edge.address)
        await until(lambda: len(edge.connections) == 1)
    assert len(edge.connections) == 0
    writer.close()


@pytest.fixture
async def sure(tmp_path: Path, listener: Listener, client: ssl.SSLContext) -> AsyncIterator[Sure]:
    """An edge with short limits, and a connection to it whose handshake is done."""
    async with running_edge(tmp_path, seconds=0.3, listener=listener) as edge:
        reader, writer = await asyncio.open_connection(
            *edge.address, ssl=client, server_hostname="pay.example.com", limit=1024
        )
        yield edge, reader, writer
        writer.transport.abort()
        await until(lambda: len(edge.connections) == 0)


async def test_requests_at_once_are_all_answered(sure: Sure) -> None:
    edge, reader, writer = sure
    writer.write(b"".join(genuine_request() for _ in range(5)))
    assert [(await read_reply(reader)).status for _ in range(5)] == [200] * 5
    assert {line["verdict"] for line in edge.lines()} == {"accepted"}


@pytest.mark.parametrize("before", [1, 2, 3])
async def test_a_connection_whose_answers_were_taken_may_be_idle(before: int, sure: Sure) -> None:
    edge, reader, writer = sure
    for _ in range(before):
        writer.write(genuine_request())
        assert (await read_reply(reader)).status == 200
    # Another one, which says nothing, tells when the limit is over.
    silent, other = await asyncio.open_connection(*edge.address)
    assert await nothing(silent)
    other.close()
    writer.write(genuine_request())
    assert (await read_reply(reader)).status == 200
    found = [line.get("detail") for line in edge.lines()]
    assert [each for each in found if each is not None] == ["no TLS handshake in time"]


async def ask_without_end(writer: asyncio.StreamWriter) -> NoReturn:
    """Send requests and read no answer."""
    while True:
        writer.write(request("GET", "/healthz") * 1000)
        await writer.drain()


async def test_who_does_not_take_its_answers_is_cut_off_here_too(sure: Sure) -> None:
    edge, _, writer = sure
    async with asyncio.timeout(20):
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await ask_without_end(writer)
    await until(lambda: len(edge.connections) == 0)
    (line,) = edge.lines()
    assert (line["reason"], line["detail"]) == ("body_timeout", "the answer was not taken in time")


async def test_who_leaves_without_its_answer_loses_nothing_else(sure: Sure) -> None:
    edge, _, writer = sure
    writer.write(genuine_request())
    writer.close()
    async with asyncio.timeout(10):
        while not (await edge.spool.page(Query())).records:
            pass
