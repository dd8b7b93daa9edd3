"""Signed samples of described senders."""

import json
from dataclasses import replace
from typing import Any

import pytest

from relay.core.errors import Reason
from relay.core.request import Verification
from relay.core.secret import Secret
from relay.providers import EndpointOptions, Sample, SampleOrder
from relay.providers.inline import (
    FormField,
    HeaderField,
    JsonField,
    QueryField,
    SampleMessage,
    TimeRule,
)
from relay.providers.inline.provider import InlineProvider
from relay.providers.inline.sample import sample
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
    made = ordered(provider)
    body = json.loads(made.body)
    assert set(body["items"][0]) == {"ref", "amount"}
    assert body["meta"]["signature"]
    assert made.headers.values("X-Id")
    inspector = provider.bind(EndpointOptions(secrets=(Secret("key"),)))
    assert isinstance(outcome(inspector, delivery_of(made, URL, AT)), Verification)


def test_changes_are_signed() -> None:
    provider = InlineProvider(described(event_key=(JsonField("/id"),)))
    made = ordered(provider, id="mine", **{"data/state": "paid"})
    assert json.loads(made.body)["data"] == {"state": "paid"}
    inspector = provider.bind(EndpointOptions(secrets=(Secret("key"),)))
    assert inspector.verify(delivery_of(made, URL, AT)).key == "mine"


def test_what_cannot_be_changed() -> None:
    provider = InlineProvider(described(event_key=(JsonField("/id"),)))
    with pytest.raises(ValueError, match=r"^id/x: "):
        ordered(provider, **{"id/x": "1"})


def test_a_time_is_that_of_the_order() -> None:
    time = TimeRule(JsonField("/at"), "iso8601")
    made = ordered(InlineProvider(described(time=time)))
    assert json.loads(made.body)["at"] == "2026-01-05T12:00:00Z"


def test_it_is_made_from_the_message_that_is_described() -> None:
    message = SampleMessage({"X-Event": "paid"}, {"k": "v"}, form={"id": "{id}", "sign": ""})
    description = replace(
        described(source=FormField("sign"), signed="x", event_key=(HeaderField("X-Id"),)),
        sample=message,
    )
    order = SampleOrder(URL, Secret("key"), AT)
    first, second = (sample(description, order) for _ in range(2))
    assert first.body != second.body
    assert first.suffix == "?k=v"
    assert first.headers.values("X-Event") == ("paid",)
    assert first.headers.values("X-Id")
    assert b"&sign=" in first.body


@pytest.mark.parametrize(
    "rule",
    [
        {
            "signed": "{form:amount}{secret}{form:order}",
            "source": FormField("sign"),
            "scheme": "digest",
        },
        {"signed": "{public_url}{form_sorted}", "encoding": "base64", "algorithm": "sha1"},
        {"signed": "{form_sorted}", "source": FormField("sign")},
        {"signed": "{query:at}.{query:id}.{body}", "source": QueryField("sign")},
        {"signed": "{json_sorted}", "source": JsonField("/meta/sign")},
        {"signed": "{body_without:/meta/sign}", "source": JsonField("/meta/sign")},
        {"signed": "{date}{md5_hex:{json:/0/id}{json:/0/state}}"},
    ],
)
def test_samples_of_every_kind_of_body(rule: dict[str, Any]) -> None:
    provider = InlineProvider(described(**rule))
    url = "https://pay.example.com/in"
    inspector = provider.bind(EndpointOptions((Secret("key"),), public_url=url))
    sample = provider.sample(SampleOrder(url, Secret("key"), AT))
    assert isinstance(outcome(inspector, delivery_of(sample, url, AT)), Verification)
    other = provider.bind(EndpointOptions((Secret("other"),), public_url=url))
    assert outcome(other, delivery_of(sample, url, AT)) is Reason.SIGNATURE_MISMATCH


def test_a_form_is_changed_by_its_names() -> None:
    provider = InlineProvider(described(signed="{form_sorted}"))
    sample = ordered(provider, amount="1 & 2")
    assert sample.headers.values("Content-Type") == ("application/x-www-form-urlencoded",)
    assert b"amount=1+%26+2" in sample.body
