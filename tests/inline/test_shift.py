"""Whether what was signed could be split otherwise."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Reason, Refusal
from relay.inline import shift
from relay.inline.template import Template


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
    return shift.fields_ambiguous(Template(text).parts, filled(text, *values))


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
    ("text", "expected"),
    [
        ("{body}", False),
        ("{timestamp}{body}", False),
        ("{header:A}.{body}", False),
        ("{header:A}{body}", True),
        ("{body}{header:A}", True),
        ("{header:A}{timestamp}.{body}", True),
        ("{header:A}{sha256_hex:body}", False),
    ],
)
def test_beside_the_body(text: str, expected: bool) -> None:
    assert shift.body_ambiguous(Template(text).parts) is expected


def test_a_header_may_not_hold_the_mark_that_ends_it() -> None:
    text = "{header:Id}.{timestamp}.{body}"
    parts = Template(text).parts
    shift.check_marks(parts, filled(text, "msg", "1", "{}"))
    with pytest.raises(Refusal) as caught:
        shift.check_marks(parts, filled(text, "msg.1.{}", "1", "{}"))
    assert caught.value.reason is Reason.SIGNATURE_MISMATCH
    assert "Id" in caught.value.detail
