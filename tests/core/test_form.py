"""Forms, in a body or a query."""

import pytest

from relay.core.errors import Reason, Refusal
from relay.core.form import MAX_FIELDS, parse


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", ()),
        (b"a=b", (("a", "b"),)),
        (b"a=b&a=c&d", (("a", "b"), ("a", "c"), ("d", ""))),
        (b"a+b=%2B+1%26&%C3%A9=x%3D=y", (("a b", "+ 1&"), ("é", "x==y"))),
    ],
)
def test_what_a_form_says(text: bytes, found: tuple[tuple[str, str], ...]) -> None:
    assert parse(text).fields == found


def test_every_value_of_a_field_in_order() -> None:
    form = parse(b"a=1&b=2&a=3")
    assert (form.values("a"), form.values("c")) == (["1", "3"], [])


@pytest.mark.parametrize(
    "text",
    [b"a=%", b"a=%G0", b"a=%C3", "a=é".encode(), b"&".join([b"a=b"] * (MAX_FIELDS + 1))],
)
def test_what_is_no_form(text: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        parse(text)
    assert caught.value.reason is Reason.BODY_MALFORMED
