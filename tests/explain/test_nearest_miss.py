"""One thing was otherwise: it is found and named, and nothing else is."""

import json
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address

import pytest

from relay.core.request import ClientAddress, Delivery, Headers, RequestHead, Via
from relay.core.secret import Secret
from relay.explain.nearest_miss import Case, near_misses
from relay.providers import EndpointOptions, Provider, SampleOrder
from relay.providers.builtin import provider_named
from tests.harness.deliveries import RECEIVED

MIDTRANS: Provider = provider_named("midtrans")
VIPPS: Provider = provider_named("vipps")
KEY = Secret("the-key-of-the-tests")
CLIENT = ip_address("192.0.2.1")


def case(
    provider: Provider,
    *extra: tuple[str, str],
    url: str = "https://pay.example/hook",
    secret: Secret = KEY,
) -> Case:
    """Return a genuine message for this URL, as it is received at /hook of an inner host."""
    sample = provider.sample(SampleOrder(url, KEY, RECEIVED, {}))
    fields = (("Host", "inner:8080"), *sample.headers, *extra)
    head = RequestHead("POST", "/hook", Headers(fields), CLIENT, RECEIVED)
    delivery = Delivery("e", head, ClientAddress(CLIENT, Via.PEER), "", sample.body)
    return Case(provider, EndpointOptions(secrets=(secret,)), delivery, {})


def with_body(given: Case, body: bytes) -> Case:
    return replace(given, delivery=replace(given.delivery, body=body))


def test_the_key_of_another_endpoint_is_named() -> None:
    given = case(MIDTRANS, secret=Secret("other"))
    known = {"the endpoint a (sandbox)": (Secret("no"),), "the endpoint b (production)": (KEY,)}
    assert near_misses(replace(given, other_secrets=known)) == [
        "it is signed for the endpoint b (production): that secret fits, this endpoint's do not"
    ]


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        (Secret(" the-key-of-the-tests\n"), "without the blanks"),
        (Secret('"the-key-of-the-tests"'), "without the quotes"),
        (Secret("\ufeffthe-key-of-the-tests"), "without what came along with it"),
        (Secret("SERVER_KEY='the-key-of-the-tests' \n#"), "without what came along with it"),
    ],
)
def test_a_secret_that_is_written_wrongly_is_named(secret: Secret, said: str) -> None:
    (found,) = near_misses(case(MIDTRANS, secret=secret))
    assert said in found


def test_a_public_url_that_is_missing_is_found() -> None:
    given = case(VIPPS, ("X-Forwarded-Host", "pay.example"))
    assert near_misses(given) == ["it fits with public_url: https://pay.example/hook"]
    assert near_misses(case(VIPPS)) == []
    elsewhere = replace(case(VIPPS), other_urls=["https://pay.example/other"])
    assert near_misses(elsewhere) == ["it fits with public_url: https://pay.example/hook"]


def test_a_public_url_that_is_wrong_is_found() -> None:
    given = case(VIPPS, url="https://inner:8080/hook")
    wrong = replace(
        given, options=EndpointOptions(secrets=(KEY,), public_url="https://pay.example/hook")
    )
    assert near_misses(wrong)[0] == "it fits without public_url"


def test_time_alone_is_named() -> None:
    given = case(VIPPS, url="https://inner:8080/hook")
    late = replace(given.delivery.head, received_at=RECEIVED + timedelta(days=30))
    given = replace(given, delivery=replace(given.delivery, head=late))
    assert near_misses(given)[0] == "all is right but its time: see `timestamp`, and the clocks"


def test_time_that_is_wrong_besides_is_said() -> None:
    given = case(VIPPS, ("X-Forwarded-Host", "pay.example"))
    late = replace(given.delivery.head, received_at=RECEIVED + timedelta(days=30))
    given = replace(given, delivery=replace(given.delivery, head=late))
    (found,) = near_misses(given)
    assert found.endswith("https://pay.example/hook; its time would be refused all the same")


def test_a_rule_of_ours_is_named() -> None:
    given = case(MIDTRANS)
    narrow = replace(given, options=EndpointOptions(secrets=(KEY,), order_id_pattern="[0-9]+"))
    assert near_misses(narrow) == ["all is right but `order_id_pattern`"]


def test_a_body_that_was_written_anew_is_found() -> None:
    given = case(VIPPS, url="https://inner:8080/hook")
    message = json.loads(given.delivery.body)
    for body, said in (
        (given.delivery.body + b"\n", "without the line ends"),
        (json.dumps(message).encode(), "without white space"),
        (b"\xef\xbb\xbf" + given.delivery.body, "without its byte order mark"),
    ):
        assert said in near_misses(with_body(given, body))[0]


def test_amounts_that_became_numbers_are_found() -> None:
    given = case(MIDTRANS)
    message = json.loads(given.delivery.body)
    as_number = given.delivery.body.replace(b'"10000.00"', b"10000.00")
    assert "its numbers as strings" in near_misses(with_body(given, as_number))[0]
    whole = json.dumps(message | {"gross_amount": "10000"}).encode()
    assert "its amounts with .00" in near_misses(with_body(given, whole))[0]


def test_a_field_that_came_twice_is_found() -> None:
    given = case(VIPPS, ("x-ms-date", "now"), url="https://inner:8080/hook")
    assert near_misses(given) == ["it fits with number 1 of its 2 fields x-ms-date alone"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[" * 100_000, b'"\xff"', b"null", b'{"a": "\\ud800"}']
)
def test_a_forgery_is_near_to_nothing(body: bytes) -> None:
    for provider in (MIDTRANS, VIPPS):
        assert near_misses(with_body(case(provider), body)) == []
