"""Where the name of an upstream leads is looked at, each time that it is called.

A relay has a table of hosts of its own, in a mount namespace, which changes while it runs.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.harness.deliveries import ENVIRON, configuration, midtrans_body, midtrans_request
from tests.harness.traced_node import WrappedNode
from tests.harness.upstream import Upstream, answer
from tests.harness.wire import exchange

NAME = "billing.internal"
METADATA = "169.254.169.254"


class Hosts:
    """The table of hosts that a relay sees."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "hosts"
        script = directory / "with-hosts"
        script.write_text(f'#!/bin/sh\nmount --bind {self._file} /etc/hosts && exec "$@"\n')
        script.chmod(0o755)
        self.prefix = ("unshare", "-m", str(script))
        self.lead_to()
        made = shutil.which("unshare") and subprocess.run([*self.prefix, "true"], check=False)
        if not made or made.returncode:
            pytest.skip("NOT TESTED with a table of hosts: that needs root, unshare and mount")

    def lead_to(self, *addresses: str) -> None:
        """Have the name these addresses from here on."""
        lines = "".join(f"{each} {NAME}\n" for each in addresses)
        self._file.write_text(f"127.0.0.1 localhost\n{lines}")


async def test_a_name_that_leads_to_a_metadata_service_is_not_called(tmp_path: Path) -> None:
    hosts = Hosts(tmp_path)
    hosts.lead_to(METADATA, "127.0.0.1")
    # Each connection serves once: the next attempt has to look the name up.
    closing = answer(200, [("Connection", "close")])
    async with Upstream(closing) as upstream:
        config = tmp_path / "relay.yaml"
        config.write_text(configuration(f"http://{NAME}:{upstream.port}"))
        async with WrappedNode(config, ENVIRON, prefix=hosts.prefix) as node:

            async def deliver() -> None:
                raw = midtrans_request(midtrans_body())
                assert (await exchange(node.public[0], raw)).status == 200

            # Of two addresses the other one is called, at once.
            await deliver()
            line = await node.wait_for(event="attempt")
            assert line["outcome"] == "delivered"
            assert line["duration_ms"] < 1000
            # A name that leads elsewhere the next time leads nowhere.
            hosts.lead_to(METADATA)
            await deliver()
            await node.wait_for(event="attempt", cause="address not allowed")
            assert len(upstream.received) == 1
            # It is tried again, as after any other failure.
            hosts.lead_to("127.0.0.1")
            await node.wait_for(2, event="attempt", outcome="delivered")
            causes = {each.get("cause") for each in node.having(event="attempt")}
            assert causes == {None, "address not allowed"}
            assert await node.end() == 0
