"""Whether what was signed could be split otherwise."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core.errors import Reason, Refusal
from relay.providers.inline.ambiguity import Ambiguity, needs_url
from relay.providers.inline.signed_text import Literal, Placeholder, Template


def filled(text: str, *values: str) -> list[bytes | None]:
    """Fill the chosen parts of a template with these values, in order."""
    left = list(values)
    found: list[bytes | None] = []
    for part in Template(text).parts:
        if isinstance(part, Literal):
            found.append(part.text)
        elif isinstance(part, Placeholder) and part.kind == "secret":
            found.append(None)
        else:
            found.append(left.pop(0).encode())
    return found


def ambiguous(text: str, *values: str) -> bool:
    return decided(text, url_known=True).of_fields(filled(text, *values))


def decided(text: str, *, url_known: bool) -> Ambiguity:
    return Ambiguity(Template(text).parts, url_known=url_known)


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
        ("{form:a}:{form:b}", ("x", "y"), False),
        ("{form:a}:{form:b}", ("x:", "y"), True),
        ("{form:a}{query:b}", ("x", "y"), True),
        ("{form:a}{md5_hex:form:b}", ("x", "y"), False),
        ("{form:a}{md5_hex:{secret}}{form:b}", ("x", "<hash>", "y"), False),
        ("{json:/a},{header:B};{json:/c}", ("1,", "2", "3"), True),
    ],
)
def test_fields(text: str, values: tuple[str, ...], expected: bool) -> None:
    assert ambiguous(text, *values) is expected


@settings(derandomize=True, deadline=None)
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
        ("{query:A}{body}", ("a", "x"), True),
        ("{query:A}{json_sorted}", ("a", "x"), True),
        ("{header:A}.{body_without:/s}", ("a", "x"), False),
        ("{json_sorted}.{query:A}", ("x", "y.a"), True),
        ("{form_sorted}", ("x",), True),
        ("{public_url}{form_sorted}", ("u", "x"), True),
        ("{form:a}.{body}", ("x.", "x"), False),
        # A value behind the body, and the mark between them.
        ("{body}.{header:A}", ("x.y", "a"), False),
        ("{body}.{header:A}", ("x", "y.a"), True),
        ("{body}.{header:A};{header:B}", ("x", "a", "y.b"), True),
        ("{path}.{body}", ("/a", "x"), False),
        ("{body}.{path_query}", ("x", "/a?b.c"), False),
    ],
)
def test_beside_the_body(text: str, values: tuple[str, ...], expected: bool) -> None:
    assert decided(text, url_known=True).of_body(filled(text, *values)) is expected


def test_a_path_is_chosen_by_the_caller_unless_the_url_is_known() -> None:
    text, values = "{body}.{path_query}", ("x", "/a?b.c")
    assert decided(text, url_known=False).of_body(filled(text, *values))
    text, values = "{path}:{json:/a}", ("/a:b", "x")
    assert decided(text, url_known=False).of_fields(filled(text, *values))
    assert not decided(text, url_known=True).of_fields(filled(text, *values))


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
        ("{md5_hex:{public_url}{body}}", True),
        ("{sha1_hex:{path}{form_sorted}}", True),
        ("{path}{query:a}", True),
        ("{path}{secret}{body}", False),
        ("{header:A}{body}", False),
    ],
)
def test_what_only_the_configured_url_can_say(text: str, expected: bool) -> None:
    assert needs_url(Template(text).parts) is expected


def test_a_header_may_not_hold_the_mark_that_ends_it() -> None:
    text = "{header:Id}.{timestamp}.{body}"
    checked = decided(text, url_known=True)
    checked.check_marks(filled(text, "msg", "1", "{}"))
    with pytest.raises(Refusal) as caught:
        checked.check_marks(filled(text, "msg.1.{}", "1", "{}"))
    assert caught.value.reason is Reason.SIGNATURE_MISMATCH
    assert "Id" in caught.value.detail


def test_nor_may_a_path_that_the_caller_chose() -> None:
    text = "{path_query}:{body}"
    values = filled(text, "/hook?a=1:{}", "{}")
    decided(text, url_known=True).check_marks(values)
    with pytest.raises(Refusal) as caught:
        decided(text, url_known=False).check_marks(values)
    assert caught.value.reason is Reason.SIGNATURE_MISMATCH
    assert "path_query" in caught.value.detail
    assert "public_url" in caught.value.detail


def test_nor_may_a_parameter_of_the_query() -> None:
    text = "{query:id}.{json_sorted}"
    with pytest.raises(Refusal) as caught:
        decided(text, url_known=True).check_marks(filled(text, "1.{}", "{}"))
    assert caught.value.reason is Reason.SIGNATURE_MISMATCH
