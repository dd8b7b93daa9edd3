"""What is stored is judged by another configuration; what does not tell says why."""

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from relay.app import builder
from relay.config import Settings, provider_of
from relay.config.inline_provider import InlineProvider, Signature
from relay.config.loader import load
from relay.config.routes import Route
from relay.core.clock import SystemClock
from relay.core.errors import Reason
from relay.core.event import Event, event_of
from relay.core.request import ClientAddress, Delivery, Headers, RequestHead, VerifiedDelivery, Via
from relay.core.secret import Secret
from relay.explain.judge import Judge, NotTaken, Taken, Unjudged
from relay.ingest.admission import suffix_of, verify_delivery
from relay.ingest.endpoint_paths import EndpointPaths
from relay.providers import SampleOrder
from relay.spool.refusals import Refused
from tests.explain.test_walk import CONFIGURATION, KEYS, PEER, PUBLIC
from tests.harness.deliveries import RECEIVED
from tests.signatures.test_public_key import pem, rsa_key

CLIENT = ClientAddress(ip_address(PEER), Via.X_FORWARDED_FOR)
NAMES = [*KEYS]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "relay.yaml"
    path.write_text(CONFIGURATION)
    return load(path, {"PUBLIC": PUBLIC})


def changed(settings: Settings, name: str, **changes: Any) -> Settings:
    """Return the same configuration with one endpoint that is otherwise."""
    endpoints = [
        each.model_copy(update=changes) if each.name == name else each
        for each in settings.endpoints
    ]
    return settings.model_copy(update={"endpoints": tuple(endpoints)})


def received(settings: Settings, name: str, query: str = "") -> tuple[RequestHead, bytes]:
    endpoint = next(each for each in settings.endpoints if each.name == name)
    url = f"https://pay.example{endpoint.path}{query}"
    sample = provider_of(endpoint).sample(SampleOrder(url, KEYS[name], RECEIVED, {}))
    target = endpoint.path + sample.suffix + query
    headers = Headers((("Host", "pay.example"), *sample.headers))
    head = RequestHead(sample.method, target, headers, ip_address("10.0.0.1"), RECEIVED)
    return head, sample.body


def verified(settings: Settings, name: str, event_id: str, query: str = "") -> VerifiedDelivery:
    """Return what relay makes of a genuine delivery under this configuration."""
    head, body = received(settings, name, query)
    registry = builder.known_registry(settings, SystemClock())
    limits = settings.limits.json_limits
    paths = EndpointPaths(
        builder.bind_endpoint(each, registry, limits) for each in settings.endpoints
    )
    match = paths.find(head)
    endpoint, below = match.endpoint, match.remainder
    suffix = suffix_of(endpoint, head, below)
    delivery = Delivery(name, head, CLIENT, below, body, limits, suffix)
    return verify_delivery(endpoint, delivery, event_id)


def stored(settings: Settings, name: str, query: str = "") -> Event:
    return event_of(verified(settings, name, "evt_1", query))


def refused(settings: Settings, name: str) -> Refused:
    head, body = received(settings, name)
    detail = "fits no secret"
    return Refused("ref_1", name, "p", Reason.SIGNATURE_MISMATCH, detail, head, CLIENT, body)


def judge(settings: Settings, *hosts: str) -> Judge:
    return Judge(settings, SystemClock(), hosts)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_configuration_takes_it_or_cannot_tell(name: str, settings: Settings) -> None:
    found = judge(settings, "pay.example").event(stored(settings, name))
    if name in {"callback", "tokens"}:
        assert found == Unjudged("its token is not kept")
    else:
        assert found == Taken(name, ("billing",), False, None)


@pytest.mark.parametrize("name", ["midtrans", "snap", "vipps", "shop"])
def test_another_key_refuses_it(name: str, settings: Settings) -> None:
    other = Secret(pem(rsa_key(3072))) if name == "snap" else Secret("another")
    public = {"public_url": "https://pay.example/vipps"} if name == "vipps" else {}
    after = changed(settings, name, secrets=(other,), **public)
    found = judge(after).event(stored(settings, name))
    assert isinstance(found, NotTaken), found
    assert found.reason is Reason.SIGNATURE_MISMATCH


