"""Any one system call fails, the first of its kind or the fiftieth: nothing is lost by it.

One relay after the other works on the same spool, each with another call that fails. Whatever was
acknowledged is in the file after each of them. A relay goes on, or it ends with an exit code that
tells its supervisor. In the end a sound relay delivers what is left.
"""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from tests.crash import promises
from tests.crash.lengths import tell
from tests.crash.messages import Message, messages, send
from tests.crash.promises import delivered_in_the_end
from tests.harness import traced_node
from tests.harness.clock import wait_until
from tests.harness.deliveries import ENVIRON, configuration
from tests.harness.spool_audit import audit_stopped
from tests.harness.traced_node import WrappedNode
from tests.harness.upstream import Upstream, answer

pytestmark = [pytest.mark.debian, pytest.mark.proof]

_FILES: Final = ("", "-wal", "-shm", "-journal", "-presence", "-ballast")
_STATUS: Final = "fstat,newfstatat,stat,lstat,statx"
_PLACES: Final = range(1, 51)

#: How many relays work at a time, each with a spool of its own.
_LANES: Final = 3

#: Messages that a relay is sent at least, and how long it may refuse them after a fault.
_MESSAGES: Final = 12
_RECOVERY: Final = 10.0
_PAUSE: Final = 0.3


@dataclass(frozen=True, slots=True)
class Kind:
    """Calls, and how they fail.

    at_work: all of them, from when it listens on; otherwise those on the spool's files, from the
        start.
    messages: how many it takes for one such call, where there are few.
    """

    calls: str
    error: str
    at_work: bool = False
    messages: int = 0

    def __str__(self) -> str:
        return f"{self.calls.partition(',')[0]} {self.error}"


