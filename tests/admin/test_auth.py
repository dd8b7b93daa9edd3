"""The token opens, nothing else does, and a session ends."""

import pytest

from relay.admin.auth import Authenticator, is_local_host
from relay.core.secret import Secret
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
    assert authenticator.bearer(authorization) is admitted


async def test_without_a_token_nobody_enters() -> None:
    authenticator = Authenticator(None, ManualClock())
    assert authenticator.closed
    assert not authenticator.bearer("Bearer ")
    assert not authenticator.is_token("")


async def test_a_session_lasts_eight_hours() -> None:
    clock = ManualClock()
    authenticator = Authenticator(Secret("the-token"), clock)
    opened = authenticator.open_session()
    await clock.advance(8 * 3600 - 1)
    assert authenticator.session(opened)
    await clock.advance(1)
    assert not authenticator.session(opened)


async def test_a_closed_session_is_closed() -> None:
    authenticator = Authenticator(Secret("the-token"), ManualClock())
    opened = authenticator.open_session()
    authenticator.close_session(opened)
    assert not authenticator.session(opened)
    assert not authenticator.session("guess")


async def test_the_oldest_session_gives_way() -> None:
    authenticator = Authenticator(Secret("the-token"), ManualClock())
    sessions = [authenticator.open_session() for _ in range(101)]
    assert not authenticator.session(sessions[0])
    assert all(authenticator.session(each) for each in sessions[1:])


# ---- which host is asked for ----------------------------------------------------------------
# The private listener answers to addresses and local names, not to names of the public DNS.


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:9464",
        "127.0.0.1",
        "[::1]:9464",
        "[2001:db8::1]",
        "localhost",
        "localhost:9464",
        "LOCALHOST",
        "relay:9464",
    ],
)
def test_local_names_and_addresses_are_answered(host: str) -> None:
    assert is_local_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":9464",
        "rebind.example:9464",
        "127.0.0.1.rebind.example",
        "localhost.rebind.example",
        "localhost.",
        "127.0.0.1:9464:1",
        "127.0.0.1:x",
        "127.1",
        "[127.0.0.1]",
        "::1",
        "[::1",
        "[fe80::1%25eth0.rebind.example]",
        "a@127.0.0.1",
        "127.0.0.1/x",
        "relay\n",
    ],
)
def test_everything_else_is_not(host: str) -> None:
    assert not is_local_host(host)
