"""Verified deliveries, events and leases, made to measure: what is not named is ordinary."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import IPv4Address, ip_address
from uuid import uuid4

from relay.core.event import Event, Lease
from relay.core.request import (
    ClientAddress,
    Delivery,
    Headers,
    OnConflict,
    RequestHead,
    Verification,
    VerifiedDelivery,
    Via,
)

RECEIVED = datetime(2026, 1, 5, 12, tzinfo=UTC)
JSON = Headers((("Content-Type", "application/json"),))


def verified(
    *,
    key: str = "order-1",
    body: bytes = b'{"order_id": "order-1"}',
    endpoint: str = "midtrans",
    upstream: str = "billing",
    subject: str | None = None,
    opening: bool = False,
    test: bool = False,
    on_conflict: OnConflict = OnConflict.DELIVER,
    restated: bytes | None = None,
    ambiguous: bool = False,
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
        upstream=upstream,
        headers=headers,
        delivery=Delivery(endpoint, head, ClientAddress(address, Via.PEER), remainder, body),
        verification=Verification(
            key=key,
            content=sha256(body).digest(),
            replay_digest=restated,
            signed=("order_id", "status_code", "gross_amount"),
            ambiguous=ambiguous,
            secret=0,
            subject=subject,
            is_initial=opening,
            test=test,
            on_conflict=on_conflict,
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
        upstream=upstream,
        headers=EVENT.headers,
        delivery=Delivery("midtrans", head, ClientAddress(EVENT.client, Via.PEER), "", body),
        verification=Verification(
            key=f"key {number}", content=sha256(body).digest(), subject=subject
        ),
    )
