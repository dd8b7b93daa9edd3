"""What is forwarded of a delivery."""

from relay.model import Event, VerifiedDelivery


def event_of(
    verified: VerifiedDelivery, *, conflicts_with: str | None = None, out_of_order: bool = False
) -> Event:
    """Return the event that a delivery becomes, as a spool would bring it back."""
    delivery, head = verified.delivery, verified.delivery.head
    return Event(
        id=verified.event_id,
        endpoint=delivery.endpoint,
        provider=verified.provider,
        environment=verified.environment,
        upstream=verified.upstream,
        key=verified.evidence.key,
        subject=verified.evidence.subject,
        method=head.method,
        suffix=verified.suffix,
        headers=verified.headers,
        client=delivery.client.address,
        received_at=head.received_at,
        signed=verified.signed,
        conflicts_with=conflicts_with,
        out_of_order=out_of_order,
        body=delivery.body,
        reconciled=verified.reconciled,
        confirm=verified.confirm,
    )
