"""slowhttptest against a relay: who is slow is closed by its limit, and nobody else notices."""

import asyncio
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.crash.lengths import tell
from tests.harness.deliveries import ENVIRON, configuration, midtrans_body
from tests.harness.node import Node
from tests.harness.upstream import Upstream
from tests.harness.wire import exchange, request

pytestmark = pytest.mark.debian

_TOOL: Final = Path("/usr/bin/slowhttptest")
_PATH: Final = "/midtrans/notification"
#: In seconds: `header_timeout` and `body_timeout` here, and how long a connection may be idle.
_LIMIT: Final = 2
_IDLE: Final = 75

#: Options of slowhttptest by what is slow, where it asks, and how the log calls who was closed.
_SLOW: Final = {
    "headers": (("-H", "-i", "1", "-x", "24"), _PATH, "header_timeout"),
    "bodies": (("-B", "-i", "1", "-s", "8192", "-t", "POST", "-x", "10"), _PATH, "body_timeout"),
}
_READERS: Final = ("-X", "-k", "3", "-w", "64", "-y", "128", "-n", "5", "-z", "16")


@asynccontextmanager
async def slow(
    node: Node, options: tuple[str, ...], path: str, count: int
) -> AsyncIterator[Process]:
    """Run slowhttptest with as many connections, all opened within a second or two."""
    if not _TOOL.exists():
        pytest.skip(f"NOT TESTED against slow clients: {_TOOL} is absent (slowhttptest)")
    process = await asyncio.create_subprocess_exec(
        _TOOL,
        *options,
        *("-c", str(count), "-r", str(count), "-l", "240", "-u", node.url + path),
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def honest() -> bytes:
    """Return a genuine delivery as it comes straight from its sender."""
    return request("POST", _PATH, [("Content-Type", "application/json")], midtrans_body())


async def answered(node: Node, times: int) -> list[float]:
    """Send honest deliveries one after the other; return how long each answer took, sorted."""
    now = asyncio.get_running_loop().time
    took = []
    for _ in range(times):
        began = now()
        assert (await exchange(node.public[0], honest())).status == 200
        took.append(now() - began)
    return sorted(took)


async def open_connections(node: Node) -> int:
    """Return what the relay counts."""
    return int(await node.metric("connections"))


async def until_open(node: Node, wanted: range, within: float) -> None:
    """Return when so many connections are open; that is seen on the metrics alone."""
    async with asyncio.timeout(within):
        while await open_connections(node) not in wanted:  # noqa: ASYNC110 - another process tells
            await asyncio.sleep(0.1)


@pytest.fixture
async def node(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Node]:
    """A relay whose allowed sender is this machine, which may open many connections."""
    path = tmp_path / "relay.yaml"
    text = configuration(upstream.url).replace('trusted_proxies: ["127.0.0.1/32"]', "")
    text = text.replace(
        "header_timeout: 1s, body_timeout: 1s",
        f"header_timeout: {_LIMIT}s, body_timeout: {_LIMIT}s, connections_per_address: 2000",
    )
    text = text.replace(
        "    upstream: billing\n",
        '    upstream: billing\n    allowlist: {replace: ["127.0.0.1/32"]}\n',
        1,
    )
    path.write_text(text)
    async with Node(path, ENVIRON) as running:
        yield running


async def _outlasted(node: Node, kind: str, count: int) -> None:
    options, path, reason = _SLOW[kind]
    idle = await answered(node, count)
    async with slow(node, options, path, count) as process:
        await until_open(node, range(count // 2, count + 100), 20)
        busy = await answered(node, count)
        # It ends by itself when every connection of its own has been closed.
        async with asyncio.timeout(60):
            await process.wait()
    await node.wait_for(count, event="delivery", reason=reason)
    await until_open(node, range(1), 10)
    _tell(kind, count, idle, busy)


async def _readers_outlasted(node: Node, count: int, closed_within: float) -> None:
    idle = await answered(node, count)
    async with slow(node, _READERS, "/healthz", count) as process:
        await until_open(node, range(count // 2, count + 100), 20)
        busy = await answered(node, count)
        if closed_within:
            async with asyncio.timeout(closed_within):
                await process.wait()
    await until_open(node, range(1), 10)
    _tell("readers", count, idle, busy)


def _tell(kind: str, count: int, idle: list[float], busy: list[float]) -> None:
    """Say how much slower the slowest honest answers were; a busy machine is no failure."""
    before, after = (took[int(len(took) * 0.99)] for took in (idle, busy))
    tell(slow=kind, connections=count, p99_idle=f"{before:.4f}", p99_meanwhile=f"{after:.4f}")


@pytest.mark.parametrize("kind", sorted(_SLOW))
async def test_slow_senders_are_closed_by_their_limit(kind: str, node: Node) -> None:
    await _outlasted(node, kind, 100)


async def test_slow_readers_hold_nobody_up(node: Node) -> None:
    await _readers_outlasted(node, 100, closed_within=0)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", sorted(_SLOW))
async def test_a_thousand_slow_senders_are_closed_by_their_limit(kind: str, node: Node) -> None:
    await _outlasted(node, kind, 1000)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_thousand_slow_readers_are_closed_by_their_limit(node: Node) -> None:
    await _readers_outlasted(node, 1000, closed_within=_IDLE + 60)
