"""Requests with tokens: waiting for one, and once more where it is refused, within one attempt."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from relay.core.event import Delivered, Outcome, ProxyResponse, Rejected, Unreachable
from relay.core.request import Ack, Headers
from relay.delivery.authorized import Authorized
from relay.delivery.credentials import Credentials
from relay.delivery.sender import HttpSender
from relay.delivery.tokens import TokenSource
from tests.delivery.test_tokens import source_of
from tests.harness.attempting import Attempted, Forwarded, attempted, forwarded
from tests.harness.clock import ManualClock, run_loop_until
from tests.harness.deliveries import EVENT, lease_of, verified
from tests.harness.oauth2_server import OAuth2Server, hangs, says
from tests.harness.upstream import Received, Upstream, answer, hang, send, when

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
TOKEN = Unreachable("token")


@asynccontextmanager
async def sender_to(
    url: str, tokens: TokenSource, clock: ManualClock, within: float = 5.0
) -> AsyncIterator[HttpSender]:
    sender = HttpSender(
        url,
        timeout=timedelta(seconds=within),
        concurrency=4,
        clock=clock,
        credentials=Credentials(tokens=tokens),
    )
    try:
        yield sender
    finally:
        await sender.close()


@asynccontextmanager
async def linked(
    url: str | None = None, within: float = 5.0, lifetime: int = 3600
) -> AsyncIterator[tuple[OAuth2Server, HttpSender, ManualClock]]:
    """Start a token server and a sender to `url`; without one, to the server's own service."""
    clock = ManualClock(NOW)
    async with (
        OAuth2Server(clock, lifetime=lifetime) as server,
        source_of(server.token_url, clock) as tokens,
        sender_to(url or f"{server.url}/hooks", tokens, clock, within) as sender,
    ):
        yield server, sender, clock


def bearers(received: list[Received]) -> list[str]:
    return [value for each in received for value in each.values("Authorization")]


# ---- waiting --------------------------------------------------------------------------------


async def test_the_first_attempts_wait_for_one_token() -> None:
    async with linked() as (server, sender, _):
        outcomes = await asyncio.gather(*(attempted(sender, lease_of()) for _ in range(20)))
        assert outcomes == [Delivered(200)] * 20
        assert server.questions == 1
        assert server.taken == [*server.issued] * 20
        # And the others do not.
        assert await attempted(sender, lease_of()) == Delivered(200)
        assert server.questions == 1


async def test_the_senders_own_authorization_is_not_sent() -> None:
    event = replace(EVENT, headers=Headers((("Authorization", "HMAC x"),)))
    async with Upstream() as upstream, linked(upstream.url) as (server, sender, _):
        assert await attempted(sender, lease_of(event)) == Delivered(200)
        assert bearers(upstream.received) == [f"Bearer {next(iter(server.issued))}"]


async def test_tokens_that_end_are_replaced_and_none_is_used_that_has_ended() -> None:
    async with linked(lifetime=2) as (server, sender, clock):
        for _ in range(10):
            assert await attempted(sender, lease_of()) == Delivered(200)
            await clock.advance(0.7)
        assert server.refused == []
        assert 3 < server.questions < 10


@pytest.mark.parametrize("say", [says(500, b""), says(200, b"<html>"), hangs])
async def test_without_a_token_there_is_no_attempt(say: object) -> None:
    async with Upstream() as upstream, linked(upstream.url, 0.1) as (server, sender, _):
        server.instead = say  # type: ignore[assignment]
        assert await attempted(sender, lease_of()) == TOKEN
        assert await attempted(sender, lease_of()) == TOKEN
        assert await forwarded(sender, verified()) == ProxyResponse(TOKEN)
        assert upstream.received == []
        assert server.questions <= 2


async def test_waiting_counts_against_the_timeout() -> None:
    loop = asyncio.get_running_loop()
    async with Upstream(hang) as upstream, linked(upstream.url, 1.0) as (server, sender, _):
        release = asyncio.Event()

        async def late(request: object) -> object:
            await release.wait()
            server.instead = None
            return await server._token(request)  # type: ignore[arg-type]

        server.instead = late  # type: ignore[assignment]
        began = loop.time()
        loop.call_later(0.7, release.set)
        assert await attempted(sender, lease_of()) == Unreachable("timeout")
        assert 0.95 < loop.time() - began < 1.65
        assert len(upstream.received) == 1


