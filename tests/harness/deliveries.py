"""Verified deliveries, made to measure: whatever is not named is ordinary."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from ipaddress import ip_address
from uuid import uuid4

from relay.model import (
    ClientAddress,
    Delivery,
    Evidence,
    Headers,
    OnConflict,
    RequestHead,
    VerifiedDelivery,
    Via,
)

RECEIVED = datetime(2026, 1, 5, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Given:
    """What a test may want to say about a delivery.

    body: also its content, unless `content` is given.
    event_id: a new one each time unless given.
    """

    key: str = "order-1"
    body: bytes = b'{"order_id": "order-1"}'
    content: bytes | None = None
    endpoint: str = "midtrans"
    upstream: str = "billing"
    subject: str | None = None
    opening: bool = False
    test: bool = False
    on_conflict: OnConflict = OnConflict.DELIVER
    signed: tuple[str, ...] = ("order_id", "status_code", "gross_amount")
    ambiguous: bool = False
    received_at: datetime = RECEIVED
    headers: Headers = Headers((("Content-Type", "application/json"),))
    path: str = "/midtrans/notification"
    remainder: str = ""
    event_id: str | None = None


def verified(given: Given | None = None, /, **changes: object) -> VerifiedDelivery:
    """Return a delivery as `relay.ingest` would build it; `changes` are fields of `Given`."""
    said = replace(given or Given(), **changes)  # type: ignore[arg-type] # checked at run time
    address = ip_address("103.208.23.6")
    head = RequestHead("POST", said.path, said.headers, address, said.received_at)
    return VerifiedDelivery(
        event_id=said.event_id or uuid4().hex,
        provider="midtrans",
        environment="production",
        upstream=said.upstream,
        headers=said.headers,
        delivery=Delivery(
            said.endpoint, head, ClientAddress(address, Via.PEER), said.remainder, said.body
        ),
        evidence=Evidence(
            key=said.key,
            content=said.content or sha256(said.body).digest(),
            signed=said.signed,
            ambiguous=said.ambiguous,
            secret=0,
            subject=said.subject,
            opening=said.opening,
            test=said.test,
            on_conflict=said.on_conflict,
        ),
    )
