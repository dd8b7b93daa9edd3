"""An ordinary event under an ordinary lease, to be varied by `dataclasses.replace`."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

from relay.model import Event, Headers, Lease

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
        event, attempt=turn + 7, turn=turn, since=since, until=since + timedelta(minutes=1)
    )
