"""Signed samples of described senders."""

import json

import pytest

from relay.core.request import Verification
from relay.core.secret import Secret
from relay.providers import EndpointOptions, Sample, SampleOrder
from relay.providers.inline import HeaderField, JsonField, TimeRule
from relay.providers.inline.provider import InlineProvider
from tests.contracts.provider import delivery_of, outcome
from tests.providers.inline.describe import AT, described

URL = "https://pay.example.com/in?a=1"


def ordered(provider: InlineProvider, **changes: str) -> Sample:
    return provider.sample(SampleOrder(URL, Secret("key"), AT, changes))


def test_a_sample_holds_every_field_that_is_read() -> None:
    provider = InlineProvider(
        described(
            source=JsonField("/meta/signature"),
            signed="{json:/items/0/ref}:{json:/items/0/amount/value}",
            event_key=(HeaderField("X-Id"),),
            encoding="base64",
        )
    )
    sample = ordered(provider)
    body = json.loads(sample.body)
    assert set(body["items"][0]) == {"ref", "amount"}
    assert body["meta"]["signature"]
    assert sample.headers.values("X-Id")
    inspector = provider.bind(EndpointOptions(secrets=(Secret("key"),)))
    assert isinstance(outcome(inspector, delivery_of(sample, URL, AT)), Verification)


def test_changes_are_signed() -> None:
    provider = InlineProvider(described(event_key=(JsonField("/id"),)))
    sample = ordered(provider, id="mine", **{"data/state": "paid"})
    assert json.loads(sample.body)["data"] == {"state": "paid"}
    inspector = provider.bind(EndpointOptions(secrets=(Secret("key"),)))
    assert inspector.verify(delivery_of(sample, URL, AT)).key == "mine"


def test_what_cannot_be_changed() -> None:
    provider = InlineProvider(described(event_key=(JsonField("/id"),)))
    with pytest.raises(ValueError, match=r"^id/x: "):
        ordered(provider, **{"id/x": "1"})


def test_a_time_is_that_of_the_order() -> None:
    time = TimeRule(JsonField("/at"), "iso8601")
    sample = ordered(InlineProvider(described(time=time)))
    assert json.loads(sample.body)["at"] == "2026-01-05T12:00:00Z"
