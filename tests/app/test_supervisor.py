"""What a supervisor is told over its socket, which is a real one."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from relay.app.supervisor import Supervisor
from tests.harness.clock import ManualClock
from tests.harness.supervising import Supervising


@pytest.fixture(params=["path", "abstract"])
def supervising(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Supervising]:
    name = f"@relay-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    with Supervising(name) as heard:
        yield heard


def test_each_state_is_a_message(supervising: Supervising) -> None:
    supervisor = Supervisor(supervising.environ, ManualClock())
    supervisor.ready()
    with supervisor.reloading():
        assert supervising.heard() == ["READY=1", "RELOADING=1\nMONOTONIC_USEC=1000000000"]
    supervisor.stopping()
    assert supervising.heard() == ["READY=1", "STOPPING=1"]


def test_a_reload_that_fails_is_over_too(supervising: Supervising) -> None:
    with (
        pytest.raises(ValueError, match="broken"),
        Supervisor(supervising.environ, ManualClock()).reloading(),
    ):
        raise ValueError("broken")
    assert supervising.heard()[-1] == "READY=1"


async def test_the_watchdog_hears_twice_in_its_interval(supervising: Supervising) -> None:
    clock = ManualClock()
    environ = {**supervising.environ, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}
    alive = asyncio.ensure_future(Supervisor(environ, clock).keep_alive())
    await clock.advance(60)
    assert supervising.heard() == ["WATCHDOG=1"] * 5
    alive.cancel()


@pytest.mark.parametrize(
    "watchdog",
    [
        {},
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "-1"},
    ],
    ids=str,
)
async def test_a_watchdog_of_somebody_else_hears_nothing(
    watchdog: dict[str, str], supervising: Supervising
) -> None:
    await Supervisor({**supervising.environ, **watchdog}, ManualClock()).keep_alive()
    assert supervising.heard() == []


@pytest.mark.parametrize(
    "name", ["", "/nowhere/notify", "@nobody-listens", "relative", "@", "\udcff"]
)
def test_where_nobody_listens_nothing_is_sent(name: str) -> None:
    supervisor = Supervisor({"NOTIFY_SOCKET": name}, ManualClock())
    supervisor.ready()
    supervisor.stopping()


def test_a_supervisor_that_does_not_read_holds_nothing_up(tmp_path: Path) -> None:
    """Its socket is full at some time; a message is dropped then."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "notify"))
        filling = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        filling.setblocking(False)
        with filling, suppress(BlockingIOError):
            while filling.sendto(b"READY=1", str(tmp_path / "notify")):
                pass
        Supervisor({"NOTIFY_SOCKET": str(tmp_path / "notify")}, ManualClock()).ready()
