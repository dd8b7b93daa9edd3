"""An event keeps what its delivery said, and does not print its body."""

from dataclasses import replace

from relay.core.event import Event, event_of
from relay.core.request import Keep
from tests.harness.deliveries import verified


def test_an_event_does_not_print_its_body() -> None:
    assert Event.__dataclass_fields__["body"].repr is False


def test_an_event_says_what_its_delivery_said() -> None:
    delivery = verified(key="k", subject="tx", path="/snap/v1.0/x?a=1", remainder="/v1.0/x")
    event = event_of(delivery, conflicts_with="evt_1", out_of_order=True)
    assert (event.id, event.key, event.subject) == (delivery.event_id, "k", "tx")
    assert (event.suffix, event.body) == ("/v1.0/x?a=1", delivery.delivery.body)
    assert (event.conflicts_with, event.out_of_order) == ("evt_1", True)
    assert event.signed == delivery.signed
    assert (event.reconciled, event.confirm) == (False, False)
    marked = event_of(replace(delivery, reconciled=True, confirm=True))
    assert (marked.reconciled, marked.confirm) == (True, True)


def test_an_event_has_each_field_of_its_delivery() -> None:
    delivery = verified(key="k", subject="tx", ambiguous=True)
    head = delivery.delivery.head
    event = event_of(delivery)
    # All of them, those too that are left out of a comparison.
    assert {name: getattr(event, name) for name in Event.__dataclass_fields__} == {
        "id": delivery.event_id,
        "endpoint": delivery.delivery.endpoint,
        "provider": delivery.provider,
        "environment": delivery.environment,
        "upstream": delivery.upstreams[0],
        "key": "k",
        "subject": "tx",
        "method": head.method,
        "suffix": "",
        "headers": delivery.headers,
        "client": delivery.delivery.client.address,
        "received_at": head.received_at,
        "signed": delivery.signed,
        "conflicts_with": None,
        "out_of_order": False,
        "body": delivery.delivery.body,
        "reconciled": False,
        "confirm": False,
        "client_text": str(delivery.delivery.client.address),
        "contradicts": False,
        "repeats": None,
        "redacted": (),
        "tokens": (),
        "keep": Keep.ALL,
    }
