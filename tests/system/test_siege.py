"""A stranger holds every connection it can get, and each genuine message is still answered 200."""

import asyncio
import resource
import ssl
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import pytest

from tests.crash.lengths import tell
from tests.harness.deliveries import ENVIRON
from tests.harness.node import Node
from tests.harness.upstream import Upstream
from tests.harness.wire import proxy_v2, self_signed
from tests.system.fronts import NAME, SENDER, message, send

_DESCRIPTORS: Final = 6000


def relay_config(directory: Path, upstream: str, connections: int) -> Path:
    file = directory / "relay.yaml"
    file.write_text(f"""
listen:
  - bind: "127.0.0.1:0"
  - bind: "127.0.0.1:0"
    proxy_protocol: true
  - bind: "127.0.0.1:0"
    tls: {{certificate: certificate.pem, key: certificate.pem}}
trusted_proxies: ["127.0.0.1"]
limits: {{connections: {connections}, connections_per_address: {connections // 16}}}
admin: {{bind: "127.0.0.1:0"}}
upstreams: {{billing: {{url: "{upstream}/hooks"}}}}
endpoints:
  - name: midtrans
    path: /midtrans/notification
    provider: midtrans
    environment: sandbox
    secrets: ["${{env:MIDTRANS_SERVER_KEY}}"]
    upstream: billing
    allowlist: {{replace: ["{SENDER}"]}}
""")
    return file


@asynccontextmanager
async def besieged(port: int, number: int) -> AsyncIterator[None]:
    """Hold so many connections to this port, in a process of their own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.system.siege", str(port), str(number)), stdout=PIPE
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"laid\n"
        yield
        assert process.returncode is None
    finally:
        process.kill()
        await process.wait()


class Sender:
    """The genuine sender: over each listener, always on a new connection."""

    def __init__(self, node: Node, trust: ssl.SSLContext) -> None:
        self._ports = [port for _, port in node.public]
        self._trust = trust

    async def send(self, times: int) -> list[float]:
        """Send this often over each listener, and return how long each answer took, sorted.

        One at a time: each is answered 200.
        """
        loop = asyncio.get_running_loop()
        took = []
        for _ in range(times):
            for port, header, came_from, trust in (
                (self._ports[0], b"", SENDER, None),
                (self._ports[1], proxy_v2(ip_address(SENDER)), "127.0.0.1", None),
                (self._ports[2], b"", SENDER, self._trust),
            ):
                began = loop.time()
                reply = await send(port, header + message(), came_from, trust=trust)
                assert reply.status == 200
                took.append(loop.time() - began)
        return sorted(took)


async def _withstood(
    directory: Path, upstream: Upstream, connections: int, times: int
) -> tuple[float, float]:
    """Return the 99th percentile of the time to an answer, without and with a siege."""
    trust = self_signed(directory, NAME)[1]
    async with Node(relay_config(directory, upstream.url, connections), ENVIRON) as node:
        sender = Sender(node, trust)
        idle = await sender.send(times)
        async with besieged(node.public[0][1], connections):
            meanwhile = await sender.send(times)
            assert await node.metric("connections_evicted_total") > 0
            assert await node.metric("connections") <= connections
        refused = node.having(event="delivery", client=SENDER, verdict="refused")
    assert refused == []
    before, after = (took[int(len(took) * 0.99)] for took in (idle, meanwhile))
    tell(connections=connections, p99_idle=f"{before:.4f}", p99_meanwhile=f"{after:.4f}")
    return before, after


async def test_a_siege_shuts_no_sender_out(tmp_path: Path, upstream: Upstream) -> None:
    await _withstood(tmp_path, upstream, 512, 50)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_a_siege_of_all_connections_shuts_no_sender_out(
    tmp_path: Path, upstream: Upstream
) -> None:
    # The relay has its own from here.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _DESCRIPTORS:
        pytest.skip(f"NOT PROVEN: 4,096 connections need more than {hard} file descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, hard))
    try:
        idle, meanwhile = await _withstood(tmp_path, upstream, 4096, 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert meanwhile <= 3 * idle
