"""A relay with an endpoint each of Midtrans and Vipps in their sandboxes, and genuine messages."""

import json
from pathlib import Path
from typing import Any

from relay.core.clock import SystemClock
from relay.core.secret import Secret
from relay.providers import Provider, SampleOrder
from relay.providers.builtin import provider_named
from tests.harness.wire import request

# ---- the relay ------------------------------------------------------------------------------

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


# ---- messages -------------------------------------------------------------------------------

_VECTORS = Path(__file__).parent.parent / "vectors"


def vector(provider: str, name: str) -> dict[str, Any]:
    """Return one published message."""
    found: list[dict[str, Any]] = json.loads((_VECTORS / f"{provider}.json").read_text())
    return next(each for each in found if each["id"] == name)


def midtrans_request(body: bytes, client: str = MIDTRANS) -> bytes:
    """Return a notification of Midtrans as it comes through a trusted proxy."""
    headers = [
        ("Content-Type", "application/json"),
        ("Accept", "application/json"),
        ("User-Agent", "Veritrans"),
        ("X-Forwarded-For", client),
    ]
    return request("POST", "/midtrans/notification", headers, body)


def midtrans_body(**changes: str) -> bytes:
    """Return the body of a fresh notification, signed with the sandbox key."""
    provider: Provider = provider_named("midtrans")
    secret = Secret(ENVIRON["MIDTRANS_SERVER_KEY"])
    order = SampleOrder("https://relay.test/", secret, SystemClock().now(), changes)
    return provider.sample(order).body


def vipps_request() -> tuple[bytes, bytes]:
    """Return the request of the Vipps documentation, and its body."""
    message = vector("vipps", "vipps-docs-sample")
    body = message["body"].encode()
    headers = [
        ("Host", "webhook.site"),
        ("Content-Type", "application/json"),
        *message["headers"].items(),
        ("X-Forwarded-For", VIPPS),
    ]
    return request("POST", VIPPS_PATH, headers, body), body
