"""What every system test starts from: an upstream, and a configuration that points at it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.harness.canaries import found
from tests.harness.node import Node
from tests.harness.upstream import Upstream

#: A key that Midtrans published with signed sandbox messages, and one that Vipps published.
ENVIRON = {
    "MIDTRANS_SERVER_KEY": "SB-Mid-server-TOq1a2AVuiyhhOjvfs3U_KeO",
    "VIPPS_SECRET": (
        "A0+AeKBRG2KRGvnNwJpQlb6IJFk48CKXCIcrLoHncVJKDILsQSxS6NWCccwWm6r6FhGKhiHTBsG2wo/xU6FY/A=="
    ),
    "RELAY_ADMIN_TOKEN": "a-token-of-the-tests",
}

#: Addresses that Midtrans lists for its sandbox, and one that the test adds for Vipps.
MIDTRANS, VIPPS, STRANGER = "34.101.68.130", "104.45.17.199", "203.0.113.66"

VIPPS_PATH = "/e2cee29b-012e-4f1d-8ef4-e95fd74a7a63"


#: What a relay writes: its spool and what belongs to it, and its state.
WRITTEN = ("relay.db*", "dns.json*", "reconcile-*")


@pytest.fixture(autouse=True)
def nothing_holds_a_secret(tmp_path: Path) -> Iterator[None]:
    """Behind every test, look for its secrets in all that its relays have written."""
    Node.said.clear()
    yield
    places = [
        (str(path), path.read_bytes())
        for pattern in WRITTEN
        for path in sorted(tmp_path.rglob(pattern))
        if path.is_file()
    ]
    places.append(("the log", b"".join(Node.said)))
    assert found(ENVIRON.items(), places) == []


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as running:
        yield running


@pytest.fixture
def config(tmp_path: Path, upstream: Upstream) -> Path:
    path = tmp_path / "relay.yaml"
    path.write_text(configuration(upstream.url))
    return path


def configuration(upstream_url: str) -> str:
    """Return a configuration on loopback; a trusted proxy there tells the client's address."""
    return f"""
listen: [{{bind: "127.0.0.1:0"}}]
trusted_proxies: ["127.0.0.1/32"]
admin: {{bind: "127.0.0.1:0", token: "${{env:RELAY_ADMIN_TOKEN}}"}}
spool: {{path: relay.db}}
limits: {{body: 64KiB, header_timeout: 1s, body_timeout: 1s}}
shutdown_grace: 5s
upstreams:
  billing:
    url: "{upstream_url}/hooks"
    timeout: 2s
    retry: {{schedule: [50ms]}}
endpoints:
  - name: midtrans
    path: /midtrans/notification
    provider: midtrans
    environment: sandbox
    secrets: ["${{env:MIDTRANS_SERVER_KEY}}"]
    upstream: billing
  - name: vipps
    path: {VIPPS_PATH}
    provider: vipps
    environment: test
    secrets: ["${{env:VIPPS_SECRET}}"]
    upstream: billing
    allowlist: {{replace: ["{VIPPS}/32"]}}
    timestamp: off
"""
