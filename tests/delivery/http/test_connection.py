import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from relay.delivery.http.connection import (
    Connection,
    Exchange,
)
from relay.delivery.http.messages import Closed, KnownHeads, Malformed, Response, TooLong
from tests.delivery.http.peer import OK, Line, Peer

REQUEST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
LONG_REQUEST = REQUEST + bytes(30_000_000)


class Lost(list[Connection]):
    """Whom we were told of."""


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Connection, Line, Lost]]:
    """Give both ends of a connection."""
    lost = Lost()
    with Peer() as peer:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(
                longest_body=1000,
                known_heads=KnownHeads(),
                ended=lambda _, exchange: exchange.ended(),
                lost=lost.append,
            ),
            "127.0.0.1",
            peer.port,
        )
        try:
            yield connection, await peer.line(), lost
        finally:
            connection.abort()
            await connection.closed


def exchange_of(
    request: bytes = REQUEST, wants_body: Callable[[int], bool] = lambda _: True
) -> Exchange:
    """Return an exchange for `exchanged`."""
    return Exchange(request, lambda _: None, wants_body)


async def exchanged(connection: Connection, exchange: Exchange) -> None:
    """Have one exchange; cancelled, it is dropped."""
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def resolve(_: Exchange) -> None:
        if not ended.done():
            ended.set_result(None)

    exchange.done = resolve
    connection.send(exchange)
    try:
        await ended
    except asyncio.CancelledError:
        if connection.is_busy:
            connection.cancel()
        raise
    if exchange.error is not None:
        raise exchange.error


async def begin(
    connection: Connection, line: Line, request: bytes = REQUEST
) -> tuple[asyncio.Task[None], Response]:
    """Return an exchange whose request has come, or some of it, and its answer."""
    response = exchange_of(request)
    exchange = asyncio.ensure_future(exchanged(connection, response))
    assert await line.heard()
    return exchange, response


@asynccontextmanager
async def asking(
    connection: Connection, line: Line, request: bytes = REQUEST
) -> AsyncIterator[Response]:
    """Have the request under way inside; its answer has come behind."""
    exchange, response = await begin(connection, line, request)
    try:
        yield response
    finally:
        await exchange


async def test_a_request_is_answered_and_another_may_follow() -> None:
    async with connected() as (connection, line, lost):
        for _ in range(3):
            async with asking(connection, line) as response:
                assert (connection.is_busy, connection.is_idle) == (True, False)
                line.say(OK)
            assert (response.status, response.body, response.complete) == (200, b"hi", True)
            assert (connection.is_busy, connection.is_idle) == (False, True)
            assert not connection.poll(0)
        assert lost == []


async def test_an_answer_may_come_in_pieces() -> None:
    async with connected() as (connection, line, _):
        async with asking(connection, line) as response:
            for at in range(len(OK)):
                line.say(OK[at : at + 1])
                await asyncio.sleep(0)
        assert response.body == b"hi"
        assert connection.is_idle


async def test_a_request_larger_than_every_buffer_arrives_whole() -> None:
    async with connected() as (connection, line, _):
        response, heard = exchange_of(LONG_REQUEST), b""
        exchange = asyncio.ensure_future(exchanged(connection, response))
        while len(heard) < len(LONG_REQUEST):
            heard += await line.heard()
        line.say(OK)
        await exchange
        assert heard == LONG_REQUEST
        assert connection.is_idle


# ---- connections that cannot be used again --------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        OK + OK,
        OK + b"x",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
    ids=["close", "old", "two answers", "more", "upgrade"],
)
async def test_a_connection_that_is_not_in_order_is_closed(raw: bytes) -> None:
    async with connected() as (connection, line, lost):
        async with asking(connection, line) as response:
            line.say(raw)
        assert response.complete
        assert not connection.is_idle
        await line.has_ended()
        await connection.closed
        assert lost == [connection]


@pytest.mark.parametrize("more", [OK, b"x", b"HTTP/1.1 408 Too late\r\nConnection: close\r\n\r\n"])
async def test_bytes_that_nobody_asked_for_close_an_idle_connection(more: bytes) -> None:
    async with connected() as (connection, line, lost):
        async with asking(connection, line):
            line.say(OK)
        line.say(more)
        assert connection.poll(0)
        await connection.closed
        assert not connection.is_idle
        assert lost == [connection]
        with pytest.raises(Closed):
            await exchanged(connection, exchange_of())


@pytest.mark.parametrize("end", [Line.hang_up, Line.reset, Line.say_no_more])
async def test_the_end_of_an_idle_connection_is_seen(end: object) -> None:
    assert callable(end)
    async with connected() as (connection, line, lost):
        async with asking(connection, line):
            line.say(OK)
        end(line)
        # The loop has not come to it, the socket knows.
        assert (connection.is_idle, not connection.poll(0)) == (True, False)
        await connection.closed
        assert not connection.is_idle
        assert lost == [connection]


