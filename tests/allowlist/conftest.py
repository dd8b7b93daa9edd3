from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.allowlist.dns_source import DnsSource
from tests.harness import nsd
from tests.harness.clock import ManualClock
from tests.harness.dnshost import GOOD, KNOWN, SIX, Kept, Seen, addresses, dns_host, resolver
from tests.harness.nameserver import BrokenNameserver, gives
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
        plugins = request.config.pluginmanager
        terminal, capture = (
            plugins.get_plugin("terminalreporter"),
            plugins.get_plugin("capturemanager"),
        )
        if terminal is not None and capture is not None:
            with capture.global_and_fixture_disabled():
                terminal.write_line(f"\n{reason}", red=True, bold=True)
        pytest.skip(reason)
    async with Nsd(tmp_path, "example.org") as server:
        yield server


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
async def kept(server: BrokenNameserver, clock: ManualClock) -> Kept:
    """What is known after one good answer."""
    kept = Kept()
    server.on = {"A": gives(*GOOD), "AAAA": gives(SIX)}
    await dns_host(resolver(server.port), clock, kept=kept).refresh()
    server.asked.clear()
    return kept


@pytest.fixture
def host(server: BrokenNameserver, clock: ManualClock, seen: Seen, kept: Kept) -> DnsSource:
    """A source that has had one good answer."""
    host = dns_host(resolver(server.port), clock, seen=seen, kept=kept)
    assert addresses(host) == KNOWN
    return host
