"""Genuine messages, as requests."""

import json
from pathlib import Path
from typing import Any

from relay.core.clock import SystemClock
from relay.core.secret import Secret
from relay.providers import Provider, SampleOrder
from relay.providers.builtin import provider_named
from tests.harness.wire import request
from tests.system.conftest import ENVIRON, MIDTRANS, VIPPS, VIPPS_PATH

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
