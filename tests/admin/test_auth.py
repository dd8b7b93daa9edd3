"""The token opens, nothing else does, and a session ends."""

import asyncio

import pytest

from relay.admin.auth import AllowedHosts, Authenticator, GuessThrottle
from relay.core.secret import Secret
from relay.spool.audit import Actor
from tests.harness.clock import ManualClock


@pytest.mark.parametrize(
    ("authorization", "admitted"),
    [
        ("Bearer the-token", True),
        ("bearer the-token", True),
        ("Bearer the-token2", False),
        ("Bearer the-toke", False),
        ("Basic the-token", False),
        ("the-token", False),
        ("Bearer", False),
        ("", False),
    ],
)
async def test_only_the_token_is_taken(authorization: str, admitted: bool) -> None:
    authenticator = Authenticator(Secret("the-token"), ManualClock())
    assert (authenticator.bearer(authorization) is Actor.TOKEN) is admitted


async def test_without_a_token_nobody_enters() -> None:
    authenticator = Authenticator(None, ManualClock())
    assert authenticator.closed
    assert not authenticator.bearer("Bearer ")
    assert authenticator.token("") is None


async def test_the_token_that_may_read_is_told_apart() -> None:
    authenticator = Authenticator(Secret("may-act"), ManualClock(), Secret("may-read"))
    assert authenticator.bearer("Bearer may-act") is Actor.TOKEN
    assert authenticator.bearer("Bearer may-read") is Actor.READ_TOKEN
    assert authenticator.bearer("Bearer may") is None
    alone = Authenticator(None, ManualClock(), Secret("may-read"))
    assert not alone.closed
    assert alone.token("may-read") is Actor.READ_TOKEN


async def test_a_session_lasts_eight_hours() -> None:
    clock = ManualClock()
    authenticator = Authenticator(Secret("the-token"), clock)
    opened = authenticator.open_session(Actor.TOKEN)
    await clock.advance(8 * 3600 - 1)
    assert authenticator.session(opened.name) == opened
    await clock.advance(1)
    assert authenticator.session(opened.name) is None


async def test_a_closed_session_is_closed() -> None:
    authenticator = Authenticator(Secret("the-token"), ManualClock())
    opened = authenticator.open_session(Actor.TOKEN)
    other = authenticator.open_session(Actor.TOKEN)
    authenticator.close_session(opened.name)
    authenticator.close_session("guess")
    assert authenticator.session(opened.name) is None
    assert authenticator.session(other.name) == other


async def test_a_session_outlasts_a_restart_and_ends_with_its_token() -> None:
    clock = ManualClock()
    before = Authenticator(Secret("may-act"), clock, Secret("may-read"))
    acts, reads = before.open_session(Actor.TOKEN), before.open_session(Actor.READ_TOKEN)
    assert (acts.may_act, reads.may_act) == (True, False)
    restarted = Authenticator(Secret("may-act"), clock, Secret("may-read"))
    assert restarted.session(acts.name) == acts
    assert restarted.session(reads.name) == reads
    changed = Authenticator(Secret("another"), clock, Secret("may-read"))
    assert changed.session(acts.name) is None
    assert changed.session(reads.name) == reads
    assert Authenticator(None, clock).session(acts.name) is None


async def test_a_session_that_was_not_opened_here_is_none() -> None:
    authenticator = Authenticator(Secret("the-token"), ManualClock())
    opened = authenticator.open_session(Actor.TOKEN)
    end, nonce, mac = opened.name.split(".")
    forged = [
        "",
        "guess",
        f"{int(end) + 1}.{nonce}.{mac}",
        f"{end}.{nonce}x.{mac}",
        f"{end}.{nonce}.{mac[:-1]}",
        f"{end}.{nonce}.{opened.form_token}",
        f"{end}.{nonce}.",
        f"{end}.{nonce}.\udc80",
        f"{'9' * 13}.{nonce}.{mac}",
    ]
    assert not any(map(authenticator.session, forged))
    assert opened.form_token not in repr(opened)
    assert opened.name not in repr(opened)


# ---- guesses --------------------------------------------------------------------------------


async def waited(throttle: GuessThrottle, clock: ManualClock, address: str) -> float:
    """Return how long this guess waits."""
    began = clock.monotonic()
    guess = asyncio.ensure_future(throttle.wait(address))
    await clock.advance(0)
    while not guess.done():
        await clock.advance(0.1)
    assert guess.result()
    return round(clock.monotonic() - began, 1)


async def test_each_guess_of_an_address_waits_twice_as_long() -> None:
    clock = ManualClock()
    throttle = GuessThrottle(clock)
    waits = [await waited(throttle, clock, "192.0.2.1") for _ in range(8)]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 3.0, 3.0]
    assert await waited(throttle, clock, "192.0.2.2") == 0.1
    throttle.forget("192.0.2.1")
    assert await waited(throttle, clock, "192.0.2.1") == 0.1


async def test_an_address_that_gives_up_for_a_while_starts_anew() -> None:
    clock = ManualClock()
    throttle = GuessThrottle(clock)
    for _ in range(3):
        await waited(throttle, clock, "192.0.2.1")
    await clock.advance(901)
    assert await waited(throttle, clock, "192.0.2.1") == 0.1


async def test_sixteen_wait_and_the_next_one_is_told_at_once() -> None:
    clock = ManualClock()
    throttle = GuessThrottle(clock)
    waiting = [asyncio.ensure_future(throttle.wait(f"192.0.2.{at}")) for at in range(16)]
    await clock.advance(0)
    assert not await throttle.wait("198.51.100.1")
    await clock.advance(0.1)
    assert await asyncio.gather(*waiting) == [True] * 16
    assert await waited(throttle, clock, "198.51.100.2") == 0.1


async def test_what_is_remembered_of_addresses_is_bounded() -> None:
    clock = ManualClock()
    throttle = GuessThrottle(clock)
    for at in range(2000):
        guess = asyncio.ensure_future(throttle.wait(f"2001:db8::{at:x}"))
        await clock.advance(0)
        await clock.advance(0.1)
        assert await guess
    assert len(throttle._guesses) <= 1024


# ---- which host is asked for ----------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:9464",
        "127.0.0.1",
        "127.0.0.53",
        "[::1]:9464",
        "localhost",
        "localhost:9464",
        "LOCALHOST",
        "192.0.2.7:9464",
        "relay.internal",
        "Relay.Internal:443",
        "[2001:db8::1]:9464",
        "10.0.0.9",
    ],
)
def test_loopback_the_listener_and_named_hosts_are_answered(host: str) -> None:
    hosts = AllowedHosts(["relay.internal", "2001:db8::1", "10.0.0.9"])
    assert hosts.allows(host, "192.0.2.7")


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":9464",
        "rebind.example:9464",
        "127.0.0.1.rebind.example",
        "localhost.rebind.example",
        "localhost.",
        "relay",
        "relay.internal.rebind.example",
        "192.0.2.8",
        "127.0.0.1:9464:1",
        "127.0.0.1:x",
        "127.1",
        "::1",
        "[::1",
        "[fe80::1%25eth0.rebind.example]",
        "a@127.0.0.1",
        "127.0.0.1/x",
        "relay.internal\n",
    ],
)
def test_everything_else_is_not(host: str) -> None:
    assert not AllowedHosts(["relay.internal"]).allows(host, "192.0.2.7")