async def test_what_cannot_be_written_ends_though_it_has_waited() -> None:
    async with linked() as (server, sender, _):
        broken = replace(EVENT, suffix="/../elsewhere")
        assert await attempted(sender, lease_of(broken)) == Unreachable("unsendable")
        assert await attempted(sender, lease_of(broken)) == Unreachable("unsendable")
        assert server.taken == []


@pytest.mark.parametrize("method", ["HEAD", "GET", "DELETE"])
async def test_every_method_is_sent_so(method: str) -> None:
    # The answer to a HEAD names the length of a body that it does not have.
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    said = send(head if method == "HEAD" else head + b"OK", keep)
    async with Upstream(said) as upstream, linked(upstream.url, 30.0) as (_, sender, _):
        async with asyncio.timeout(20):
            outcome = await attempted(sender, lease_of(replace(EVENT, method=method)))
        assert outcome == Delivered(200)
        assert upstream.received[0].method == method


async def keep(_: asyncio.StreamWriter) -> None:
    """Leave the connection as it is."""


async def test_one_that_has_not_waited_makes_no_timer_of_its_own() -> None:
    async with Upstream() as upstream, linked(upstream.url) as (_, sender, _):
        await attempted(sender, lease_of())
        loop = asyncio.get_running_loop()
        timers = len(loop._scheduled)  # type: ignore[attr-defined]
        for _ in range(50):
            await attempted(sender, lease_of())
        assert len(loop._scheduled) - timers < 10  # type: ignore[attr-defined]


# ---- refused --------------------------------------------------------------------------------


async def test_a_token_that_was_revoked_is_replaced_within_the_attempt() -> None:
    async with linked() as (server, sender, _):
        assert await attempted(sender, lease_of()) == Delivered(200)
        server.revoke_all()
        outcomes = await asyncio.gather(*(attempted(sender, lease_of()) for _ in range(20)))
        assert outcomes == [Delivered(200)] * 20
        assert server.questions == 2
        first, second = server.issued
        assert server.taken == [first] + [second] * 20
        assert 1 <= len(server.refused) <= 20


async def test_the_same_event_is_sent_once_more() -> None:
    behaviours = (answer(401, (), b"no"), answer(200, (), b"yes"))
    async with Upstream(*behaviours) as upstream, linked(upstream.url) as (server, sender, _):
        assert await attempted(sender, lease_of()) == Delivered(200)
        one, other = upstream.received
        assert (one.body, one.values("webhook-id")) == (other.body, other.values("webhook-id"))
        assert one.values("Relay-Attempt") == other.values("Relay-Attempt")
        assert bearers(upstream.received) == [f"Bearer {each}" for each in server.issued]


async def test_an_attempt_is_told_that_it_is_sent_once_more() -> None:
    behaviours = (answer(200), answer(401), answer(200))
    async with Upstream(*behaviours) as upstream, linked(upstream.url) as (_, sender, _clock):
        for repeats in (0, 1):
            outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            sending = Attempted(lease_of(), outcome.set_result)
            sender.attempt(sending)
            assert (await outcome, sending.repeats) == (Delivered(200), repeats)


async def test_one_that_is_refused_anew_is_rejected() -> None:
    async with Upstream(answer(401, (), b"no")) as upstream, linked(upstream.url) as linked_to:
        server, sender, clock = linked_to
        assert await attempted(sender, lease_of()) == Rejected(401)
        assert (len(upstream.received), server.questions) == (2, 2)
        # For the next attempts some are fetched at once, and then ever more seldom.
        for _ in range(10):
            assert await attempted(sender, lease_of()) == Rejected(401)
        assert (len(upstream.received), server.questions) == (16, 6)
        for _ in range(100):
            await clock.advance(0.5)
            assert await attempted(sender, lease_of()) == Rejected(401)
        assert server.questions < 13
        assert len(upstream.received) == 110 + server.questions


async def test_a_proxied_delivery_is_sent_once_more_too() -> None:
    behaviours = (answer(401, (), b"no"), answer(200, (), b"yes"), answer(401, (), b"no"))
    async with Upstream(*behaviours) as upstream, linked(upstream.url) as (server, sender, _):
        response = await forwarded(sender, verified())
        assert response == ProxyResponse(Delivered(200), _ack(200, b"yes"))
        response = await forwarded(sender, verified())
        assert response == ProxyResponse(Rejected(401), _ack(401, b"no"))
        assert (len(upstream.received), server.questions) == (4, 3)


