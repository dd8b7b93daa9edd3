"""What relay.service does to a relay, and what the two tell each other."""

import ctypes.util
import shutil
import sys
from pathlib import Path

import pytest

from tests.harness import unit_sandbox
from tests.harness.deliveries import ENVIRON, midtrans_body, midtrans_request
from tests.harness.traced_node import WrappedNode
from tests.harness.wire import exchange

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
