"""What every system test starts from: an upstream, a configuration, and a relay behind fronts."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.harness.deliveries import ENVIRON, configuration
from tests.harness.node import Node
from tests.harness.upstream import Upstream
from tests.harness.wire import self_signed
from tests.system.canaries import found
from tests.system.fronts import NAME, Relay, RunningRelay

#: What a relay writes: its spool and what belongs to it, and its state.
WRITTEN = ("relay.db*", "dns.json*", "reconcile-*")


@pytest.fixture(autouse=True)
def nothing_holds_a_secret(tmp_path: Path) -> Iterator[None]:
    """Behind every test, look for its secrets in all that its relays have written."""
    Node.said.clear()
    yield
    places = [
        (str(path), path.read_bytes())
        for pattern in WRITTEN
        for path in sorted(tmp_path.rglob(pattern))
        if path.is_file()
    ]
    places.append(("the log", b"".join(Node.said)))
    assert found(ENVIRON.items(), places) == []


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as running:
        yield running


@pytest.fixture
def config(tmp_path: Path, upstream: Upstream) -> Path:
    path = tmp_path / "relay.yaml"
    path.write_text(configuration(upstream.url))
    return path


@pytest.fixture
async def relay(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Relay]:
    async with RunningRelay(tmp_path, upstream.url) as running:
        yield running


@pytest.fixture
def certificate(tmp_path: Path) -> None:
    """Write `certificate.pem`."""
    self_signed(tmp_path, NAME)
