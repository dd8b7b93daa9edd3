import asyncio
import gc
import socket
import ssl
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from relay.delivery.http.connection import Exchange
from relay.delivery.http.messages import Closed, Malformed, Origin, Response, encode
from relay.delivery.http.pool import CannotConnect, Pool, keep_for
from tests.delivery.http.peer import OK, Line, Peer
from tests.harness.clock import run_loop_until
from tests.harness.upstream import Upstream, answer, close, hang, send
from tests.harness.wire import self_signed

LIMIT = 1000


@asynccontextmanager
async def pool_for(
    url: str,
    *,
    size: int = 4,
    idle: float = 30.0,
    within: float | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Pool]:
    pool = Pool(
        Origin.of(url),
        size=size,
        idle=idle,
        longest_body=LIMIT,
        timeout=within,
        tls=tls,
    )
    try:
        yield pool
    finally:
        await pool.close()


def ask(pool: Pool, name: str = "a") -> asyncio.Task[Response]:
    """Begin to ask; the name is in the request."""

    async def answered() -> Response:
        return await pool.exchange(encode("POST", f"/{name}", "h", [], b""))

    return asyncio.ensure_future(answered())


async def asked(line: Line) -> str:
    """Return the name in the next request on a line."""
    return (await line.heard()).split()[1].decode().removeprefix("/")


async def serve(line: Line, said: bytes = OK) -> str:
    """Answer the next request on a line; return the name in it."""
    name = await asked(line)
    line.say(said)
    return name


async def pooled(pool: Pool, peer: Peer, said: bytes = OK) -> Line:
    """Return the line of a connection that has been used once."""
    task = ask(pool)
    line = await peer.line()
    await serve(line, said)
    await task
    return line


async def all_gone(pool: Pool) -> None:
    """Return when the pool has noticed that every connection is over."""
    await asyncio.gather(*(each.closed for each in pool._connections))


# ---- keeping connections --------------------------------------------------------------------


async def test_a_connection_is_used_again() -> None:
    with Peer() as peer:
        async with pool_for(peer.url) as pool:
            line = await pooled(pool, peer)
            for name in "bcd":
                task = ask(pool, name)
                assert await serve(line) == name
                assert (await task).body == b"hi"
            assert not peer.has_another()


async def test_the_connection_used_last_is_used_first() -> None:
    with Peer() as peer:
        async with pool_for(peer.url) as pool:
            tasks = ask(pool, "a"), ask(pool, "b")
            lines = {}
            for line in (await peer.line(), await peer.line()):
                lines[await asked(line)] = line
            for name, task in (("b", tasks[1]), ("a", tasks[0])):
                lines[name].say(OK)
                await task
            again = ask(pool, "c")
            assert await serve(lines["a"]) == "c"
            await again


async def test_no_more_connections_are_in_use_than_allowed() -> None:
    with Peer() as peer:
        async with pool_for(peer.url, size=1) as pool:
            tasks = [ask(pool, name) for name in "abc"]
            line = await peer.line()
            for name, task in zip("abc", tasks, strict=True):
                assert await serve(line) == name
                await task
            assert not peer.has_another()


async def test_requests_of_one_iteration_are_sent_together_at_its_end() -> None:
    with Peer() as peer:
        async with pool_for(peer.url) as pool:
            tasks = [ask(pool, name) for name in "ab"]
            lines = [await peer.line() for _ in tasks]
            for line in lines:
                await serve(line)
            await asyncio.gather(*tasks)
            ended: list[Exchange] = []
            for name in "cde":
                pool.ask(Exchange(encode("POST", f"/{name}", "h", [], b""), ended.append))
            # One alone goes at once.
            assert sum(each.is_busy for each in pool._connections) == 1
            await asyncio.sleep(0)
            assert sum(each.is_busy for each in pool._connections) == 2
            lines.append(await peer.line())
            assert sorted([await serve(line) for line in lines]) == ["c", "d", "e"]
            await run_loop_until(lambda: len(ended) == 3)
            assert [each.error for each in ended] == [None] * 3


