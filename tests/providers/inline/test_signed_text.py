"""What is signed."""

import hashlib
from base64 import b64encode

import pytest

from relay.core.errors import Reason, Refusal
from relay.core.urls import signed_url
from relay.providers.inline import FormField, JsonField, Source
from relay.providers.inline.filled import with_secret
from relay.providers.inline.signed_text import Template
from tests.providers.inline.describe import message

BODY = b'{ "a": "x y", "n": 10.0 }'


def filled(text: str) -> bytes:
    found = message({"X-A": "h\xe9"}, BODY, signed_url("https://pay.example.com/in?b=2"))
    return with_secret(Template(text).fill(found, "123"), b"<secret>")


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
        "{sha3_hex:body}",
        "{form:}",
        "{query:}",
        "{body_without:a}",
        "{md5_hex:bdy}",
        "{md5_hex:{json:/a}",
        "{json:{json:/a}}",
        "{md5_hex:" * 6 + "body" + "}" * 6,
        "{body",
        "body}",
        "{{body}}",
    ],
)
def test_anything_else_in_braces_is_a_mistake(text: str) -> None:
    with pytest.raises(ValueError, match=r"placeholder|brace|JSON pointer|no deeper"):
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
    assert Template("{minified_body}").reads_json
    assert not Template("{body}").reads_json


def test_a_header_that_is_not_there_refuses() -> None:
    with pytest.raises(Refusal, match="X-B"):
        filled("{header:X-B}")


FORM = b"b=2+x&sign=s&a=%C3%A9&b=1"


def filled_form(text: str, own: Source | None = None, body: bytes = FORM) -> bytes:
    found = message({}, body, target="/hook?q=a%20b&r=")
    return with_secret(Template(text, own).fill(found, ""), b"")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{form:a}", "é"),
        ("{form:absent}", ""),
        ("{form:sign}:{query:q}", "s:a b"),
        ("{query:r}{query:absent}", ""),
        ("{form_sorted}", "aéb1b2 xsigns"),
    ],
)
def test_what_forms_and_queries_say(text: str, said: str) -> None:
    assert filled_form(text) == said.encode()


def test_the_signature_is_left_out_of_what_is_sorted() -> None:
    assert filled_form("{form_sorted}", FormField("sign")) == "aéb1b2 x".encode()
    body = b'{"b":1.0,"sign":"s","a":"\\u00e9"}'
    assert filled_form("{json_sorted}", JsonField("/sign"), body) == b'{"a":"\\u00e9","b":1.0}'
    assert filled_form("{json_sorted}", None, body) == b'{"a":"\\u00e9","b":1.0,"sign":"s"}'
    assert filled_form("{body_without:/sign}", None, body) == b'{"b":1.0,"a":"\\u00e9"}'


@pytest.mark.parametrize("text", ["{form:b}", "{query:q}"])
def test_a_name_that_is_there_twice_refuses(text: str) -> None:
    found = message({}, FORM, target="/hook?q=1&q=2")
    with pytest.raises(Refusal) as caught:
        Template(text).fill(found, "")
    assert caught.value.reason is Reason.FIELD_INVALID


def test_hashes_of_one_part() -> None:
    # printf 'x y' | md5sum
    assert filled("{md5_hex:json:/a}") == b"c8d1ae9296335b1cfc3d0d1b47b664a7"
    assert filled("{sha384_hex:body}") == hashlib.sha384(BODY).hexdigest().encode()


def test_a_hash_of_several_parts() -> None:
    inner = hashlib.sha512(b"x y:10.0").digest()
    assert filled("{sha512_base64:{json:/a}:{json:/n}}") == b64encode(inner)
    outer = hashlib.sha1(inner.hex().encode(), usedforsecurity=False).hexdigest()
    assert filled("{sha1_hex:{sha512_hex:{json:/a}:{json:/n}}}") == outer.encode()
    assert filled("{sha256_hex:sha256_hex:body}") == filled("{sha256_hex:{sha256_hex:body}}")


def test_the_date_as_it_came() -> None:
    found = message({"Date": "Mon, 5 Jan"})
    assert Template("{date}").fill(found, "") == (b"Mon, 5 Jan",)
    assert Template("{date}").headers == ("Date",)


def test_what_forms_and_hashes_cover() -> None:
    for text in ("{form_sorted}", "{json_sorted}", "{md5_hex:{body_without:/s}x}"):
        assert Template(text).covers_body
    fields = Template("{form:a}{md5_hex:{json:/b}{form:c}{query:d}{header:E}}")
    assert (fields.form_fields, fields.fields) == (("a", "c"), ("b",))
    assert (fields.parameters, fields.headers) == (("d",), ("E",))
    assert fields.covered == (JsonField("/b"), FormField("a"), FormField("c"))
    assert fields.signs_query
    assert (fields.reads_json, fields.reads_form) == (True, True)
