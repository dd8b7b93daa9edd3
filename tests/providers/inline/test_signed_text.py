"""What is signed."""

import pytest

from relay.core.errors import Reason, Refusal
from relay.core.json_pointer import Pointer
from relay.core.request import Delivery, Headers
from relay.core.urls import signed_url
from relay.providers.inline import HeaderField, JsonField
from relay.providers.inline.signed_text import Message, Template
from tests.providers.inline.describe import delivery, message

BODY = b'{ "a": "x y", "n": 10.0 }'


def filled(text: str) -> bytes:
    found = message({"X-A": "h\xe9"}, BODY, signed_url("https://pay.example.com/in?b=2"))
    return b"".join(b"<secret>" if p is None else p for p in Template(text).fill(found, "123"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{body}", BODY),
        ("{minified_body}", b'{"a":"x y","n":10.0}'),
        ("{method}", b"POST"),
        ("{path}", b"/in"),
        ("{path_query}", b"/in?b=2"),
        ("{host}", b"pay.example.com"),
        ("{public_url}", b"https://pay.example.com/in?b=2"),
        ("{timestamp}", b"123"),
        ("{header:x-a}", b"h\xe9"),
        ("{json:/a}", b"x y"),
        ("{json:/n}", b"10.0"),
        ("{json:/absent}", b""),
        ("{secret}", b"<secret>"),
        ("v0:{timestamp}:\n", b"v0:123:\n"),
        # sha256sum and base64 of the shell
        (
            "{sha256_hex:body}",
            b"230788b6aa730abc39be541b3fdc47cdd2ea27fbcf0802e51a99f1fe2b81a9fa",
        ),
        (
            "{sha256_hex:minified_body}",
            b"271184b268ca2072a42939063b934f8eb08daa128fbb74da813c7b35f91c7246",
        ),
        ("{sha256_base64:body}", b"IweItqpzCrw5vlQbP9xHzdLqJ/vPCALlGpnx/iuBqfo="),
    ],
)
def test_what_a_placeholder_stands_for(text: str, said: bytes) -> None:
    assert filled(text) == said


@pytest.mark.parametrize(
    "text",
    [
        "{bdy}",
        "{}",
        "{Body}",
        "{header:}",
        "{header:a b}",
        "{json:}",
        "{json:a}",
        "{sha512_hex:body}",
        "{body",
        "body}",
        "{{body}}",
    ],
)
def test_anything_else_in_braces_is_a_mistake(text: str) -> None:
    with pytest.raises(ValueError, match=r"placeholder|brace|JSON pointer"):
        Template(text)


def test_a_mistake_lists_what_there_is() -> None:
    with pytest.raises(ValueError, match="placeholder") as caught:
        Template("{bdy}")
    for name in (
        *("body", "minified_body", "method", "path", "path_query", "host", "public_url"),
        *("timestamp", "header:NAME", "json:/path", "sha256_hex:body", "sha256_base64:body"),
        *("sha256_hex:minified_body", "secret"),
    ):
        assert f"{{{name}}}" in str(caught.value)


def test_what_it_covers() -> None:
    for text in ("{body}", "a{sha256_base64:body}", "{sha256_hex:minified_body}"):
        assert Template(text).covers_body
    fields = Template("{json:/a/b}{header:X-A}{json:/c}{json:/c}")
    assert not fields.covers_body
    assert (fields.fields, fields.headers) == (("a/b", "c"), ("X-A",))
    assert Template("{minified_body}").minifies
    assert not Template("{body}").minifies


def test_a_header_that_is_not_there_refuses() -> None:
    with pytest.raises(Refusal, match="X-B"):
        filled("{header:X-B}")


# ---- message --------------------------------------------------------------------------------
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