def _ack(status: int, body: bytes) -> Ack:
    return Ack(status, body, "application/octet-stream")


async def test_a_refusal_may_be_longer_than_any_answer() -> None:
    behaviours = (answer(401, (), bytes(100_000)), answer(200, (), b"yes"))
    for attempt in (forward_one, deliver_one):
        async with Upstream(*behaviours) as upstream, linked(upstream.url) as (_, sender, _):
            assert (await attempt(sender)) == Delivered(200)
            assert len(upstream.received) == 2


async def forward_one(sender: HttpSender) -> Outcome:
    return (await forwarded(sender, verified())).outcome


async def deliver_one(sender: HttpSender) -> Outcome:
    return await attempted(sender, lease_of())


async def test_a_refused_token_that_cannot_be_replaced_is_missing() -> None:
    async with linked(within=0.5) as (server, sender, _):
        assert await attempted(sender, lease_of()) == Delivered(200)
        server.revoke_all()
        server.instead = says(503, b"")
        assert await attempted(sender, lease_of()) == TOKEN
        assert await forwarded(sender, verified()) == ProxyResponse(TOKEN)


async def test_without_tokens_a_401_is_an_answer_as_any_other() -> None:
    async with Upstream(answer(401)) as upstream:
        sender = HttpSender(
            upstream.url, timeout=timedelta(seconds=5), concurrency=1, clock=ManualClock(NOW)
        )
        assert await attempted(sender, lease_of()) == Rejected(401)
        await sender.close()
        assert len(upstream.received) == 1


async def test_the_second_answer_has_only_what_is_left_of_the_time() -> None:
    loop = asyncio.get_running_loop()
    release = asyncio.Event()
    behaviours = (when(release, answer(401)), hang)
    async with Upstream(*behaviours) as upstream, linked(upstream.url, 1.0) as (_, sender, _):
        began = loop.time()
        loop.call_later(0.7, release.set)
        assert await attempted(sender, lease_of()) == Unreachable("timeout")
        assert 0.95 < loop.time() - began < 1.65
        assert len(upstream.received) == 2


# ---- dropped --------------------------------------------------------------------------------


async def test_one_that_is_dropped_while_it_waits_is_never_sent() -> None:
    async with Upstream() as upstream, linked(upstream.url) as (server, sender, _):
        told: list[Outcome | ProxyResponse] = []
        dropped: list[Authorized] = []
        for sending in (Attempted(lease_of(), told.append), Forwarded(verified(), told.append)):
            start(sender, sending)
            dropped.append(sending)
        kept = asyncio.ensure_future(attempted(sender, lease_of()))
        await asyncio.sleep(0)
        for each in dropped:
            assert isinstance(each, Attempted | Forwarded)
            each.drop()
        assert await kept == Delivered(200)
        await run_loop_until(lambda: server.questions == 1)
        assert told == []
        assert len(upstream.received) == 1


async def test_one_that_is_dropped_before_it_is_sent_once_more_stays_dropped() -> None:
    async with Upstream(answer(401)) as upstream, linked(upstream.url) as (server, sender, _):
        told: list[Outcome] = []
        warm = Attempted(lease_of(), told.append)
        sender.attempt(warm)
        await run_loop_until(lambda: bool(upstream.received))
        release = asyncio.Event()

        async def late(request: object) -> object:
            await release.wait()
            server.instead = None
            return await server._token(request)  # type: ignore[arg-type]

        server.instead = late  # type: ignore[assignment]
        await run_loop_until(lambda: warm.is_repeated)
        warm.drop()
        release.set()
        other = await attempted(sender, lease_of())
        assert other == Rejected(401)
        assert told == []


async def test_one_that_is_dropped_under_way_is_not_told_of() -> None:
    async with Upstream(hang) as upstream, linked(upstream.url) as (_, sender, _):
        told: list[Outcome] = []
        sending = Attempted(lease_of(), told.append)
        sender.attempt(sending)
        await run_loop_until(lambda: bool(upstream.received))
        sending.drop()
        await asyncio.sleep(0)
        assert told == []


def start(sender: HttpSender, sending: Attempted | Forwarded) -> None:
    if isinstance(sending, Attempted):
        sender.attempt(sending)
    else:
        sender.forward(sending)
