"""What relay.service does to a relay, and what the two tell each other."""

import ctypes.util
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.harness import unit_sandbox
from tests.harness.clock import wait_until
from tests.harness.deliveries import ENVIRON, midtrans_body, midtrans_request
from tests.harness.supervising import Supervising
from tests.harness.traced_node import WrappedNode
from tests.harness.wire import exchange, request

UNIT = Path(__file__).parent.parent.parent / "deploy" / "relay.service"


# ---- under its system call filter -----------------------------------------------------------


def _sandboxed(unit: Path) -> tuple[str, ...]:
    """Return the prefix that runs a program under the filter of this unit; skips, loudly."""
    if shutil.which("systemd-analyze") is None or ctypes.util.find_library("seccomp") is None:
        pytest.skip("NOT TESTED under the unit's filter: systemd or libseccomp2 is absent")
    return sys.executable, unit_sandbox.__file__, str(unit)


@pytest.mark.debian
@pytest.mark.parametrize("allowed", ["setpriority", "sync"])
async def test_it_serves_with_the_calls_that_the_unit_allows(
    allowed: str, config: Path, tmp_path: Path
) -> None:
    """Also where it may not lower the priority of a thread, as in some containers."""
    text = UNIT.read_text()
    assert "\nSystemCallFilter=setpriority\n" in text
    unit = tmp_path / "relay.service"
    unit.write_text(text.replace("=setpriority\n", f"={allowed}\n"))
    async with WrappedNode(config, ENVIRON, prefix=_sandboxed(unit)) as node:
        await node.wait_for(event="spool_sound")
        accepted = await exchange(node.public[0], midtrans_request(midtrans_body()))
        assert accepted.status == 200
        await node.wait_for(event="attempt", outcome="delivered")
        assert await node.end() == 0
        assert node.noise == []


# ---- what systemd is told -------------------------------------------------------------------


async def test_systemd_is_told_of_every_step(config: Path, tmp_path: Path) -> None:
    text = config.read_text()
    with Supervising(str(tmp_path / "notify")) as systemd:
        node = WrappedNode(config, ENVIRON | systemd.environ)
        async with node:
            assert await systemd.next() == "READY=1"
            # What it says is true: it accepts.
            accepted = await exchange(node.public[0], midtrans_request(midtrans_body()))
            assert accepted.status == 200
            for changed in (text.replace("/midtrans/notification", "/hook"), "mistaken: yes"):
                config.write_text(changed)
                node.send(signal.SIGHUP)
                reloading, since = (await systemd.next()).split("\n")
                assert reloading == "RELOADING=1"
                name, _, moment = since.partition("=")
                assert name == "MONOTONIC_USEC"
                assert 0 < time.monotonic() - int(moment) / 1e6 < 60
                assert await systemd.next() == "READY=1"
            await node.wait_for(event="reloaded")
            await node.wait_for(event="reload_refused")
            node.send(signal.SIGTERM)
            assert await systemd.next() == "STOPPING=1"
            assert await node.ended() == 0


async def test_the_watchdog_goes_hungry_when_the_loop_stands_still(
    config: Path, tmp_path: Path
) -> None:
    with Supervising(f"@relay-watchdog-{os.getpid()}") as systemd:
        environ = ENVIRON | systemd.environ | {"WATCHDOG_USEC": "200000"}
        async with WrappedNode(config, environ) as node:
            assert [await systemd.next() for _ in range(4)] == ["READY=1", *["WATCHDOG=1"] * 3]
            node.send(signal.SIGSTOP)
            status = Path(f"/proc/{node.pid}/status")
            assert await wait_until(lambda: "State:\tT" in status.read_text(), 10)
            systemd.heard()
            with pytest.raises(TimeoutError):
                await systemd.next(within=1)
            node.send(signal.SIGCONT)
            assert await systemd.next() == "WATCHDOG=1"
            assert await node.end() == 0


async def test_what_hung_is_in_the_journal(config: Path) -> None:
    """The watchdog of systemd ends a process by SIGABRT."""
    [setting] = unit_sandbox.service(UNIT)["Environment"]
    name, _, value = setting.partition("=")
    async with WrappedNode(config, ENVIRON | {name: value}) as node:
        # Python tells what threads do without stopping them: those of the start have to be idle.
        await node.wait_for(event="spool_sound")
        assert (await exchange(node.admin, request("GET", "/login"))).status == 200
        node.send(signal.SIGABRT)
        assert await node.ended() == -signal.SIGABRT
        said = "".join(node.noise)
        assert said.startswith("Fatal Python error: Aborted")
        assert 'asyncio/base_events.py", line' in said
        assert not [value for value in ENVIRON.values() if value in said]
