"""A verified delivery holds what its endpoint says, and the header fields that may go on."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from relay.core.errors import Reason, Refusal
from relay.core.request import ClientAddress, Delivery, Headers, RequestHead, Via
from relay.core.secret import Secret
from relay.ingest.verification import verify_delivery
from relay.providers import SampleOrder
from tests.harness.deliveries import RECEIVED
from tests.ingest.endpoints import LISTED, MIDTRANS, SECRET, endpoint


def delivery(*fields: tuple[str, str]) -> Delivery:
    sample = MIDTRANS.sample(SampleOrder("https://relay.test/hook", SECRET, RECEIVED, {}))
    head = RequestHead("POST", "/hook", Headers(fields), ip_address(LISTED), RECEIVED)
    return Delivery("midtrans", head, ClientAddress(head.peer, Via.PEER), "", sample.body)


def test_it_holds_what_its_endpoint_says() -> None:
    fields = (("Cookie", "c"), ("ACCEPT", "*/*"), ("X-Own", "o"))
    event = verify_delivery(endpoint(headers=("x-own",)), delivery(*fields), "evt_1")
    assert (event.event_id, event.provider, event.environment) == ("evt_1", "midtrans", "sandbox")
    assert (event.upstream, event.reconciled, event.confirm) == ("billing", False, False)
    assert [name for name, _ in event.headers] == ["ACCEPT", "X-Own"]


@pytest.mark.parametrize("reconciled", [False, True])
def test_what_the_api_has_said_is_not_asked_about_again(reconciled: bool) -> None:
    event = verify_delivery(endpoint(confirm=True), delivery(), "evt_1", reconciled=reconciled)
    assert (event.reconciled, event.confirm) == (reconciled, not reconciled)


def test_what_is_signed_otherwise_is_refused() -> None:
    with pytest.raises(Refusal) as caught:
        verify_delivery(endpoint(Secret("other")), delivery(), "evt_1")
    assert caught.value.reason is Reason.SIGNATURE_MISMATCH
    with pytest.raises(Refusal):
        verify_delivery(endpoint(), replace(delivery(), body=b"{"), "evt_1")