async def test_an_idle_connection_is_closed_after_a_while() -> None:
    with Peer() as peer:
        async with pool_for(peer.url, idle=0.05) as pool:
            began = time.monotonic()
            line = await pooled(pool, peer)
            await line.has_ended()
            assert 0.04 < time.monotonic() - began < 1
            # The timer runs again for the next ones.
            await (await pooled(pool, peer)).has_ended()


async def test_a_connection_in_use_is_not_idle() -> None:
    with Peer() as peer:
        async with pool_for(peer.url, idle=0.05) as pool:
            first = await pooled(pool, peer)
            task = ask(pool, "b")
            assert await asked(first) == "b"
            # While the other connection outlives its time, this one waits for its answer.
            other = ask(pool, "c")
            second = await peer.line()
            await serve(second)
            await other
            await second.has_ended()
            first.say(OK)
            assert (await task).complete


async def test_a_peer_that_soon_closes_is_believed() -> None:
    said = b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nhi"
    with Peer() as peer:
        async with pool_for(peer.url) as pool:
            await (await pooled(pool, peer, said)).has_ended()


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ([], 30),
        (["timeout=5"], 4),
        (["timeout=5, max=100"], 4),
        (["max=100, Timeout=5"], 4),
        (["max=100", 'timeout="5"'], 4),
        (["timeout=120"], 30),
        (["timeout=0"], -1),
        (["timeout=" + "9" * 5000], 30),
        (["timeout=-5"], 30),
        (["timeout"], 30),
        (["mytimeout=5"], 30),
    ],
)
def test_how_long_a_connection_is_kept(said: list[str], seconds: float) -> None:
    assert keep_for(said, 30) == seconds


# ---- calling back ---------------------------------------------------------------------------


class Ended(list[Exchange]):
    """The exchanges that have ended, in order, and a way to wait for them."""

    def __init__(self) -> None:
        super().__init__()
        self._news = asyncio.Event()

    def put(self, exchange: Exchange) -> None:
        self.append(exchange)
        self._news.set()

    async def until(self, number: int) -> None:
        while len(self) < number:
            self._news.clear()
            await self._news.wait()


def exchange(ended: Ended, name: str = "a") -> Exchange:
    return Exchange(encode("POST", f"/{name}", "h", [], b""), ended.put)


async def test_what_has_ended_is_told_once_and_behind_the_call() -> None:
    ended = Ended()
    with Peer() as peer:
        async with pool_for(peer.url) as pool:
            line = await pooled(pool, peer)
            for number, said in enumerate((OK, OK, b"garbage")):
                pool.ask(exchange(ended))
                assert len(ended) == number
                await serve(line, said)
                await ended.until(number + 1)
            await line.has_ended()
            await all_gone(pool)
    assert [type(each.error) for each in ended] == [type(None), type(None), Malformed]
    assert [each.body for each in ended] == [b"hi", b"hi", b""]


async def test_an_exchange_may_follow_from_the_end_of_another() -> None:
    with Peer() as peer:
        async with pool_for(peer.url, size=1) as pool:
            ended = Ended()

            def again(first: Exchange) -> None:
                ended.put(first)
                pool.ask(exchange(ended, "b"))

            pool.ask(Exchange(encode("POST", "/a", "h", [], b""), again))
            line = await peer.line()
            assert [await serve(line), await serve(line)] == ["a", "b"]
            await ended.until(2)


async def test_whatever_it_waits_for_an_exchange_ends_in_time() -> None:
    ended = Ended()
    with Peer() as peer:
        async with pool_for(peer.url, size=1, within=0.1) as pool:
            began = time.monotonic()
            for name in "ab":
                pool.ask(exchange(ended, name))
            line = await peer.line()
            assert await asked(line) == "a"
            await ended.until(2)
            assert 0.09 < time.monotonic() - began < 1
            # What waited for a connection was not sent at the last moment.
            assert await line.heard() == b""
            assert not peer.has_another()
            # One that is asked later has the whole time, too.
            began = time.monotonic()
            pool.ask(exchange(ended, "c"))
            assert await asked(await peer.line()) == "c"
            await ended.until(3)
            assert 0.09 < time.monotonic() - began < 1
    assert [type(each.error) for each in ended] == [TimeoutError] * 3
    assert not pool._under_way


