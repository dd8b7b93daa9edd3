"""Verified deliveries, made to measure: whatever is not named is ordinary."""

from datetime import UTC, datetime
from hashlib import sha256
from ipaddress import ip_address
from uuid import uuid4

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
