"""What is signed."""

import pytest

from relay.core.errors import Refusal
from relay.core.urls import signed_url
from relay.providers.inline.signed_text import Template
from tests.providers.inline.describe import message

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
