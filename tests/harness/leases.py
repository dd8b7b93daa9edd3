"""Ordinary events, as they lie under a lease and as a spool takes them."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import IPv4Address

from relay.core.event import Event, Lease
from relay.core.request import (
    ClientAddress,
    Delivery,
    Headers,
    RequestHead,
    Verification,
    VerifiedDelivery,
    Via,
)

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


def verified(
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
        upstream=upstream,
        headers=EVENT.headers,
        delivery=Delivery("midtrans", head, ClientAddress(EVENT.client, Via.PEER), "", body),
        verification=Verification(
            key=f"key {number}", content=sha256(body).digest(), subject=subject
        ),
    )
