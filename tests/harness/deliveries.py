"""Messages and events: a relay with genuine messages for it, and verified deliveries to measure."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any
from uuid import uuid4

from relay.core.clock import SystemClock
from relay.core.event import Event, Lease
from relay.core.request import (
    ClientAddress,
    Delivery,
    Headers,
    OnConflict,
    OnReplay,
    References,
    RequestHead,
    Verification,
    VerifiedDelivery,
    Via,
)
from relay.core.secret import Secret
from relay.providers import Provider, SampleOrder
from relay.providers.builtin import provider_named
from tests.harness.wire import request

# ---- verified deliveries, events and leases -------------------------------------------------

RECEIVED = datetime(2026, 1, 5, 12, tzinfo=UTC)
JSON = Headers((("Content-Type", "application/json"),))


def verified(
    *,
    key: str = "order-1",
    body: bytes = b'{"order_id": "order-1"}',
    endpoint: str = "midtrans",
    upstream: str = "billing",
    upstreams: tuple[str, ...] | None = None,
    subject: str | None = None,
    opening: bool = False,
    test: bool = False,
    on_conflict: OnConflict = OnConflict.DELIVER,
    restated: bytes | None = None,
    on_replay: OnReplay = OnReplay.DUPLICATE,
    hold: str | None = None,
    ambiguous: bool = False,
    tokens: tuple[str, ...] = (),
    redacted: tuple[str, ...] = (),
    references: References = (),
    received_at: datetime = RECEIVED,
    headers: Headers = JSON,
    path: str = "/midtrans/notification",
    remainder: str = "",
    event_id: str | None = None,
) -> VerifiedDelivery:
    """Return a delivery as `relay.ingest` builds it, under a new id unless one is given.

    body: decides about the content, too.
    path: with the query, if any.
    """
    address = ip_address("103.208.23.6")
    head = RequestHead("POST", path, headers, address, received_at)
    return VerifiedDelivery(
        event_id=event_id or uuid4().hex,
        provider="midtrans",
        environment="production",
        upstreams=(upstream,) if upstreams is None else upstreams,
        headers=headers,
        delivery=Delivery(endpoint, head, ClientAddress(address, Via.PEER), remainder, body),
        verification=Verification(
            key=key,
            said=sha256(body).digest(),
            replay_digest=restated,
            signed=("order_id", "status_code", "gross_amount"),
            ambiguous=ambiguous,
            secret=0,
            subject=subject,
            is_initial=opening,
            test=test,
            on_conflict=on_conflict,
            on_replay=on_replay,
            hold=hold,
            tokens=tokens,
            redacted=redacted,
            references=references,
        ),
    )


# ---- under a lease --------------------------------------------------------------------------
# The same event each time, as it lies under a lease, and deliveries told apart by a number.

RECEIVED_AT = datetime(2026, 1, 5, 12, tzinfo=UTC)

EVENT = Event(
    id="evt_0197a3f2",
    endpoint="midtrans",
    provider="midtrans",
    environment="production",
    upstream="billing",
    key="order-1 settlement 200",
    subject="order-1",
    method="POST",
    suffix="",
    headers=Headers((("Content-Type", "application/json"), ("User-Agent", "Veritrans"))),
    client=IPv4Address("192.0.2.7"),
    received_at=RECEIVED_AT,
    signed=("body",),
    conflicts_with=None,
    out_of_order=False,
    body=b'{"order_id": "order-1"}',
)


def lease_of(event: Event = EVENT, turn: int = 1, since: datetime = RECEIVED_AT) -> Lease:
    """Return a lease whose attempt number differs from its turn, as after a requeue."""
    return Lease(
        event,
        attempt=turn + 7,
        round_attempt=turn,
        round_started_at=since,
        until=since + timedelta(minutes=1),
    )


def numbered(
    number: int,
    *,
    upstream: str = "billing",
    subject: str | None = None,
    received_at: datetime = RECEIVED_AT,
) -> VerifiedDelivery:
    """Return what a spool takes: event number so-and-so, with a body that says its number."""
    head = RequestHead(
        method="POST",
        target="/midtrans",
        headers=EVENT.headers,
        peer=EVENT.client,
        received_at=received_at,
    )
    body = f'{{"number": {number}}}'.encode()
    return VerifiedDelivery(
        event_id=f"evt_{number:04}",
        provider="midtrans",
        environment="production",
        upstreams=(upstream,),
        headers=EVENT.headers,
        delivery=Delivery("midtrans", head, ClientAddress(EVENT.client, Via.PEER), "", body),
        verification=Verification(key=f"key {number}", said=sha256(body).digest(), subject=subject),
    )


# ---- an ordinary configuration and its genuine messages -------------------------------------

#: A key that Midtrans published with signed sandbox messages, and one that Vipps published.
ENVIRON = {
    "MIDTRANS_SERVER_KEY": "SB-Mid-server-TOq1a2AVuiyhhOjvfs3U_KeO",
    "VIPPS_SECRET": (
        "A0+AeKBRG2KRGvnNwJpQlb6IJFk48CKXCIcrLoHncVJKDILsQSxS6NWCccwWm6r6FhGKhiHTBsG2wo/xU6FY/A=="
    ),
    "RELAY_ADMIN_TOKEN": "a-token-of-the-tests",
}

#: What a request to the private listener proves itself with.
BEARER = ("Authorization", f"Bearer {ENVIRON['RELAY_ADMIN_TOKEN']}")

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


def midtrans_body(at: datetime | None = None, /, **changes: str) -> bytes:
    """Return the body of a notification of that time or of now, signed with the sandbox key."""
    provider: Provider = provider_named("midtrans")
    secret = Secret(ENVIRON["MIDTRANS_SERVER_KEY"])
    order = SampleOrder("https://relay.test/", secret, at or SystemClock().now(), changes)
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


@dataclass(frozen=True)
class AnswerContext:
    """A `relay.providers.AnswerContext`, made by hand."""

    remainder: str
    body: bytes
    at: datetime
