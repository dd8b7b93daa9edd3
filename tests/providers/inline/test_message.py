"""A message as descriptions look at it."""

import pytest

from relay.core.errors import Reason, Refusal
from relay.core.json_pointer import Pointer
from relay.core.request import Delivery, Headers
from relay.core.urls import signed_url
from relay.providers.inline import HeaderField, JsonField
from relay.providers.inline.message import Message
from tests.providers.inline.describe import delivery, message

# A delivery as a description looks at it.


def test_the_configured_url_stands_in_for_what_arrived() -> None:
    here = message()
    assert (here.path, here.path_query, here.url.host) == ("/hook", "/hook?a=1", "pay.example.com")
    there = message(public=signed_url("https://shop.example.com:8443/in?b=2"))
    assert (there.path, there.path_query) == ("/in", "/in?b=2")
    assert there.url.host == "shop.example.com:8443"


def test_without_one_host_there_is_no_url() -> None:
    whole = delivery()
    fields = tuple(whole.head.headers)
    for headers in (Headers(), Headers((*fields, *fields))):
        found = Message(_with(whole, headers), None)
        with pytest.raises(Refusal) as caught:
            _ = found.url
        assert caught.value.reason is Reason.SIGNATURE_MISMATCH


def _with(whole: Delivery, headers: Headers) -> Delivery:
    head = type(whole.head)("POST", "/", headers, whole.head.peer, whole.head.received_at)
    return Delivery("", head, whole.client, "", b"")


@pytest.mark.parametrize("body", [b'{"a": ""}', b'{"a": null}', b"{}"])
def test_a_required_field_says_something(body: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        message(body=body).required(JsonField("/a"))
    assert caught.value.reason is Reason.SIGNATURE_MISSING


def test_a_required_header_is_there_once() -> None:
    assert message({"X-A": "1"}).required(HeaderField("x-a")) == "1"
    for headers in ({}, {"X-A": ""}, {"X-A": "1", "x-a": "2"}):
        with pytest.raises(Refusal) as caught:
            message(headers).required(HeaderField("X-A"))
        assert caught.value.reason is Reason.SIGNATURE_MISSING


def test_an_optional_one_may_be_anything() -> None:
    assert message({"X-A": "1"}).optional(HeaderField("X-A")) == "1"
    assert message({"X-A": "1", "x-a": "2"}).optional(HeaderField("X-A")) is None
    assert message({"X-A": ""}).optional(HeaderField("X-A")) is None
    assert message(body=b'{"a": 5}').optional(JsonField("/a")) == "5"
    assert message(body=b'{"a": {}}').optional(JsonField("/a")) is None
    assert message(body=b"{}").optional(JsonField("/a")) is None


def test_fields_of_a_body_are_text_or_nothing() -> None:
    assert message(body=b'{"a": 1.50}').field(Pointer("/a")) == "1.50"
    assert message(body=b"{}").field(Pointer("/a")) == ""
    for body, reason in (
        (b'{"a": []}', Reason.FIELD_INVALID),
        (b"[]", Reason.BODY_MALFORMED),
        (b'{"a": 1, "a": 2}', Reason.BODY_MALFORMED),
        (b'{"a": 1, "A": 2}', Reason.FIELD_INVALID),
        (b'{"A": 2}', Reason.FIELD_INVALID),
    ):
        with pytest.raises(Refusal) as caught:
            message(body=body).field(Pointer("/a"))
        assert caught.value.reason is reason
