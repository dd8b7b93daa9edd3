import json
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core.strict_json import minify

steady = settings(derandomize=True, deadline=None)
text = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\\" \t\n'), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)
layouts = st.fixed_dictionaries(
    {
        "indent": st.none() | st.integers(0, 4) | st.sampled_from(["\t", " \r", "\n "]),
        "separators": st.sampled_from([(",", ":"), (" ,\t", "\r\n: "), (", ", ": ")]),
        "ensure_ascii": st.booleans(),
    }
)
# Pieces that make and break strings: most sequences of them are no JSON at all.
debris = st.lists(
    st.sampled_from(
        [b'"', b"\\", b'\\"', b"\\\\", b" ", b"\t", b"\r", b"\n", b"\x0b", b"\xa0", b"{", b"1", b""]
    ),
    max_size=30,
).map(b"".join)


def slowly(body: bytes) -> bytes:
    """Do the same one byte at a time, as it would be explained to somebody."""
    kept, inside, escaped = bytearray(), False, False
    for byte in body:
        character = chr(byte)
        if not inside and character in " \t\r\n":
            continue
        kept.append(byte)
        if escaped:
            escaped = False
        elif inside and character == "\\":
            escaped = True
        elif character == '"':
            inside = not inside
    return bytes(kept)


def strings(value: object) -> list[str]:
    if isinstance(value, dict):
        return [each for item in value.items() for part in item for each in strings(part)]
    if isinstance(value, list):
        return [each for item in value for each in strings(item)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize(
    ("body", "minified"),
    [
        (b"", b""),
        (b" \t\r\n", b""),
        (b'{ "a" : 1 }', b'{"a":1}'),
        (b'{"a b" : " c "}', b'{"a b":" c "}'),
        (b'{"a\\" b" : "c\\\\" , "d" : 1}', b'{"a\\" b":"c\\\\","d":1}'),
        (b'{"a\\\\\\" b" : 1}', b'{"a\\\\\\" b":1}'),
        (b'{"partnerServiceId": "  088899"}', b'{"partnerServiceId":"  088899"}'),
        (b'["never closed , ', b'["never closed , '),
        (b'"a\\', b'"a\\'),
        (b' \\" a " b', b'\\" a "b'),
    ],
)
def test_only_white_space_between_tokens_goes(body: bytes, minified: bytes) -> None:
    assert minify(body) == minified


@pytest.mark.parametrize(
    "body",
    [
        b'{"n":1.0,"e":1e2,"big":12345678901234567890,"z":-0}',
        b'{"a":1,"a":2}',
        b'{"2":1,"1":2}',
        b'{"url":"https:\\/\\/a.example\\/x","u":"\\u00e9\xc3\xa9"}',
        b'{"empty":{},"none":[]}',
    ],
)
def test_a_spelling_that_parsers_would_change_survives(body: bytes) -> None:
    assert minify(body) == body
    assert minify(body.replace(b",", b"\n, ").replace(b'":', b'"\t: ')) == body


def test_other_blanks_are_no_white_space_in_json() -> None:
    for blank in (b"\x0b", b"\x0c", b"\x00", b"\x85", b"\xa0", b"\xe2\x80\xa8", b"\xef\xbb\xbf"):
        assert minify(b"[" + blank + b" 1]") == b"[" + blank + b"1]"


@steady
@given(values, layouts)
def test_the_meaning_stays(value: object, layout: dict[str, object]) -> None:
    written = json.dumps(value, **layout)  # type: ignore[arg-type] # all three are drawn together
    assert json.loads(minify(written.encode())) == value


@steady
@given(values, layouts)
def test_no_string_is_touched(value: object, layout: dict[str, object]) -> None:
    written = json.dumps(value, **layout)  # type: ignore[arg-type] # all three are drawn together
    minified = minify(written.encode()).decode()
    for each in strings(value):
        assert json.dumps(each, ensure_ascii=bool(layout["ensure_ascii"])) in minified


@steady
@given(values, st.booleans())
def test_what_is_minified_stays_byte_for_byte(value: object, ascii_only: bool) -> None:
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=ascii_only).encode()
    assert minify(body) == body


@steady
@given(debris | st.binary(max_size=60))
def test_any_bytes_come_out_as_one_byte_at_a_time(body: bytes) -> None:
    assert minify(body) == slowly(body)


@steady
@given(debris | st.binary(max_size=60))
def test_doing_it_twice_changes_nothing(body: bytes) -> None:
    assert minify(minify(body)) == minify(body)


@pytest.mark.parametrize(
    "body",
    [
        b' "' * 50_000,
        b' "' + b'\\"' * 50_000,
        b' "' + b"\\" * 100_000,
        b' "' + b"\\" * 100_000 + b'"',
        b" " * 100_000,
        b"a b" * 33_000,
        b'"" ' * 33_000,
        json.dumps([{"key": "value \\ ", "n": n} for n in range(3000)], indent=1).encode(),
    ],
    ids=lambda body: repr(body[:8]),
)
def test_a_hostile_body_takes_no_longer(body: bytes) -> None:
    """What is quadratic takes minutes at this size, not a second."""
    began = process_time()
    assert minify(body) == slowly(body)
    assert process_time() - began < 1
