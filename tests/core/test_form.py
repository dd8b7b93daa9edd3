"""Forms, in a body or a query."""

import pytest

from relay.core.errors import Reason, Refusal
from relay.core.form import MAX_FIELDS, Form, joined, parse


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", ()),
        (b"a=b", (("a", "b"),)),
        (b"&a=b&&", (("a", "b"),)),
        (rb"a\x41=\%5Cn%00", (("a\\x41", "\\\\n\0"),)),
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
    [
        b"a=%",
        b"a=1;b=2",
        b"a=%G0",
        b"a=%C3",
        "a=é".encode(),
        b"a=b&" * MAX_FIELDS,
    ],
)
def test_what_is_no_form(text: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        parse(text)
    assert caught.value.reason is Reason.BODY_MALFORMED


@pytest.mark.parametrize(
    ("name", "others", "same"),
    [
        ("a", ("A", "a[]", "a[0]", " a", "a\0b"), ("b", "aa", "a", "")),
        ("a_b", ("a.b", "a b", "A_B", "a_b[x", "a[b", " A[b", "a[b\0]"), ("ab", "a_b")),
        ("a[b]", ("a", "A", "A[b]", "a[B]"), ("a[c]", "a[b]", "b[b]")),
    ],
)
def test_names_that_others_take_for_one(
    name: str, others: tuple[str, ...], same: tuple[str, ...]
) -> None:
    for other in others:
        assert Form((("x", ""), (other, "1"))).other_spelling(name) == other
    assert Form(tuple((each, "1") for each in same)).other_spelling(name) is None


def test_names_and_values_joined() -> None:
    assert joined(()) == ""
    fields = (("b", "2"), ("a", "x"), ("b", "1"), ("b", "2"), ("A.c[0]", "é &"))
    assert joined(fields) == "A.c[0]é &axb1b2"


@pytest.mark.parametrize("name", ["", "a b", "a=b", "é", "a" * 129, "a+"])
def test_a_name_that_is_joined_is_plain(name: str) -> None:
    with pytest.raises(Refusal) as caught:
        joined(((name, "1"),))
    assert caught.value.reason is Reason.FIELD_INVALID
