"""The token opens, nothing else does, and a session ends."""

import pytest

from relay.admin.auth import Gatekeeper
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
    gatekeeper = Gatekeeper(Secret("the-token"), ManualClock())
    assert gatekeeper.bearer(authorization) is admitted


async def test_without_a_token_nobody_enters() -> None:
    gatekeeper = Gatekeeper(None, ManualClock())
    assert gatekeeper.closed
    assert not gatekeeper.bearer("Bearer ")
    assert not gatekeeper.knows("")


async def test_a_session_lasts_eight_hours() -> None:
    clock = ManualClock()
    gatekeeper = Gatekeeper(Secret("the-token"), clock)
    opened = gatekeeper.open_session()
    await clock.advance(8 * 3600 - 1)
    assert gatekeeper.session(opened)
    await clock.advance(1)
    assert not gatekeeper.session(opened)


async def test_a_closed_session_is_closed() -> None:
    gatekeeper = Gatekeeper(Secret("the-token"), ManualClock())
    opened = gatekeeper.open_session()
    gatekeeper.close_session(opened)
    assert not gatekeeper.session(opened)
    assert not gatekeeper.session("guess")


async def test_the_oldest_session_gives_way() -> None:
    gatekeeper = Gatekeeper(Secret("the-token"), ManualClock())
    sessions = [gatekeeper.open_session() for _ in range(101)]
    assert not gatekeeper.session(sessions[0])
    assert all(gatekeeper.session(each) for each in sessions[1:])
