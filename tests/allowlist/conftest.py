from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.allowlist.dns_source import DnsSource
from tests.allowlist.dns_hosts import (
    GOOD,
    KNOWN,
    SIX,
    KeptRecord,
    SeenChanges,
    addresses,
    dns_host,
    resolver,
)
from tests.harness import nameserver
from tests.harness.clock import ManualClock
from tests.harness.nameserver import BrokenNameserver, Nsd, gives


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def server() -> AsyncIterator[BrokenNameserver]:
    async with BrokenNameserver() as server:
        yield server


@pytest.fixture
async def real(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Nsd]:
    if not nameserver.PROGRAM.exists():
        reason = (
            f"NOT TESTED against a real name server: {nameserver.PROGRAM} is absent (package nsd)"
        )
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
def seen() -> SeenChanges:
    return SeenChanges()


@pytest.fixture
async def kept(server: BrokenNameserver, clock: ManualClock) -> KeptRecord:
    """What is known after one good answer."""
    kept = KeptRecord()
    server.on = {"A": gives(*GOOD), "AAAA": gives(SIX)}
    await dns_host(resolver(server.port), clock, kept=kept).refresh()
    server.asked.clear()
    return kept


@pytest.fixture
def host(
    server: BrokenNameserver, clock: ManualClock, seen: SeenChanges, kept: KeptRecord
) -> DnsSource:
    """A source that has had one good answer."""
    host = dns_host(resolver(server.port), clock, seen=seen, kept=kept)
    assert addresses(host) == KNOWN
    return host