async def test_one_timer_serves_all_exchanges() -> None:
    ended = Ended()
    with Peer() as peer:
        async with pool_for(peer.url, within=30.0) as pool:
            line = await pooled(pool, peer)
            timer = pool._due_at
            assert timer is not None
            for number in range(20):
                pool.ask(exchange(ended))
                await serve(line)
                await ended.until(number + 1)
            assert pool._due_at is timer
            assert not pool._under_way


async def test_what_follows_from_a_time_out_puts_off_no_other() -> None:
    ended = Ended()
    with Peer() as peer:
        async with pool_for(peer.url, within=30.0) as pool:
            following, other = exchange(ended, "c"), exchange(ended, "b")
            first = Exchange(encode("POST", "/a", "h", [], b""), lambda _: pool.ask(following))
            pool.ask(first)
            pool.ask(other)
            first.due = asyncio.get_running_loop().time()
            pool._end_overdue()
            assert isinstance(first.error, TimeoutError)
            assert pool._due_at is not None
            assert pool._due_at.when() == other.due < following.due


async def test_one_that_is_cancelled_is_not_told() -> None:
    ended = Ended()
    with Peer() as peer:
        async with pool_for(peer.url, size=1) as pool:
            sent, waiting, last = (exchange(ended, name) for name in "abc")
            for each in (sent, waiting, last):
                pool.ask(each)
            line = await peer.line()
            assert await asked(line) == "a"
            for each in (waiting, sent, sent):
                pool.cancel(each)
            await line.has_ended()
            assert await serve(await peer.line()) == "c"
            await ended.until(1)
            pool.cancel(last)
    assert ended == [last]


# ---- connections that end while nobody uses them --------------------------------------------


@pytest.mark.parametrize("end", [Line.hang_up, Line.reset, Line.say_no_more])
@pytest.mark.parametrize("noticed", [True, False])
async def test_a_connection_that_ended_is_not_used_again(end: object, noticed: bool) -> None:
    assert callable(end)
    with Peer() as peer:
        async with pool_for(peer.url) as pool:
            line = await pooled(pool, peer)
            end(line)
            if noticed:
                await all_gone(pool)
                assert not pool._idle
            task = ask(pool, "b")
            assert await serve(await peer.line()) == "b"
            assert (await task).status == 200


@pytest.mark.parametrize("noticed", [True, False])
async def test_an_answer_that_nobody_asked_for_answers_nothing(noticed: bool) -> None:
    with Peer() as peer:
        async with pool_for(peer.url) as pool:
            line = await pooled(pool, peer)
            line.say(b"HTTP/1.1 500 Stray\r\nContent-Length: 2\r\n\r\nno")
            if noticed:
                await all_gone(pool)
            task = ask(pool, "b")
            await serve(await peer.line())
            assert (await task).status == 200


async def test_an_answer_behind_an_answer_answers_nothing() -> None:
    with Peer() as peer:
        async with pool_for(peer.url) as pool:
            stray = b"HTTP/1.1 500 Stray\r\nContent-Length: 2\r\n\r\nno"
            line = await pooled(pool, peer, OK + stray)
            task = ask(pool, "b")
            await serve(await peer.line())
            assert (await task).status == 200
            await line.has_ended()


@pytest.mark.parametrize("end", [Line.hang_up, Line.reset])
async def test_what_was_written_is_not_sent_a_second_time(end: object) -> None:
    assert callable(end)
    with Peer() as peer:
        async with pool_for(peer.url) as pool:
            line = await pooled(pool, peer)
            task = ask(pool, "b")
            assert await asked(line) == "b"
            end(line)
            with pytest.raises((Closed, ConnectionResetError)):
                await task
            assert not peer.has_another()