def test_a_signed_host_that_is_not_kept_is_not_guessed(settings: Settings) -> None:
    event = stored(settings, "vipps")
    why = Unjudged("its Host is signed, and not kept: write public_url")
    assert judge(settings).event(event) == why
    assert judge(settings, "inner:8080").event(event) == why
    # A host under which the signature fits is the one that came.
    assert isinstance(judge(settings, "inner:8080", "pay.example").event(event), Taken)


def test_an_address_that_is_on_no_list_any_more_is_refused(settings: Settings) -> None:
    listed = settings.endpoints[0].allowlist.model_copy(update={"add": ()})
    after = changed(settings, "midtrans", allowlist=listed)
    found = judge(after).event(stored(settings, "midtrans"))
    assert found == NotTaken(Reason.SOURCE_NOT_ALLOWED, f"{PEER} is in no entry")


def test_hosts_without_addresses_yet_leave_it_open(settings: Settings) -> None:
    enforced = settings.endpoints[2].allowlist.model_copy(update={"add": ()})
    after = changed(settings, "vipps", allowlist=enforced)
    found = judge(after, "pay.example").event(stored(settings, "vipps"))
    assert isinstance(found, Unjudged)
    assert "no addresses yet for callback-mt-1.vipps.no" in found.why


def test_header_fields_that_were_not_kept_leave_it_open(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "after.yaml"
    path.write_text(CONFIGURATION.replace("X-Sig", "X-Other"))
    after = load(path, {"PUBLIC": PUBLIC})
    found = judge(after).event(stored(settings, "shop"))
    assert found == Unjudged("header fields that are not kept: x-other")


def routed(settings: Settings, *routes: tuple[object, tuple[str, ...]]) -> Settings:
    """Return the same configuration with these routes at the endpoint shop."""
    made = [Route.model_validate({"when": when, "upstreams": to}) for when, to in routes]
    return changed(settings, "shop", routes=tuple(made))


@pytest.mark.parametrize(
    ("to", "by"), [(("ledger", "billing"), "routes.1 holds"), ((), "routes.1 holds")]
)
def test_routes_decide_where_it_would_go(to: tuple[str, ...], by: str, settings: Settings) -> None:
    event = stored(settings, "shop")
    value = next(value for name, value in event.headers if name == "X-Id")
    first: tuple[object, tuple[str, ...]] = ({"json": "/nowhere", "is": "a"}, ("billing",))
    after = routed(settings, first, ({"header": "X-Id", "is": value}, to))
    assert judge(after).event(event) == Taken("shop", to, False, None, by)
    assert judge(routed(settings, first)).event(event) == Taken(
        "shop", ("billing",), False, None, "no route holds"
    )


def test_a_route_by_a_field_that_was_not_kept_leaves_it_open(settings: Settings) -> None:
    event = stored(settings, "shop")
    by_other: tuple[object, tuple[str, ...]] = ({"header": "X-Other", "is": "a"}, ("ledger",))
    found = judge(routed(settings, by_other)).event(event)
    assert found == Unjudged("its route hangs on header fields that are not kept: X-Other")
    # What a route before it decides hangs on nothing.
    value = next(value for name, value in event.headers if name == "X-Id")
    own: tuple[object, tuple[str, ...]] = ({"header": "X-Id", "is": value}, ("ledger",))
    assert isinstance(judge(routed(settings, own, by_other)).event(event), Taken)
    # It was there, and has been kept.
    there = replace(event, headers=Headers((*event.headers, ("X-Other", "a"))))
    found = judge(routed(settings, by_other)).event(there)
    assert found == Taken("shop", ("ledger",), False, None, "routes.0 holds")


def test_a_merchant_that_is_foreign_now_is_refused(settings: Settings) -> None:
    after = changed(settings, "snap", partner_id="somebody-else")
    found = judge(after).event(stored(settings, "snap"))
    assert isinstance(found, NotTaken)
    assert found.reason in {Reason.FIELD_FOREIGN, Reason.SIGNATURE_MISMATCH, Reason.FIELD_INVALID}


def test_signed_times_are_those_of_receipt(settings: Settings) -> None:
    event = stored(settings, "snap")
    assert isinstance(judge(settings).event(event), Taken)
    late = replace(event, received_at=event.received_at + timedelta(days=9))
    found = judge(settings).event(late)
    assert isinstance(found, NotTaken)
    assert found.reason is Reason.TIMESTAMP_OUTSIDE_WINDOW


def test_where_it_goes_is_told(settings: Settings) -> None:
    moved = judge(changed(settings, "midtrans", upstream="ledger"))
    assert moved.event(stored(settings, "midtrans")) == Taken("midtrans", ("ledger",), False, None)
    passed = judge(changed(settings, "midtrans", mode="proxy"))
    assert passed.event(stored(settings, "midtrans")) == Taken("midtrans", ("billing",), True, None)


def test_what_cannot_be_judged_says_why(settings: Settings) -> None:
    event = stored(settings, "midtrans")
    judging = judge(settings, "pay.example")
    for changed_event, why in (
        (replace(event, endpoint="gone"), 'there is no endpoint "gone" any more'),
        (replace(event, reconciled=True), "it was asked for (reconcile), and not sent"),
        (replace(event, redacted=("/a",)), "a token in its body has been masked"),
    ):
        assert judging.event(changed_event) == Unjudged(why)
    dropped = stored(settings, "vipps", "?a=b")
    assert dropped.suffix == "?"
    assert judging.event(dropped) == Unjudged("its query is signed, and not kept")


def test_a_body_that_is_too_long_now_is_refused(settings: Settings) -> None:
    limits = settings.limits.model_copy(update={"body": 100})
    after = settings.model_copy(update={"limits": limits})
    found = judge(after).event(stored(settings, "midtrans"))
    assert isinstance(found, NotTaken)
    assert found.reason is Reason.BODY_TOO_LARGE


@pytest.mark.parametrize("name", ["midtrans", "snap", "vipps", "shop"])
def test_a_refusal_is_judged_as_it_came(name: str, settings: Settings) -> None:
    kept = refused(settings, name)
    assert judge(settings).refusal(kept) == Taken(name, ("billing",), False, None)
    if name != "snap":
        still = judge(changed(settings, name, secrets=(Secret("another"),))).refusal(kept)
        assert isinstance(still, NotTaken)
    gone = replace(kept, head=replace(kept.head, target="/elsewhere"))
    assert judge(settings).refusal(gone) == NotTaken(Reason.UNKNOWN_ENDPOINT, "")


def test_what_a_masked_token_proved_is_judged_by_all_but_that(settings: Settings) -> None:
    [block] = [each.provider for each in settings.endpoints if each.name == "tokens"]
    assert isinstance(block, InlineProvider)
    signature = Signature.model_validate({"scheme": "token", "from": {"json": "/t"}})
    masked = block.model_copy(update={"signature": signature})
    masking = changed(settings, "tokens", provider=masked)
    kept = refused(settings, "tokens")
    fitted = replace(kept, body=b'{"id": "1", "t": "***"}', signature_fits=True, secret=0)
    assert judge(masking).refusal(fitted) == Taken("tokens", ("billing",), False, None)
    spoilt = judge(masking).refusal(replace(fitted, body=b"no JSON"))
    assert isinstance(spoilt, NotTaken)
    assert spoilt.reason is Reason.BODY_MALFORMED
    event = stored(masking, "tokens")
    assert event.redacted == ("/t",)
    assert judge(masking).event(event) == Unjudged("its token is not kept")
    stranger = judge(masking).event(replace(event, body=b"no JSON"))
    assert isinstance(stranger, NotTaken)


def test_a_refusal_whose_token_fitted_is_judged_by_that(settings: Settings) -> None:
    kept = refused(settings, "tokens")
    fields = tuple(item for item in kept.head.headers if item[0] != "X-Secret-Token")
    tokenless = replace(kept, head=replace(kept.head, headers=Headers(fields)))
    assert judge(settings).refusal(tokenless) == Unjudged("its token is not kept")
    fitted = replace(tokenless, signature_fits=True, secret=0)
    assert judge(settings).refusal(fitted) == Taken("tokens", ("billing",), False, None)
