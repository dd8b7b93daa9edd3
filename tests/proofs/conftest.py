"""What every proof starts from."""

from collections.abc import AsyncIterator

import pytest

from tests.harness.faults import FaultProxy
from tests.harness.upstream import Upstream


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as running:
        yield running


@pytest.fixture
async def proxy(upstream: Upstream) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(upstream.port) as running:
        yield running
