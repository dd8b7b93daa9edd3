"""What every test behind a front starts from."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fronts.relays import NAME, Relay, RunningRelay
from tests.harness.certified import certified
from tests.harness.upstream import Upstream


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as running:
        yield running


@pytest.fixture
async def relay(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Relay]:
    async with RunningRelay(tmp_path, upstream.url) as running:
        yield running


@pytest.fixture
def certificate(tmp_path: Path) -> None:
    """Write `certificate.pem`."""
    certified(tmp_path, NAME)