# ---- no connection --------------------------------------------------------------------------


async def test_a_refused_connection_says_so() -> None:
    with Peer() as peer:
        url = peer.url
    async with pool_for(url) as pool:
        with pytest.raises(CannotConnect) as caught:
            await ask(pool)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


@pytest.mark.parametrize("host", ["a" * 70, "a..b"])
async def test_a_name_that_cannot_be_asked_for_says_so(host: str) -> None:
    async with pool_for(f"http://{host}") as pool:
        with pytest.raises(CannotConnect):
            await ask(pool)


async def test_a_failure_gives_its_turn_back() -> None:
    with Peer() as peer:
        async with pool_for(peer.url, size=1) as pool:
            for end in (Line.hang_up, Line.reset):
                task = ask(pool)
                line = await peer.line()
                await asked(line)
                end(line)
                with pytest.raises((Closed, ConnectionResetError)):
                    await task
            await pooled(pool, peer)


# ---- giving up ------------------------------------------------------------------------------


async def test_cancelling_closes_the_connection_and_gives_the_turn_back() -> None:
    with Peer() as peer:
        async with pool_for(peer.url, size=1) as pool:
            task = ask(pool)
            line = await peer.line()
            await asked(line)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            assert not pool._idle
            await line.has_ended()
            await pooled(pool, peer)


async def test_cancelling_who_waits_for_a_turn_changes_nothing() -> None:
    with Peer() as peer:
        async with pool_for(peer.url, size=1) as pool:
            first, second, third = (ask(pool, name) for name in "abc")
            line = await peer.line()
            assert await asked(line) == "a"
            second.cancel()
            await asyncio.wait([second])
            line.say(OK)
            await first
            assert await serve(line) == "c"
            await third


