"""Tokens of a real OAuth2 server: fetched once for all, ahead of their end, never hammered for."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from relay.core.secret import Secret
from relay.delivery.http import Origin, Pool
from relay.delivery.oauth2 import MAX_ANSWER, Client, Token
from relay.delivery.tokens import REMEMBERED, TokenSource
from tests.harness.clock import ManualClock, run_loop_until
from tests.harness.oauth2_server import OAuth2Server, Say, hangs, says
from tests.harness.upstream import Behaviour, RefusingPort, Upstream, close, reset, send

RELAY, SECRET = "relay", "the-secret-of-relay"
#: What a token server might say that must not be repeated.
CANARY = "canary-of-the-token-server-77"


class Observer:
    """Keeps what it is told, for what cannot be seen otherwise."""

    def __init__(self) -> None:
        self.unavailable: list[tuple[str, str, float]] = []
        self.fetched = 0
        self.faults: list[Exception] = []

    def token_unavailable(self, upstream: str, reason: str, retry_in: float) -> None:
        self.unavailable.append((upstream, reason, retry_in))

    def token_fetched(self, upstream: str) -> None:
        self.fetched += 1

    def dispatch_error(self, upstream: str, event_id: str | None, fault: Exception) -> None:
        self.faults.append(fault)


@asynccontextmanager
async def source_of(
    url: str,
    clock: ManualClock,
    observer: Observer | None = None,
    *,
    client: tuple[str, str, str | None] = (RELAY, SECRET, "billing.write"),
    within: float = 5.0,
) -> AsyncIterator[TokenSource]:
    client_id, secret, scope = client
    pool = Pool(Origin.of(url), size=1, idle=0.0, longest_body=MAX_ANSWER, timeout=within)
    source = TokenSource(
        "billing",
        Client(url, client_id, Secret(secret), scope),
        pool,
        clock=clock,
        observer=observer or Observer(),
    )
    try:
        yield source
    finally:
        await source.close()


def text(token: Token | None) -> str:
    assert token is not None
    return token.secret.reveal().decode()


# ---- a token --------------------------------------------------------------------------------


async def test_a_token_is_fetched_once_for_all_that_wait() -> None:
    clock = ManualClock()
    async with OAuth2Server(clock) as server, source_of(server.token_url, clock) as source:
        assert source.good() is None
        tokens = await asyncio.gather(*(source.newer(5.0) for _ in range(50)))
        assert server.questions == 1
        assert [text(each) for each in tokens] == [*server.issued] * 50
        assert source.good() is tokens[0]


@pytest.mark.parametrize("client", [("a b:%+é", "ß/+ &%:é secret", None)])
async def test_id_and_secret_may_hold_any_text(client: tuple[str, str, None]) -> None:
    clock = ManualClock()
    async with (
        OAuth2Server(clock) as server,
        source_of(server.token_url, clock, client=client) as source,
    ):
        assert text(await source.newer(5.0)) in server.issued


async def test_one_that_is_due_is_replaced_while_nobody_waits() -> None:
    clock = ManualClock()
    async with (
        OAuth2Server(clock, lifetime=100) as server,
        source_of(server.token_url, clock) as source,
    ):
        first = await source.newer(5.0)
        await clock.advance(79)
        assert source.good() is first
        assert server.questions == 1
        await clock.advance(1)
        release = asyncio.Event()
        server.instead = when(release, server)
        for _ in range(20):
            assert source.good() is first
            await asyncio.sleep(0)
        release.set()
        second = await source.newer(5.0, first)
        assert server.questions == 2
        assert text(second) != text(first)
        assert source.good() is second


def when(release: asyncio.Event, server: OAuth2Server) -> Say:
    async def say(request: web.Request) -> web.StreamResponse:
        await release.wait()
        server.instead = None
        server.questions -= 1
        return await server._token(request)

    return say


async def test_one_that_has_ended_is_used_no_more() -> None:
    clock = ManualClock()
    async with (
        OAuth2Server(clock, lifetime=2) as server,
        source_of(server.token_url, clock) as source,
    ):
        texts = []
        for _ in range(5):
            token = source.good() or await source.newer(5.0)
            assert not server.issued[text(token)].is_expired()
            texts.append(text(token))
            await clock.advance(1.9)
        assert len(set(texts)) == 5


async def test_nothing_is_fetched_that_nobody_asks_for() -> None:
    clock = ManualClock()
    async with (
        OAuth2Server(clock, lifetime=2) as server,
        source_of(server.token_url, clock) as source,
    ):
        await source.newer(5.0)
        await clock.advance(3600)
        assert server.questions == 1


async def test_a_caller_that_is_cancelled_leaves_the_others_their_token() -> None:
    clock = ManualClock()
    async with OAuth2Server(clock) as server, source_of(server.token_url, clock) as source:
        one = asyncio.ensure_future(source.newer(5.0))
        other = asyncio.ensure_future(source.newer(5.0))
        await asyncio.sleep(0)
        one.cancel()
        assert text(await other) in server.issued
        assert one.cancelled()
        assert server.questions == 1


async def test_the_end_of_relay_waits_for_no_token_server() -> None:
    clock = ManualClock()
    async with OAuth2Server(clock) as server:
        server.instead = hangs
        async with source_of(server.token_url, clock) as source:
            waiting = asyncio.ensure_future(source.newer(60.0))
            await run_loop_until(lambda: server.questions == 1)
        assert await waiting is None
        assert await source.newer(60.0) is None
        assert server.questions == 1


# ---- one that is refused --------------------------------------------------------------------


async def test_a_newer_one_is_fetched_for_one_that_is_refused() -> None:
    clock = ManualClock()
    async with OAuth2Server(clock) as server, source_of(server.token_url, clock) as source:
        first = await source.newer(5.0)
        assert first is not None
        assert source.may_renew(first)
        renewed = await asyncio.gather(*(source.newer(5.0, first) for _ in range(30)))
        assert server.questions == 2
        assert {text(each) for each in renewed} == {[*server.issued][1]}
        # Who comes late with the old one has the new one at once.
        assert source.may_renew(first)
        assert await source.newer(5.0, first) is renewed[0]
        assert server.questions == 2


async def test_an_upstream_that_refuses_all_of_them_has_few_fetched() -> None:
    clock = ManualClock()
    async with OAuth2Server(clock) as server, source_of(server.token_url, clock) as source:
        token = await source.newer(5.0)
        for _ in range(600):
            assert token is not None
            if source.may_renew(token):
                token = await source.newer(5.0, token)
            await clock.advance(0.5)
        assert server.questions < 16


# ---- a server that gives none ---------------------------------------------------------------

NONSENSE: dict[str, tuple[Say, str]] = {
    "html": (says(200, b"<html>" + CANARY.encode()), "no JSON object"),
    "nothing": (says(200, b""), "no JSON object"),
    "no token": (says(200, b'{"' + CANARY.encode() + b'": 1}'), "no access_token"),
    "two lines": (
        says(200, b'{"access_token": "a\\r\\nX-Evil: ' + CANARY.encode() + b'"}'),
        "access_token unusable",
    ),
    "10 kB": (says(200, b'{"access_token": "' + b"a" * 10_000 + b'"}'), "access_token unusable"),
    "10 MB": (says(200, b'{"access_token": "' + b"a" * 10_000_000 + b'"}'), "oversized"),
    "gzip": (says(200, gzip.compress(b"{}"), **{"Content-Encoding": "gzip"}), "encoded"),
    "500": (says(500, CANARY.encode()), "status 500"),
    "401": (says(401, b'{"error": "' + CANARY.encode() + b'"}'), "status 401"),
    "302": (says(302, b"", Location="http://169.254.169.254/"), "status 302"),
    "429": (says(429, b"", **{"Retry-After": "20"}), "status 429"),
}


@pytest.mark.parametrize("kind", NONSENSE)
async def test_nonsense_brings_no_token_and_is_not_repeated(kind: str) -> None:
    clock, observer = ManualClock(), Observer()
    say, reason = NONSENSE[kind]
    async with (
        OAuth2Server(clock) as server,
        source_of(server.token_url, clock, observer) as source,
    ):
        server.instead = say
        assert await source.newer(5.0) is None
        pause = 20.0 if kind == "429" else 1.0
        assert observer.unavailable == [("billing", reason, pause)]
        assert CANARY not in repr(observer.unavailable)
        assert observer.faults == []
        # And when it has recovered, all is well.
        server.instead = None
        await clock.advance(pause)
        assert text(await source.newer(5.0)) in server.issued


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        ((RELAY, "wrong", None), "invalid_client"),
        (("unknown", SECRET, None), "invalid_client"),
        ((RELAY, SECRET, "admin"), "invalid_scope"),
    ],
)
async def test_what_the_server_refuses_is_told_by_its_code(
    client: tuple[str, str, str | None], reason: str
) -> None:
    clock, observer = ManualClock(), Observer()
    async with (
        OAuth2Server(clock) as server,
        source_of(server.token_url, clock, observer, client=client) as source,
    ):
        assert await source.newer(5.0) is None
        assert observer.unavailable == [("billing", reason, 1.0)]
        assert source.reason == reason


ENDLESS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def trickle(writer: asyncio.StreamWriter) -> None:
    """Send chunks for ever, and slowly."""
    writer.write(ENDLESS)
    while True:
        writer.write(b"1\r\n \r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


async def flood(writer: asyncio.StreamWriter) -> None:
    """Send chunks for ever, as fast as they are taken."""
    writer.write(ENDLESS)
    while True:
        writer.write(b"1000\r\n" + b" " * 4096 + b"\r\n")
        await writer.drain()


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (trickle, "timeout"),
        (flood, "oversized"),
        (reset, "reset"),
        (close, "closed"),
        (send(b"SSH-2.0-" + CANARY.encode() + b"\r\n", close), "malformed"),
        (send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{", close), "closed"),
    ],
)
async def test_broken_connections_bring_no_token(behaviour: Behaviour, reason: str) -> None:
    clock, observer = ManualClock(), Observer()
    async with (
        Upstream(behaviour) as server,
        source_of(
            server.url, clock, observer, within=0.2 if behaviour is trickle else 5.0
        ) as source,
    ):
        assert await source.newer(5.0) is None
    assert observer.unavailable == [("billing", reason, 1.0)]


async def test_a_port_that_nobody_listens_on() -> None:
    clock, observer = ManualClock(), Observer()
    with RefusingPort() as url:
        async with source_of(url, clock, observer) as source:
            assert await source.newer(5.0) is None
    assert observer.unavailable == [("billing", "refused", 1.0)]


async def test_a_server_that_fails_is_not_hammered() -> None:
    clock, observer = ManualClock(), Observer()
    async with (
        OAuth2Server(clock) as server,
        source_of(server.token_url, clock, observer) as source,
    ):
        server.instead = says(500, b"")
        # Ten attempts a second that may wait for as long as they like, for five minutes.
        for _ in range(3000):
            source.good()
            for _ in range(3):
                await asyncio.sleep(0)
            await clock.advance(0.1)
        assert server.questions <= 15
        asked = server.questions
        # While it is not to be asked, what cannot wait until then is told so at once.
        assert await source.newer(0.01) is None
        assert server.questions == asked


async def test_a_dead_server_costs_nothing_while_a_token_is_good() -> None:
    clock = ManualClock()
    async with (
        OAuth2Server(clock, lifetime=1000) as server,
        source_of(server.token_url, clock) as source,
    ):
        first = await source.newer(5.0)
        server.instead = says(500, b"")
        await clock.advance(900)
        for _ in range(10):
            assert source.good() is first
            await clock.advance(5)
        assert server.questions > 1


async def test_an_attempt_waits_for_a_pause_that_is_short() -> None:
    clock = ManualClock()
    async with OAuth2Server(clock) as server, source_of(server.token_url, clock) as source:
        server.instead = says(500, b"")
        assert await source.newer(5.0) is None
        server.instead = None
        waiting = asyncio.ensure_future(source.newer(5.0))
        await asyncio.sleep(0)
        assert not waiting.done()
        assert server.questions == 1
        await clock.advance(1.0)
        assert text(await waiting) in server.issued


async def test_an_attempt_waits_no_longer_than_it_may() -> None:
    clock = ManualClock()
    async with OAuth2Server(clock) as server, source_of(server.token_url, clock) as source:
        server.instead = hangs
        assert await source.newer(0.05) is None


# ---- what is hidden -------------------------------------------------------------------------


async def test_every_secret_of_it_is_known_to_those_that_hide_them() -> None:
    clock = ManualClock()
    async with (
        OAuth2Server(clock) as server,
        source_of(server.token_url, clock, client=("a b:%+é", "ß/+ &%:é secret", None)) as source,
    ):
        token = None
        for _ in range(REMEMBERED + 3):
            token = await source.newer(5.0, token)
        hidden = [each.reveal().decode() for each in source.secrets()]
    late = [*server.issued][-REMEMBERED:]
    assert hidden == [
        "ß/+ &%:é secret",
        "%C3%9F%2F%2B%20%26%25%3A%C3%A9%20secret",
        "YSUyMGIlM0ElMjUlMkIlQzMlQTk6JUMzJTlGJTJGJTJCJTIwJTI2JTI1JTNBJUMzJUE5JTIwc2VjcmV0",
        *late,
    ]
    assert not [each for each in hidden if each in repr(source) + repr(token)]
