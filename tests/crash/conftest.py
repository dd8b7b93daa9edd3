"""What every proof starts from: an upstream, and a configuration or a proxy in front of it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.crash.fault_proxy import FaultProxy
from tests.harness.deliveries import configuration
from tests.harness.upstream import Upstream


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
def quick() -> Iterator[Path]:
    """A directory in memory where there is one: what is proven there does not need a real disk."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        yield Path(directory)


@pytest.fixture
async def proxy(upstream: Upstream) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(upstream.port) as running:
        yield running