async def test_cancelling_while_connecting_gives_the_turn_back() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(address)
            async with pool_for(f"http://127.0.0.1:{address[1]}", size=1) as pool:
                for _ in range(3):
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.05):
                            await ask(pool)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request with its own name, a little later each time."""
    pauses = Random(2)
    while head := await reader.readuntil(b"\r\n\r\n"):
        name = head.split()[1]
        for _ in range(pauses.randrange(6)):
            await asyncio.sleep(0)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(name) + name)


async def test_nobody_gets_the_answer_to_another_however_many_are_cancelled() -> None:
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            await echo(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            handlers.discard(task)
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    dice = Random(1)
    async with pool_for(f"http://127.0.0.1:{port}", size=3) as pool:
        tasks = {}
        for number in range(400):
            tasks[f"/{number}"] = ask(pool, str(number))
            for _ in range(dice.randrange(4)):
                await asyncio.sleep(0)
            if dice.random() < 0.4:
                dice.choice(list(tasks.values())[-8:]).cancel()
        await asyncio.wait(tasks.values())
        answered = {name: task for name, task in tasks.items() if not task.cancelled()}
        assert 200 < len(answered) < 400
        for name, task in answered.items():
            assert task.result().body == name.encode()
    server.close()
    await server.wait_closed()
    await asyncio.gather(*handlers)
    # A transport that is left open would say so now.
    gc.collect()


# ---- over TLS -------------------------------------------------------------------------------


async def test_a_connection_over_tls_is_used_again(tmp_path: Path) -> None:
    server, client = self_signed(tmp_path, "localhost")
    async with Upstream(answer(200, body=b"hi"), tls=server) as upstream:
        async with pool_for(f"https://localhost:{upstream.port}", tls=client) as pool:
            for _ in range(3):
                assert (await ask(pool)).body == b"hi"
            began = time.monotonic()
        assert time.monotonic() - began < 0.9
        assert upstream.connections == 1


async def test_the_name_in_the_certificate_has_to_be_the_hosts(tmp_path: Path) -> None:
    server, client = self_signed(tmp_path, "other.test")
    async with (
        Upstream(tls=server) as upstream,
        pool_for(f"https://localhost:{upstream.port}", tls=client) as pool,
    ):
        with pytest.raises(CannotConnect) as caught:
            await ask(pool)
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        assert upstream.received == []


async def test_a_peer_that_closes_over_tls_is_not_used_again(tmp_path: Path) -> None:
    server, client = self_signed(tmp_path, "localhost")
    then_close = send(OK, close)
    async with (
        Upstream(then_close, tls=server) as upstream,
        pool_for(f"https://localhost:{upstream.port}", tls=client) as pool,
    ):
        for number in range(1, 4):
            assert (await ask(pool)).body == b"hi"
            await all_gone(pool)
            assert upstream.connections == number


async def test_cancelling_over_tls_closes_the_connection(tmp_path: Path) -> None:
    server, client = self_signed(tmp_path, "localhost")
    async with (
        Upstream(hang, answer(200), tls=server) as upstream,
        pool_for(f"https://localhost:{upstream.port}", tls=client) as pool,
    ):
        task = ask(pool)
        await upstream.has_received(1)
        task.cancel()
        await asyncio.wait([task])
        await all_gone(pool)
        assert (await ask(pool)).status == 200


async def test_cancelling_a_handshake_leaves_nothing_behind(tmp_path: Path) -> None:
    _, client = self_signed(tmp_path, "localhost")
    with Peer() as peer:
        async with pool_for(f"https://localhost:{peer.port}", size=1, tls=client) as pool:
            task = ask(pool)
            line = await peer.line()
            assert await line.heard()
            task.cancel()
            await asyncio.wait([task])
            await line.has_ended()
    gc.collect()


# ---- closing --------------------------------------------------------------------------------


async def test_closing_closes_idle_connections() -> None:
    with Peer() as peer:
        async with pool_for(peer.url) as pool:
            line = await pooled(pool, peer)
        await line.has_ended()
        await pool.close()
        with pytest.raises(RuntimeError, match="closed"):
            await ask(pool)


async def test_closing_lets_an_exchange_come_to_its_end() -> None:
    with Peer() as peer:
        async with pool_for(peer.url) as pool:
            task = ask(pool)
            line = await peer.line()
            await asked(line)
        assert not task.done()
        line.say(OK)
        assert (await task).body == b"hi"
        await line.has_ended()


async def test_closing_waits_for_nobody_for_long(tmp_path: Path) -> None:
    server, client = self_signed(tmp_path, "localhost")
    release = asyncio.Event()

    async def deaf(writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await writer.drain()
        # What comes from now on, the farewell included, is not read.
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        release.set()
        await hang(writer)

    async with Upstream(deaf, tls=server) as upstream:
        async with pool_for(f"https://localhost:{upstream.port}", tls=client) as pool:
            assert (await ask(pool)).complete
            await release.wait()
            began = time.monotonic()
        assert time.monotonic() - began < 1.5


async def test_a_request_that_cannot_be_started_is_not_under_way() -> None:
    ended = Ended()
    with Peer() as peer:
        async with pool_for(peer.url, size=1) as pool:
            await pooled(pool, peer)
            [connection] = pool._idle
            # Nothing that is known makes it raise.
            connection.poll = _fail
            with pytest.raises(RuntimeError):
                pool.ask(exchange(ended))
            assert not pool._under_way
            task = ask(pool, "b")
            assert await serve(await peer.line()) == "b"
            await task
    assert not ended


def _fail(_: float | None = None, /) -> list[tuple[int, int]]:
    raise RuntimeError("a mistake of ours")


async def test_an_answer_that_was_parsed_is_kept_no_longer() -> None:
    with Peer() as peer:
        async with pool_for(peer.url) as pool:
            asked = Exchange(encode("POST", "/a", "h", [], b""), lambda _: None)
            known = weakref.ref(asked)
            pool.ask(asked)
            del asked
            await serve(await peer.line(), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: y\r\n\r\n")
            await run_loop_until(lambda: not pool._under_way)
            assert known() is None
