"""How many system calls one delivery takes on a connection that is kept."""

import asyncio
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.harness import traced_node
from tests.harness.deliveries import ENVIRON, configuration, midtrans_body, midtrans_request
from tests.harness.traced_node import WrappedNode
from tests.harness.upstream import Upstream
from tests.harness.wire import read_reply

_DELIVERIES = 10
_RECEIVING = ("recvfrom", "recvmsg")
_SENDING = ("sendto", "sendmsg", "write", "writev")


@pytest.mark.debian
async def test_a_delivery_is_received_in_one_call_and_answered_in_one(tmp_path: Path) -> None:
    traced_node.strace_needed()
    config, log = tmp_path / "relay.yaml", tmp_path / "calls"
    async with Upstream() as upstream:
        config.write_text(configuration(upstream.url))
        prefix = traced_node.tracing(log)
        async with WrappedNode(config, ENVIRON, prefix=prefix) as node:
            reader, writer = await asyncio.open_connection(*node.public[0])
            port = writer.get_extra_info("sockname")[1]
            for _ in range(_DELIVERIES):
                writer.write(midtrans_request(midtrans_body()))
                assert (await read_reply(reader)).status == 200
            writer.close()
            await upstream.has_received(_DELIVERIES)
            assert await node.end(signal.SIGTERM) == 0
    calls = await traced_node.calls(log)
    ours = Counter(call.name for call in calls if call.file.endswith(f":{port}]"))
    # One more receives the end of the connection.
    assert sum(ours[name] for name in _RECEIVING) == _DELIVERIES + 1
    assert sum(ours[name] for name in _SENDING) == _DELIVERIES