async def test_an_answer_before_the_end_of_the_request_costs_the_connection() -> None:
    async with connected() as (connection, line, _):
        async with asking(connection, line, LONG_REQUEST) as response:
            line.say(b"HTTP/1.1 413 Too large\r\nContent-Length: 0\r\n\r\n")
        assert (response.status, response.complete) == (413, True)
        assert not connection.is_idle
        await connection.closed


async def test_an_early_answer_counts_though_the_peer_hangs_up_on_the_rest() -> None:
    async with connected() as (connection, line, _):
        async with asking(connection, line, LONG_REQUEST) as response:
            line.say(b"HTTP/1.1 413 Too large\r\nContent-Length: 0\r\n\r\n")
            line.hang_up()
        assert (response.status, response.complete) == (413, True)
        assert not connection.is_idle


async def test_a_body_that_is_not_wanted_costs_the_connection() -> None:
    async with connected() as (connection, line, _):
        response = exchange_of(wants_body=lambda status: status < 500)
        exchange = asyncio.ensure_future(exchanged(connection, response))
        await line.heard()
        line.say(b"HTTP/1.1 503 No\r\nContent-Length: 1000\r\n\r\nsome")
        await exchange
        assert (response.status, response.complete) == (503, False)
        await line.has_ended()


# ---- answers that do not come ---------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nConte", OK[:-1]])
@pytest.mark.parametrize("end", [Line.hang_up, Line.say_no_more])
async def test_the_end_before_the_answer_is_told(end: object, said: bytes) -> None:
    assert callable(end)
    async with connected() as (connection, line, _):
        exchange, response = await begin(connection, line)
        if said:
            line.say(said)
        end(line)
        with pytest.raises(Closed):
            await exchange
        assert not response.complete
        assert not connection.is_idle
        await connection.closed


async def test_a_body_without_a_length_ends_with_the_connection() -> None:
    async with connected() as (connection, line, _):
        async with asking(connection, line) as response:
            line.say(b"HTTP/1.1 200 OK\r\n\r\nhi")
            line.hang_up()
        assert (response.body, response.complete) == (b"hi", True)
        assert not connection.is_idle


async def test_a_reset_is_an_os_error() -> None:
    async with connected() as (connection, line, _):
        exchange, _ = await begin(connection, line)
        line.reset()
        with pytest.raises(ConnectionResetError):
            await exchange
        assert not connection.is_idle


async def test_a_body_without_a_length_is_not_whole_when_the_connection_breaks() -> None:
    async with connected() as (connection, line, _):
        exchange, response = await begin(connection, line)
        line.say(b"HTTP/1.1 200 OK\r\n\r\nhi")
        line.reset()
        with pytest.raises((ConnectionResetError, Closed)):
            await exchange
        assert not response.complete


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"SSH-2.0\r\n", Malformed),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + bytes(1001), TooLong),
    ],
)
async def test_what_cannot_be_read_closes_the_connection(
    raw: bytes, error: type[Exception]
) -> None:
    async with connected() as (connection, line, _):
        exchange, _ = await begin(connection, line)
        line.say(raw)
        with pytest.raises(error):
            await exchange
        assert not connection.is_idle
        await line.has_ended()


# ---- giving up ------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200", OK[:-1]])
async def test_a_cancelled_exchange_closes_the_connection_at_once(said: bytes) -> None:
    async with connected() as (connection, line, lost):
        exchange = asyncio.ensure_future(exchanged(connection, exchange_of(LONG_REQUEST)))
        await line.heard()
        if said:
            line.say(said)
        exchange.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exchange
        assert (connection.is_busy, connection.is_idle) == (False, False)
        await connection.closed
        assert lost == [connection]


async def test_an_exchange_that_is_cancelled_with_its_answer_leaves_things_in_order() -> None:
    async with connected() as (connection, line, _):
        exchange = asyncio.ensure_future(exchanged(connection, exchange_of()))
        await line.heard()
        connection.data_received(OK)
        exchange.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exchange
        assert connection.is_idle
        async with asking(connection, line) as response:
            line.say(OK)
        assert response.complete


async def test_what_comes_right_behind_an_answer_is_nobodys() -> None:
    async with connected() as (connection, line, _):
        response = exchange_of()
        exchange = asyncio.ensure_future(exchanged(connection, response))
        await line.heard()
        connection.data_received(OK)
        connection.data_received(OK.replace(b"hi", b"no"))
        await exchange
        assert response.body == b"hi"
        assert not connection.is_idle


async def test_a_closed_connection_sends_nothing() -> None:
    async with connected() as (connection, line, lost):
        connection.close()
        connection.close()
        with pytest.raises(Closed):
            await exchanged(connection, exchange_of())
        assert await line.heard() == b""
        await connection.closed
        assert lost == [connection]
