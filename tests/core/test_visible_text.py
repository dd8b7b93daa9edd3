"""Whatever a stranger wrote is seen as it is, and JSON still means the same."""

import sys
import unicodedata

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core.visible_text import decoded, visible, visible_json

steady = settings(derandomize=True, deadline=None)

#: What reorders, hides or steers: overrides, isolates, marks, zero width, C0, C1, DEL, blanks.
HOSTILE = (
    *"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c",
    *"\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u115f\u3164\uffa0\u2800\ufe0f\u180e",
    *"\x00\x07\x08\x1b\r\x7f\x80\x85\x9b\x9d\u2028\u2029\u00a0\u3000\ufff9\U000e0041\U000e0100",
    *"\ud800\udfff\ue000\U0010ffff",
)


@pytest.mark.parametrize("character", HOSTILE, ids=lambda each: f"{ord(each):04x}")
def test_what_cannot_be_seen_is_escaped(character: str) -> None:
    escaped = character.encode("unicode_escape").decode()
    for lines in (False, True):
        assert visible(f"order-{character}1é", lines=lines) == f"order-{escaped}1é"


@pytest.mark.parametrize(
    "text", ["", "order-1 ~", "Kopi susu é ü", "注文", "заказ", "😀", "\\u202e"]
)
def test_what_can_be_seen_stays(text: str) -> None:
    assert visible(text) == text
    assert visible_json(orjson.dumps(text).decode()) == orjson.dumps(text).decode()


def test_lines_stay_only_where_they_are_shown_as_lines() -> None:
    assert visible("a\n\tb\r\n") == "a\\n\\tb\\r\\n"
    assert visible("a\n\tb\r\n", lines=True) == "a\n\tb\\r\n"


@steady
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_json_means_the_same_and_shows_everything(text: str) -> None:
    document = orjson.dumps([text, {text: 1}], option=orjson.OPT_INDENT_2).decode()
    shown = visible_json(document)
    assert orjson.loads(shown) == [text, {text: 1}]
    assert visible(shown, lines=True) == shown


def test_every_control_and_format_character_of_unicode_is_escaped() -> None:
    for number in range(sys.maxunicode + 1):
        if unicodedata.category(chr(number)) in {"Cc", "Cf", "Zl", "Zp"}:
            assert visible(chr(number)) != chr(number)


def test_text_is_the_same_however_many_bytes_it_has() -> None:
    body = "é€😀".encode() * 40_000 + b"\xff\xe2\x82" + b"a" * 20_000 + b"\xf0\x9f"
    assert decoded(body) == body.decode("utf-8", "backslashreplace")
    assert decoded(b"") == ""
