"""Whether what was signed could be split otherwise."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.errors import Reason, Refusal
from relay.providers.inline import ambiguity
from relay.providers.inline.signed_text import Template


def filled(text: str, *values: str) -> list[bytes | None]:
    """Fill the chosen parts of a template with these values, in order."""
    left = list(values)
    found: list[bytes | None] = []
    for part in Template(text).parts:
        if hasattr(part, "text"):
            found.append(part.text)
        elif part.kind == "secret":
            found.append(None)
        else:
            found.append(left.pop(0).encode())
    return found


def ambiguous(text: str, *values: str) -> bool:
    return ambiguity.fields_ambiguous(Template(text).parts, filled(text, *values), url_known=True)


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("{json:/a}", ("x:y",), False),
        ("{json:/a}:{json:/b}", ("x", "y"), False),
        ("{json:/a}:{json:/b}", ("x:", "y"), True),
        ("{json:/a}:{json:/b}", ("x", ":y"), True),
        ("{json:/a}:{json:/b}", ("", ""), False),
        ("{json:/a}{json:/b}", ("x", "y"), True),
        ("{json:/a}{json:/b}", ("x", ""), True),
        ("{json:/a}{json:/b}", ("", ""), False),
        ("{json:/a}{secret}{json:/b}", ("x", "y"), False),
        ("a:{json:/a}:{json:/b}:b", ("x", "y"), False),
        ("{json:/a}::{json:/b}", ("x:", "y"), True),
        ("{json:/a}::{json:/b}", ("x", "y:z"), False),
        ("{json:/a},{header:B};{json:/c}", ("1", "2", "3,"), False),
        ("{json:/a},{header:B};{json:/c}", ("1,", "2", "3"), True),
    ],
)
def test_fields(text: str, values: tuple[str, ...], expected: bool) -> None:
    assert ambiguous(text, *values) is expected


@given(st.lists(st.text(alphabet="a:", max_size=4), min_size=3, max_size=3))
def test_it_agrees_with_trying_every_split(values: list[str]) -> None:
    text = ":".join(values)
    splits = [
        parts
        for parts in product(
            {text[a:b] for a in range(len(text) + 1) for b in range(a, len(text) + 1)}, repeat=3
        )
        if ":".join(parts) == text
    ]
    assert ambiguous("{json:/a}:{json:/b}:{json:/c}", *values) is (len(splits) > 1)


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("{body}", ("x",), False),
        ("{timestamp}{body}", ("1", "x"), False),
        ("{header:A}.{body}", ("a", "x.y"), False),
        ("{header:A}{body}", ("a", "x"), True),
        ("{body}{header:A}", ("x", "a"), True),
        ("{header:A}{timestamp}.{body}", ("a", "1", "x"), True),
        ("{header:A}{sha256_hex:body}", ("a", "0"), False),
        # A value behind the body, and the mark between them.
        ("{body}.{header:A}", ("x.y", "a"), False),
        ("{body}.{header:A}", ("x", "y.a"), True),
        ("{body}.{header:A};{header:B}", ("x", "a", "y.b"), True),
        ("{path}.{body}", ("/a", "x"), False),
        ("{body}.{path_query}", ("x", "/a?b.c"), False),
    ],
)
def test_beside_the_body(text: str, values: tuple[str, ...], expected: bool) -> None:
    parts = Template(text).parts
    assert ambiguity.body_ambiguous(parts, filled(text, *values), url_known=True) is expected


def test_a_path_is_chosen_by_the_caller_unless_the_url_is_known() -> None:
    text, values = "{body}.{path_query}", ("x", "/a?b.c")
    parts = Template(text).parts
    assert ambiguity.body_ambiguous(parts, filled(text, *values), url_known=False)
    text, values = "{path}:{json:/a}", ("/a:b", "x")
    parts = Template(text).parts
    assert ambiguity.fields_ambiguous(parts, filled(text, *values), url_known=False)
    assert not ambiguity.fields_ambiguous(parts, filled(text, *values), url_known=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{host}\n{body}", True),
        ("{public_url}{body}", True),
        ("{path_query}{body}", True),
        ("{path}{header:A}.{body}", True),
        ("{json:/a}{path_query}", True),
        ("{timestamp}{path}.{body}", True),
        ("{body}{path}", True),
        ("{method}{path_query}\n{body}", False),
        ("{path_query}{sha256_hex:body}", False),
        ("{path}{secret}{body}", False),
        ("{header:A}{body}", False),
    ],
)
def test_what_only_the_configured_url_can_say(text: str, expected: bool) -> None:
    assert ambiguity.needs_url(Template(text).parts) is expected


def test_a_header_may_not_hold_the_mark_that_ends_it() -> None:
    text = "{header:Id}.{timestamp}.{body}"
    parts = Template(text).parts
    ambiguity.check_marks(parts, filled(text, "msg", "1", "{}"), url_known=True)
    with pytest.raises(Refusal) as caught:
        ambiguity.check_marks(parts, filled(text, "msg.1.{}", "1", "{}"), url_known=True)
    assert caught.value.reason is Reason.SIGNATURE_MISMATCH
    assert "Id" in caught.value.detail


def test_nor_may_a_path_that_the_caller_chose() -> None:
    text = "{path_query}:{body}"
    parts, values = Template(text).parts, filled(text, "/hook?a=1:{}", "{}")
    ambiguity.check_marks(parts, values, url_known=True)
    with pytest.raises(Refusal) as caught:
        ambiguity.check_marks(parts, values, url_known=False)
    assert caught.value.reason is Reason.SIGNATURE_MISMATCH
    assert "path_query" in caught.value.detail
    assert "public_url" in caught.value.detail
