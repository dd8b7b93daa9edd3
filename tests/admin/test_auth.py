"""The token opens, nothing else does, and a session ends."""

import pytest

from relay.admin.auth import Authenticator
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
    assert not authenticator.knows("")


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