_KINDS: Final = (
    Kind("fsync,fdatasync", "EIO", messages=1),
    Kind("pwrite64", "EIO"),
    Kind("pwrite64", "ENOSPC"),
    Kind("pread64", "EIO"),
    Kind("openat", "EIO"),
    Kind("unlink,unlinkat", "EIO"),
    Kind("rename,renameat,renameat2", "EIO"),
    Kind(_STATUS, "EIO"),
    Kind("ftruncate", "EIO"),
    Kind("fallocate", "EIO"),
    Kind("read", "EIO", at_work=True),
    Kind("write", "EIO", at_work=True, messages=3),
    Kind("openat", "ENOSPC"),
    Kind("ftruncate", "ENOSPC"),
    Kind("fallocate", "ENOSPC"),
    Kind("write", "ENOSPC", at_work=True, messages=3),
    Kind("openat", "EMFILE"),
    Kind("accept4,accept", "EMFILE", at_work=True, messages=1),
    Kind("socket", "EMFILE", at_work=True, messages=1),
    Kind("dup,dup2,dup3", "EMFILE", at_work=True),
    # What the kernel really says there when its limit is reached.
    Kind("epoll_ctl", "ENOSPC", at_work=True, messages=1),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """The call of this kind that fails; `strace` counts in each thread by itself."""

    kind: Kind
    place: int


@dataclass(slots=True)
class Chain:
    """One relay after the other on one spool."""

    config: Path
    upstream: Upstream
    sent: Iterator[Message]
    promised: list[Message] = field(default_factory=list)
    came_of_it: Counter[str] = field(default_factory=Counter)

    @property
    def spool(self) -> Path:
        return self.config.with_name("relay.db")

    async def live(self, fault: Fault) -> int:
        """Let a relay live through this fault; return how many calls failed."""
        log, calls = self.config.with_name("trace"), fault.kind.calls
        failing = f"error={fault.kind.error}:when={fault.place}"
        if fault.kind.at_work:
            node = WrappedNode(self.config, ENVIRON)
        else:
            prefix = traced_node.failing(log, calls, failing, self._paths())
            node = WrappedNode(self.config, ENVIRON, prefix=prefix)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(node.end, signal.SIGKILL)
            await node.launch()
            listens = await node.listening()
            if fault.kind.at_work:
                tracing = traced_node.failing_from_now(node.pid, log, calls, failing)
                await stack.enter_async_context(tracing)
            became = await (self._work(node, fault) if listens else _not_started(node, fault))
        if not fault.kind.at_work:
            await traced_node.finished(log)
        failed = traced_node.injected(log)
        log.unlink()
        self._nothing_is_missing(fault)
        self.came_of_it[became if failed else "no such call"] += 1
        return failed

    async def _work(self, node: WrappedNode, fault: Fault) -> str:
        """Send messages, stop the relay if it still runs, and return what became of it."""
        for _ in range(max(_MESSAGES, (fault.place + 3) * fault.kind.messages)):
            await self._send(node, fault)
            if node.over:
                break
        loop = asyncio.get_running_loop()
        late = loop.time() + _RECOVERY
        before = len(self.promised)
        while len(self.promised) == before and not node.over:
            assert loop.time() < late, f"{fault}: it goes on, and takes nothing"
            await self._send(node, fault)
        if node.over:
            assert await node.ended() != 0, f"{fault}: nobody is told that it ended"
            return "ended"
        return "went on" if await node.end() == 0 else "went on, and told when stopped"

    async def _send(self, node: WrappedNode, fault: Fault) -> None:
        answered = await send(node.public[0], next(self.sent))
        assert answered.status in {0, 200, 408, 502}, (fault, answered.status)
        if answered.acknowledged:
            self.promised.append(answered.message)
        if answered.status == 0:
            # The connection alone was lost, or the relay is about to end.
            await wait_until(lambda: node.over, _PAUSE)

    def _nothing_is_missing(self, fault: Fault) -> None:
        audit = audit_stopped(self.spool)
        assert audit.sound == "ok", fault
        missing = {message.body for message in self.promised} - audit.bodies.keys()
        assert missing == set(), f"{fault}: {len(missing)} were acknowledged and are not there"

    async def end(self) -> None:
        """Let a sound relay deliver all that was promised."""
        found = await promises.bodies(self.spool)
        assert promises.lost(found, [(each.name, each.body) for each in self.promised]) == []
        await delivered_in_the_end(self.config, self.upstream, self.promised)

    def _paths(self) -> list[Path]:
        return [self.spool.with_name(self.spool.name + suffix) for suffix in _FILES]


async def _not_started(node: WrappedNode, fault: Fault) -> str:
    assert await node.ended() != 0, f"{fault}: nobody is told that it did not start"
    return "did not start"


@asynccontextmanager
async def chain(directory: Path) -> AsyncIterator[Chain]:
    """Give an empty spool; at the end, a sound relay delivers all that was promised."""
    directory.mkdir()
    # Each delivery is a connection of its own, so that there are calls enough.
    async with Upstream(answer(200, [("Connection", "close")])) as upstream:
        config = directory / "relay.yaml"
        config.write_text(configuration(upstream.url))
        made = Chain(config, upstream, iter(messages(10_000)))
        await promises.empty(made.spool)
        yield made
        await made.end()


async def _each(directory: Path, faults: Iterable[Fault]) -> Counter[str]:
    """Live through these one after the other, until there are no more such calls."""
    async with chain(directory) as made:
        for fault in faults:
            if not await made.live(fault):
                break
        return made.came_of_it


async def test_calls_of_several_kinds_fail(quick: Path) -> None:
    traced_node.strace_needed()
    places = {"fsync EIO": 7, "accept4 EMFILE": 5, "socket EMFILE": 5, "epoll_ctl ENOSPC": 9}
    faults = [Fault(kind, places[str(kind)]) for kind in _KINDS if str(kind) in places]
    assert len(faults) == len(places)
    async with chain(quick / "chain") as made:
        for fault in faults:
            assert await made.live(fault) > 0, f"{fault}: this has proven nothing"
    tell(**made.came_of_it)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", _KINDS, ids=str)
async def test_wherever_a_call_fails(quick: Path, kind: Kind) -> None:
    traced_node.strace_needed()
    lanes = [_PLACES[lane::_LANES] for lane in range(_LANES)]
    async with asyncio.TaskGroup() as group:
        living = [
            group.create_task(_each(quick / str(number), [Fault(kind, place) for place in places]))
            for number, places in enumerate(lanes)
        ]
    came_of_it = sum((each.result() for each in living), Counter[str]())
    tell(kind=kind, **came_of_it)
