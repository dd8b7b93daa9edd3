"""What every proof about disks and clocks starts from."""

import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.durability.messages import Answered, Message, messages, send_all
from tests.harness import strace
from tests.harness.syscalls import Call
from tests.harness.upstream import Upstream
from tests.harness.wrapped import RELAY, WrappedNode
from tests.system.conftest import ENVIRON, configuration

CONTROL = (str(Path(__file__).with_name("normal_sync_control.py")),)


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


@dataclass(frozen=True, slots=True)
class Life:
    """One run of a relay: what it is sent, and how it ends."""

    messages: Sequence[Message]
    end: signal.Signals = signal.SIGTERM
    at_once: int = 4


@dataclass(slots=True)
class Traced:
    """The lives of a relay in one directory, and every call it made, lives one after the other."""

    directory: Path
    sent: list[Message] = field(default_factory=list)
    answered: list[Answered] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    @property
    def log(self) -> str:
        return str(self.directory / "relay.db-wal")


async def trace(directory: Path, *lives: Life, program: Sequence[str] = RELAY) -> Traced:
    """Run relay under strace, send it messages, let it deliver them, and end it."""
    strace.needed()
    traced = Traced(directory)
    log = directory / "trace"
    for life in lives:
        async with Upstream() as upstream:
            config = directory / "relay.yaml"
            config.write_text(configuration(upstream.url))
            node = WrappedNode(config, ENVIRON, prefix=strace.tracing(log), program=program)
            async with node:
                traced.answered += await send_all(node.public[0], life.messages, life.at_once)
                await upstream.has_received(len(life.messages))
                await node.end(life.end)
        traced.sent += life.messages
        start = 1 + max((call.ended or call.began for call in traced.calls), default=-1)
        traced.calls += await strace.calls(log, start)
        log.unlink()
    return traced


def some(number: int, seed: int = 1) -> list[Message]:
    """Return messages of the sizes that there are: mostly small, now and then a large one."""
    return messages(number, (0, 600, 0, 3000, 0, 0, 12_000, 0, 0, 40_000), seed)
