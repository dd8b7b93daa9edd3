from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness import nsd
from tests.harness.clock import ManualClock
from tests.harness.nameserver import BrokenNameserver
from tests.harness.nsd import Nsd


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def server() -> AsyncIterator[BrokenNameserver]:
    async with BrokenNameserver() as server:
        yield server


@pytest.fixture
async def real(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Nsd]:
    if not nsd.PROGRAM.exists():
        reason = f"NOT TESTED against a real name server: {nsd.PROGRAM} is absent (package nsd)"
        terminal = request.config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None:
            terminal.write_line(reason, red=True, bold=True)
        pytest.skip(reason)
    async with Nsd(tmp_path, "example.org") as server:
        yield server
