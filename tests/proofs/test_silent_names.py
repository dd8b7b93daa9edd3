"""A name server that does not answer for one upstream holds up nothing else.

The relay runs in a mount namespace of its own, in which `/etc/resolv.conf` names a server of ours:
it takes every question and says nothing. That takes Linux and root.
"""

import asyncio
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.upstream import Upstream
from tests.harness.wire import exchange, request
from tests.proofs.setting import accepted, lives
from tests.system.messages import midtrans_body

pytestmark = pytest.mark.proof

_SILENT = "127.0.0.9"
_EVENTS = 40
_GRACE = 5.0  # as in the configuration of these relays
_TO_SPARE = 5.0


@pytest.fixture
def nobody_answers(tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """Give what runs a program in a world whose name server is silent."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("this needs root and `unshare`: a silent name server was NOT tried")
    resolv = tmp_path / "resolv.conf"
    resolv.write_text(f"nameserver {_SILENT}\noptions timeout:30 attempts:5\n")
    script = f'mount --bind "{resolv}" /etc/resolv.conf && exec "$@"'
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        try:
            server.bind((_SILENT, 53))
        except OSError as error:
            pytest.skip(f"a silent name server was NOT tried: {error}")
        yield ("unshare", "-m", "sh", "-c", script, "sh")


async def test_an_upstream_whose_name_nobody_knows_is_alone_with_that(
    tmp_path: Path, nobody_answers: tuple[str, ...], upstream: Upstream
) -> None:
    healthy = upstream.url.replace("127.0.0.1", "localhost")
    upstreams = {"silent": "http://billing.example.com/events", "healthy": healthy}
    relays = lives(tmp_path, upstreams, timeout="30s", concurrency=_EVENTS)
    loop = asyncio.get_running_loop()
    async with relays.next(*nobody_answers) as life:
        for _ in range(_EVENTS):
            await accepted(life.public[0], midtrans_body(), "silent")
        for _ in range(_EVENTS):
            await accepted(life.public[0], midtrans_body(), "healthy")
        await life.wait_for(_EVENTS, event="attempt", upstream="healthy")
        assert {each["decision"] for each in life.having(event="attempt")} == {"done"}
        assert (await exchange(life.admin, request("GET", "/metrics"))).status == 200
        began = loop.time()
        assert await life.end() == 0
        assert loop.time() - began < _GRACE + _TO_SPARE
    assert len(upstream.received) == _EVENTS
