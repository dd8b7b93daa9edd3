"""A connection has limits, and whatever comes over it gets a plain answer of ours."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import NoReturn

import apsw
import pytest

from relay.edge.framing import MAX_FIELDS, MAX_LINE
from relay.spool.history import Query
from tests.edge.smuggling import forms
from tests.harness.clock import run_loop_until
from tests.harness.edge import RunningEdge, genuine, genuine_request, running_edge
from tests.harness.wire import Reply, exchange, read_reply, request


async def open_and_wait(edge: RunningEdge, opened: list[asyncio.StreamWriter]) -> Reply:
    """Open a connection, say nothing, and return what comes."""
    reader, writer = await asyncio.open_connection(*edge.address)
    opened.append(writer)
    return await read_reply(reader)


async def ask_without_end(sender: socket.socket) -> NoReturn:
    """Send requests and read no answer."""
    asking = request("GET", "/healthz") * 1000
    while True:
        await asyncio.get_running_loop().sock_sendall(sender, asking)


@asynccontextmanager
async def locked(directory: Path) -> AsyncIterator[None]:
    """Let nothing be stored as long as this lasts."""
    with closing(apsw.Connection(str(directory / "relay.db"))) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def noticed(edge: RunningEdge) -> None:
    """Return when all that was sent before has been received: what comes later is answered."""
    assert (await exchange(edge.address, request("GET", "/healthz"))).status == 200


async def stored(edge: RunningEdge) -> int:
    return len((await edge.spool.page(Query())).records)


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
            await run_loop_until(lambda: len(edge.connections) == 0)


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


async def test_a_half_request_behind_a_whole_one_has_a_deadline_too(tmp_path: Path) -> None:
    async with running_edge(tmp_path, seconds=0.1) as edge:
        reader, writer = await asyncio.open_connection(*edge.address)
        writer.write(genuine_request() + b"POST /hook HTTP/1.1\r\nHo")
        assert (await read_reply(reader)).status == 200
        assert (await read_reply(reader)).status == 408
        writer.close()


async def test_who_does_not_take_its_answers_is_cut_off(tmp_path: Path) -> None:
    async with running_edge(tmp_path, seconds=0.2) as edge:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            deaf.connect(edge.address)
            deaf.setblocking(False)
            async with asyncio.timeout(20):
                with pytest.raises(ConnectionError):
                    await ask_without_end(deaf)
        await run_loop_until(lambda: len(edge.connections) == 0)
        (line,) = edge.lines()
    assert (line["reason"], line["detail"]) == ("body_timeout", "the answer was not taken in time")


async def test_what_could_be_read_in_two_ways_is_refused_and_stores_nothing(tmp_path: Path) -> None:
    wrong, reasons = {}, []
    found = forms(b"/hook", [b"Content-Type: application/json"], genuine(), genuine_request())
    async with running_edge(tmp_path, connections=1000, per_address=1000) as edge:
        for name, raw in found.items():
            reader, writer = await asyncio.open_connection(*edge.address)
            writer.write(raw)
            answer = await read_reply(reader)
            rest = await reader.read()
            writer.close()
            if (answer.status, answer.value("Connection"), rest) != (400, "close", b""):
                wrong[name] = (answer, rest)
            reasons.append(name)
        stored = (await edge.spool.page(Query())).records
        assert (await exchange(edge.address, genuine_request())).status == 200
        lines = edge.lines()
    assert wrong == {}
    assert stored == ()
    refused, last = lines[:-1], lines[-1]
    assert last["verdict"] == "accepted"
    assert [line["reason"] for line in refused] == ["body_malformed"] * len(reasons)
    assert all(line["endpoint"] in {"", "midtrans"} for line in refused)


async def test_a_body_that_breaks_its_framing_later_is_refused_at_once(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        reader, writer = await asyncio.open_connection(*edge.address)
        writer.write(request("POST", "/hook", [("Transfer-Encoding", "chunked")]))
        writer.write(b"1\r\nx\r\n")
        await writer.drain()
        await run_loop_until(lambda: len(edge.connections) == 1)
        writer.write(b"1;a\r\nx\r\n0\r\n\r\n" + genuine_request())
        reply = await read_reply(reader)
        assert (reply.status, reply.value("Connection")) == (400, "close")
        assert await reader.read() == b""
        writer.close()
        (line,) = edge.lines()
    assert (line["endpoint"], line["reason"]) == ("midtrans", "body_malformed")


async def test_a_broken_body_that_nobody_wanted_changes_nothing(tmp_path: Path) -> None:
    raw = request("POST", "/other", [("Transfer-Encoding", "chunked")], b"1\r\nx\r\n")
    async with running_edge(tmp_path) as edge:
        reader, writer = await asyncio.open_connection(*edge.address)
        writer.write(raw)
        assert (await read_reply(reader)).status == 404
        writer.write(b"zz\r\n" + genuine_request())
        assert await reader.read() == b""
        writer.close()
        (line,) = edge.lines()
    assert line["reason"] == "unknown_endpoint"


async def test_what_came_before_a_broken_request_is_answered(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        reader, writer = await asyncio.open_connection(*edge.address)
        writer.write(genuine_request() * 2 + b"POST  /hook HTTP/1.1\r\n" + genuine_request())
        answers = [(await read_reply(reader)).status for _ in range(3)]
        assert await reader.read() == b""
        writer.close()
    assert answers == [200, 200, 400]


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


@pytest.mark.parametrize(
    "fields",
    [
        b"X: x\r\n" * (MAX_FIELDS - 1),
        b"X: " + b"x" * (MAX_LINE - len(b"X: \r\n")) + b"\r\n",
    ],
)
async def test_the_parser_takes_whatever_the_framing_lets_pass(
    fields: bytes, tmp_path: Path
) -> None:
    raw = b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n"
    async with running_edge(tmp_path) as edge:
        assert (await exchange(edge.address, raw)).status == 200
        refused = raw.replace(fields, fields + b"X: x\r\n" * MAX_FIELDS)
        assert (await exchange(edge.address, refused)).status == 431


# ---- bodies that nobody wants -----------------------------------------------------------------


async def poured(address: tuple[str, int], raw: bytes, most: int) -> int:
    """Send this, and then as much more, or until the connection breaks; return how much went."""
    piece, sent, loop = bytes(256 * 1024), 0, asyncio.get_running_loop()
    with socket.socket() as sender:
        sender.setblocking(False)
        await loop.sock_connect(sender, address)
        await loop.sock_sendall(sender, raw)
        try:
            while sent < most:
                await loop.sock_sendall(sender, piece)
                sent += len(piece)
        except ConnectionError:
            pass
    return sent


@pytest.mark.parametrize(
    "raw",
    [
        request("POST", "/other", [("Content-Length", "900000000000")]),
        request("POST", "/hook", [("Content-Length", "900000000000")]),
        request("POST", "/other", [("Transfer-Encoding", "chunked")], b"fffffff0\r\n"),
    ],
)
async def test_what_nobody_wants_is_not_swallowed_without_end(raw: bytes, tmp_path: Path) -> None:
    mebibyte = 1024 * 1024
    async with running_edge(tmp_path) as edge:
        # What the system holds between the two ends comes on top of what is swallowed.
        assert await poured(edge.address, raw, 256 * mebibyte) < 64 * mebibyte
        await run_loop_until(lambda: len(edge.connections) == 0)
        assert [line["verdict"] for line in edge.lines()] == ["refused"]


@pytest.mark.parametrize("target", ["/other", "/hook"])
async def test_who_sends_all_before_reading_finds_the_refusal(target: str, tmp_path: Path) -> None:
    raw = request("POST", target, body=bytes(900_000)) + genuine_request()
    async with running_edge(tmp_path) as edge:
        reader, writer = await asyncio.open_connection(*edge.address)
        writer.write(raw)
        await writer.drain()
        reply = await read_reply(reader)
        assert (reply.status, reply.value("Connection")) == (
            404 if target == "/other" else 413,
            "close",
        )
        assert await reader.read() == b""
        writer.close()
        assert await stored(edge) == 0


# ---- senders that have said all they say ------------------------------------------------------


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("count", [1, 3])
async def test_who_says_no_more_is_answered_all_the_same(
    count: int, busy: bool, tmp_path: Path
) -> None:
    async with running_edge(tmp_path) as edge:
        reader, writer = await asyncio.open_connection(*edge.address)
        if busy:
            async with locked(tmp_path):
                writer.write(b"".join(genuine_request() for _ in range(count)))
                writer.write_eof()
                await noticed(edge)
        else:
            writer.write(b"".join(genuine_request() for _ in range(count)))
            writer.write_eof()
        replies = [await read_reply(reader) for _ in range(count)]
        assert await reader.read() == b""
        writer.close()
        await run_loop_until(lambda: len(edge.connections) == 0)
        assert await stored(edge) == count
    assert [reply.status for reply in replies] == [200] * count
    assert replies[-1].value("Connection") == "close"


@pytest.mark.parametrize("last", [b"", request("POST", "/hook", [("Content-Length", "9")], b"x")])
async def test_of_many_requests_at_once_all_are_answered(last: bytes, tmp_path: Path) -> None:
    # More than aiohttp takes at a time; the rest it holds back.
    async with running_edge(tmp_path) as edge:
        reader, writer = await asyncio.open_connection(*edge.address)
        writer.write(request("GET", "/healthz") * 100 + last)
        writer.write_eof()
        found = [(await read_reply(reader)).status for _ in range(100)]
        assert found == [200] * 100
        if last:
            assert (await read_reply(reader)).status == 400
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("count", [1, 31, 32, 33, 40, 64, 65, 200])
@pytest.mark.parametrize(
    "last",
    [
        b"GARBAGE\r\n\r\n",
        request("POST", "/hook", [("Transfer-Encoding", "chunked")], b"zz\r\n"),
    ],
)
async def test_what_is_malformed_is_answered_behind_all_requests_before_it(
    last: bytes, count: int, tmp_path: Path
) -> None:
    async with running_edge(tmp_path) as edge:
        reader, writer = await asyncio.open_connection(*edge.address)
        requests = [request("GET", "/healthz"), genuine_request(), request("POST", "/other")]
        expected = [200, 200, 404]
        writer.write(b"".join(requests[n % 3] for n in range(count)) + last)
        found = [(await read_reply(reader)).status for _ in range(count + 1)]
        assert found == [*(expected[n % 3] for n in range(count)), 400]
        assert await reader.read() == b""
        writer.close()
        await run_loop_until(lambda: len(edge.connections) == 0)
        refused = [line for line in edge.lines() if line["status"] == 400]
    assert [line["reason"] for line in refused] == ["body_malformed"]


@pytest.mark.parametrize(
    ("rest", "last"),
    [
        (b"POST /hook HTTP/1.1\r\nHo", 0),
        (b"POST  /hook HTTP/1.1\r\n", 400),
        (request("POST", "/hook", [("Content-Length", "10")], b"x"), 400),
        (request("POST", "/hook", [("Transfer-Encoding", "chunked")], b"5\r\nabc"), 400),
        (request("POST", "/other", [("Content-Length", "10")], b"x"), 404),
    ],
)
async def test_who_ends_inside_a_request_is_answered_as_far_as_that_went(
    rest: bytes, last: int, tmp_path: Path
) -> None:
    async with running_edge(tmp_path) as edge:
        reader, writer = await asyncio.open_connection(*edge.address)
        writer.write(genuine_request() + rest)
        writer.write_eof()
        assert (await read_reply(reader)).status == 200
        assert (await read_reply(reader)).status == last
        assert await reader.read() == b""
        writer.close()
        await run_loop_until(lambda: len(edge.connections) == 0)
        assert await stored(edge) == 1


async def test_who_ends_without_a_word_is_let_go(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        reader, writer = await asyncio.open_connection(*edge.address)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await run_loop_until(lambda: len(edge.connections) == 0)
        assert edge.lines() == []


@pytest.mark.parametrize("reset", [False, True])
async def test_who_leaves_while_its_event_is_stored_loses_only_the_answer(
    reset: bool, tmp_path: Path
) -> None:
    async with running_edge(tmp_path) as edge:
        async with locked(tmp_path):
            _, writer = await asyncio.open_connection(*edge.address)
            writer.write(genuine_request())
            await noticed(edge)
            if reset:
                ends = writer.get_extra_info("socket")
                ends.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.close()
            await noticed(edge)
        async with asyncio.timeout(10):
            while not await stored(edge):
                pass
        await run_loop_until(lambda: len(edge.connections) == 0)
    # With the end of the edge, what was in hand has been accounted for.
    assert [line["verdict"] for line in edge.lines()] == ["accepted"]
