import json
import sys
from collections.abc import Iterator
from time import process_time
from types import FrameType
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import strict_json
from relay.core.errors import Reason, Refusal
from relay.core.strict_json import (
    DEFAULT_LIMITS,
    MAX_DEPTH,
    MAX_DIGITS,
    JsonLimits,
    JsonValue,
    content_digest,
    indented,
    minify,
    number_text,
    parse,
    parse_object,
)
from tests.crash.lengths import tell
from tests.harness.json_values import as_written

if TYPE_CHECKING:
    from _typeshed import TraceFunction

steady = settings(derandomize=True, deadline=None)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)
fragments = st.sampled_from(
    [
        *[
            '"',
            "\\",
            "\\u",
            "d83d",
            "\\ude00",
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "1",
            "-",
            ".",
            "e",
            "0",
        ],
        *["true", "null", "NaN", "Infinity", " ", "\n", "a", "é", "\x00", "\ufeff", '"a"', '"b":'],
    ]
)

MAX_KEYS, MAX_ELEMENTS = DEFAULT_LIMITS.keys, DEFAULT_LIMITS.elements
MAX_CONTAINERS = DEFAULT_LIMITS.containers


def read(body: bytes) -> JsonValue:
    """Return the value with each number as it was written."""
    return as_written(parse(body))


def refused(body: bytes) -> str:
    with pytest.raises(Refusal) as caught:
        parse(body)
    assert caught.value.reason is Reason.BODY_MALFORMED
    return caught.value.detail


def plain(value: JsonValue) -> object:
    """Return what stdlib json reads."""
    match value:
        case bytes():
            return json.loads(value)
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list():
            return [plain(item) for item in value]
    return value


# ---- what is accepted ---------------------------------------------------------------------


@steady
@given(values, st.booleans(), st.sampled_from([None, 2]))
def test_whatever_is_accepted_reads_as_the_standard_library_reads_it(
    value: object, ascii_only: bool, indent: int | None
) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert plain(read(body.encode())) == json.loads(body)


@steady
@given(st.lists(fragments, max_size=20))
def test_rubbish_is_refused_or_reads_as_the_standard_library_reads_it(parts: list[str]) -> None:
    body = "".join(parts)
    try:
        found = read(body.encode())
    except Refusal as refusal:
        assert refusal.reason is Reason.BODY_MALFORMED  # noqa: PT017 - either way is right
    else:
        assert plain(found) == json.loads(body)


@steady
@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        parse(body)
    except Refusal as refusal:
        assert refusal.reason is Reason.BODY_MALFORMED  # noqa: PT017 - either way is right


@pytest.mark.parametrize(
    "number", ["0", "-0", "1", "-1", "10000.00", "1.0", "1e2", "1E+2", "1e-400", "9" * 64]
)
def test_a_number_keeps_the_text_it_was_written_in(number: str) -> None:
    assert read(number.encode()) == number.encode()
    assert number_text(parse(number.encode())) == number
    assert as_written(parse_object(f'{{"a": {number}}}'.encode())) == {"a": number.encode()}


@pytest.mark.parametrize("value", ["true", "false", "null", '"1"', "[1]", '{"a":1}'])
def test_what_is_no_number_has_no_text_of_one(value: str) -> None:
    assert number_text(parse(value.encode())) is None


def test_a_number_is_no_string() -> None:
    for number in (b"1", b"10.00"):
        assert not isinstance(parse(number), str)
        assert parse(number) != number.decode()
    assert parse(b"10.00") == b"10.00"
    assert parse(b"10.00") != parse(b"10.0")


def test_whole_surrogate_pairs_are_characters() -> None:
    assert parse(b'["\\ud83d\\ude00", "\\uD83D\\uDE00"]') == ["\U0001f600"] * 2
    assert parse(b'"\\\\ud800"') == "\\ud800"


def test_white_space_is_that_of_json() -> None:
    assert read(b" \t\r\n[ 1 ] \t\r\n") == [b"1"]


# ---- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',
        b'{"x":[{"y":{"a":null,"b":0,"a":null}}]}',
        b'[{"":1,"":2}]',
    ],
)
def test_a_repeated_key_is_refused_at_any_depth(body: bytes) -> None:
    assert refused(body) == "a key is repeated in one object"


def test_the_same_key_in_two_objects_is_fine() -> None:
    assert read(b'[{"a":{"a":1}},{"a":2}]') == [{"a": {"a": b"1"}}, {"a": b"2"}]


def test_keys_that_only_look_alike_are_different() -> None:
    body = '{"A":1,"a":2,"\u00e9":3,"e\u0301":4}'
    assert len(parse_object(body.encode())) == 4


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity", '{"a":NaN}', "[1,-Infinity]"])
def test_numbers_that_json_does_not_have_are_refused(name: str) -> None:
    assert "is not JSON" in refused(name.encode())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_other_encodings_are_refused(encoding: str) -> None:
    refused('{"a":"é"}'.encode(encoding))


@pytest.mark.parametrize(
    "body",
    [
        b'"\\ud800"',
        b'"\\udc00"',
        b'"\\udfff\\ud800"',
        b'{"\\uDBFF":1}',
        b'["a\\uD83Db"]',
        b'"\xed\xa0\x80"',
        b'"\\ud83d\\\\ude00"',
    ],
)
def test_half_a_surrogate_pair_is_refused(body: bytes) -> None:
    refused(body)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"{", b"}", b"[1,]", b'{"a":1,}', b"{'a':1}", b"[1 2]", b"01", b"+1", b".5"),
        *(b"1.", b"0x1", b"1_0", b"tru", b"True", b'"\x00"', b'"\t"', b'"a', b'"\\x"', b"1 1"),
        *(b"{}{}", b"// a\n1", b"\xef\xbb\xbf1", b"\xa01", b"\x0b1", b'{"a"}', b"{1:2}"),
        *(b'"\\u12"', b"\xd9\xa1"),
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    refused(body)


@pytest.mark.parametrize("body", [b"[]", b'"{}"', b"1", b"null", b"true"])
def test_an_object_is_an_object(body: bytes) -> None:
    parse(body)
    with pytest.raises(Refusal) as caught:
        parse_object(body)
    assert caught.value.reason is Reason.BODY_MALFORMED


def test_the_detail_says_nothing_of_the_body() -> None:
    assert "secret" not in refused(b'{"secret": "secret" "secret"}')


# ---- limits -------------------------------------------------------------------------------


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"[":', b"}")])
def test_depth_is_limited(opening: bytes, closing: bytes) -> None:
    parse(opening * MAX_DEPTH + b"1" + closing * MAX_DEPTH)
    assert "levels" in refused(opening * (MAX_DEPTH + 1) + b"1" + closing * (MAX_DEPTH + 1))


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert read(b"[" + b"[[]]," * 100 + b"0]") == [*[[[]]] * 100, b"0"]
    assert parse(b'["' + b"[" * 100 + b'"]') == ["[" * 100]


def test_the_number_of_keys_is_limited_over_all_objects() -> None:
    def objects(count: int) -> bytes:
        halves = range(count // 2), range(count - count // 2)
        return json.dumps([{str(i): ":" for i in half} for half in halves]).encode()

    parse(objects(MAX_KEYS))
    assert "keys" in refused(objects(MAX_KEYS + 1))


def test_the_number_of_elements_is_limited() -> None:
    parse(b"[" + b"1," * MAX_ELEMENTS + b"1]")
    assert "elements" in refused(b"[" + b"1," * (MAX_ELEMENTS + 1) + b"1]")


@pytest.mark.parametrize("container", [b"[]", b"{}"])
def test_the_number_of_containers_is_limited(container: bytes) -> None:
    def containers(count: int) -> bytes:
        return b"[" + b",".join([container] * (count - 1)) + b"]"

    parse(containers(MAX_CONTAINERS))
    assert "objects and arrays" in refused(containers(MAX_CONTAINERS + 1))


def test_containers_in_each_other_count_like_those_side_by_side() -> None:
    nest = b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1)
    fits = (MAX_CONTAINERS - 1) // (MAX_DEPTH - 1)
    parse(b"[" + b",".join([nest] * fits) + b"]")
    assert "objects and arrays" in refused(b"[" + b",".join([nest] * (fits + 1)) + b"]")


@pytest.mark.parametrize("shape", ["{}", "-{}", "0.{}", "1e-{}", "-1.5E-{}"])
def test_the_digits_of_a_number_are_limited(shape: str) -> None:
    others = sum(character.isdigit() for character in shape)
    parse(shape.format("1" * (MAX_DIGITS - others)).encode())
    assert "digits" in refused(shape.format("1" * (MAX_DIGITS - others + 1)).encode())


@pytest.mark.parametrize(
    "text", ["1e309", "-1E+309", "1.8e308", "179769313486231580794e288", "9e99999"]
)
def test_what_some_readers_take_for_infinity_is_refused(text: str) -> None:
    assert "too large" in refused(f"[{text}]".encode())


@pytest.mark.parametrize("text", ["1.7976931348623157e308", "-1E308", "5e-324", "1e-400", "0e999"])
def test_what_a_double_holds_or_rounds_is_taken(text: str) -> None:
    assert read(f"[{text}]".encode()) == [text.encode()]


SIZE = 256 * 1024


@pytest.mark.parametrize(
    "body",
    [
        b"[" * SIZE,
        b'{"":' * (SIZE // 4),
        b"][" * (SIZE // 2),
        b"1" * SIZE,
        b"1e" + b"1" * SIZE,
        b'"' * SIZE,
        b'"' + b'\\"' * (SIZE // 2),
        b'"' + b"\\" * SIZE,
        b'["' + b"\\ud83d\\ude00" * (SIZE // 12) + b'\\ud83d"]',
        b"[" + b"[]," * (SIZE // 3) + b"1]",
        b"{" + b",".join(b'"%d":1' % i for i in range(SIZE // 10)) + b"}",
        b" " * SIZE,
    ],
    ids=lambda body: str(body[:12]),
)
@pytest.mark.timeout(2)
def test_hostile_bodies_of_the_largest_size_are_refused_soon(body: bytes) -> None:
    refused(body)


def lines_run(body: bytes) -> int:
    """Return how many lines of the reader run for a body, whether it is refused or not."""
    count = 0

    def inside(_: FrameType, event: str, __: object) -> "TraceFunction":
        nonlocal count
        count += event == "line"
        return inside

    def outside(frame: FrameType, _: str, __: object) -> "TraceFunction | None":
        return inside if frame.f_code.co_filename == strict_json.__file__ else None

    before = sys.gettrace()
    sys.settrace(outside)
    try:
        parse(body)
    except Refusal:
        pass
    finally:
        sys.settrace(before)
    return count


def filled(unit: bytes, most: int, before: bytes = b"[", after: bytes = b"1]") -> bytes:
    """Return a list of as many of these as fit into a body, and are allowed, and then blanks."""
    count = min(most, (SIZE - len(before) - len(after)) // len(unit))
    return (before + unit * count + after).ljust(SIZE)


def costly() -> Iterator[bytes]:
    """Yield bodies of the largest size that ask for the most work, in every way there is."""
    nest = b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b","
    for unit in (b"1,", b"-1.5E-9,", b"[],", b"{},", nest, b"-" + b"1" * 62 + b".1,"):
        yield filled(unit, SIZE)
        yield filled(unit, MAX_ELEMENTS)
        yield filled(unit, MAX_CONTAINERS // max(1, unit.count(b"[")) - 1)
    yield filled(b'{"":1},', MAX_KEYS)
    yield filled(b'{"":1},', MAX_KEYS, before=b"[" + b"1," * (MAX_ELEMENTS - MAX_KEYS))
    yield filled(b"[[]],", MAX_DEPTH)
    yield filled(b"]", SIZE, before=b"[[]]," * MAX_DEPTH)
    yield filled(b"][", SIZE, before=b"[[]]," * MAX_DEPTH)


def test_no_body_of_the_largest_size_costs_more_than_a_bounded_number_of_steps() -> None:
    most = max(lines_run(body) for body in costly())
    # Two lines an object; it would be hundreds of thousands by the size alone.
    assert MAX_CONTAINERS < most < 3 * MAX_CONTAINERS


def dense(unit: str, before: str = "[", after: str = "0]") -> bytes:
    """Return a body of the largest size with as many of these as it may hold."""
    count = min(MAX_CONTAINERS - 1, (SIZE - len(before) - len(after)) // len(unit))
    return (before + unit * count + after).encode()


def keyed(member: str) -> bytes:
    """Return an object of the largest size with as many such members as it may hold."""
    size = len(member % 0x1000)
    count = min(MAX_KEYS, SIZE // (size + 1) - 1)
    return ("{" + ",".join(member % (0x1000 + i) for i in range(count)) + "}").encode()


@pytest.mark.parametrize(
    "body",
    [
        dense('{"a":1e5},'),
        dense('{"a" : 1e5},'),
        dense('{"a":1e300},', after='"\\ud83d\\ude00"]'),
        dense('{"a":"\\u00e9"},'),
        dense('{"id":"ab","price":10000.00,"qty":1},'),
        dense("1e5,"),
        dense("1" * 64 + ","),
        dense("[" * 60 + "]" * 60 + ",")[: SIZE // 8].rpartition(b",")[0] + b"]",
        dense('"\\ud83d\\ude00",'),
        keyed('"\\u%04x":1e0'),
        keyed('"%x": 1.00'),
        b"[" + b" " * (SIZE - 5) + b"1.0]",
        b'["' + b"\\n" * (SIZE // 2 - 5) + b'"]',
    ],
    ids=lambda body: str(body[:12]),
)
def test_the_worst_bodies_that_are_taken_hold_the_loop_for_milliseconds(body: bytes) -> None:
    took = []
    for _ in range(5):
        began = process_time()
        content_digest(parse(body))
        minify(body)
        took.append(process_time() - began)
    tell(worst_body=body[:12], milliseconds=f"{min(took) * 1000:.1f}")
    # About 10 ms alone on a machine; several times that is what one call of Python each would take.
    assert min(took) < 0.03


def test_an_order_of_a_hundred_lines_is_taken() -> None:
    """30 kB, and more than 2,000 keys."""
    lines = [{f"field_{at}": f"v{line}" for at in range(21)} for line in range(100)]
    body = json.dumps({"id": "A-1", "status": "paid", "lines": lines}).encode()
    assert len(body) > 30_000
    assert len(list(parse_object(body))) == 3
    # Numbers as they are written in orders, which orjson would write otherwise.
    priced = body.replace(b'"v1"', b"10000.00")
    assert b"10000.00" in priced
    assert len(list(parse_object(priced))) == 3


def test_limits_come_from_the_largest_body_or_are_set() -> None:
    assert JsonLimits(256 * 1024) == DEFAULT_LIMITS
    assert DEFAULT_LIMITS.keys == DEFAULT_LIMITS.elements == 256 * 1024 // 12
    # A stranger's body may be parsed: what the largest one costs does not grow with the others.
    assert JsonLimits(25 * 1024 * 1024) == DEFAULT_LIMITS
    assert JsonLimits(128 * 1024).keys == 128 * 1024 // 12
    assert (JsonLimits(1024).keys, JsonLimits(1024).elements) == (2000, 5000)
    assert len({JsonLimits(1024), JsonLimits(2048), JsonLimits(1024, depth=3)}) == 2


@pytest.mark.parametrize(
    ("limits", "body", "larger", "what"),
    [
        (JsonLimits(1024, keys=2), b'{"a":1,"b":1}', b'{"a":1,"b":1,"c":1}', "2 keys"),
        (JsonLimits(1024, elements=2), b"[1,1,1]", b"[1,1,1,1]", "2 elements"),
        (JsonLimits(1024, elements=2), b"[[]]", b"[[[]]]", "2 objects and arrays"),
        (JsonLimits(1024, depth=2), b'[{"a":1}]', b'[{"a":[]}]', "2 levels"),
        (
            JsonLimits(1024, depth=200),
            b"[" * 200 + b"]" * 200,
            b"[" * 201 + b"]" * 201,
            "200 levels",
        ),
    ],
)
def test_limits_that_are_set_hold(
    limits: JsonLimits, body: bytes, larger: bytes, what: str
) -> None:
    for each in (body, body.replace(b"1", b"1.00")):
        content_digest(parse(each, limits))
    for each in (larger, larger.replace(b"1", b"1.00")):
        with pytest.raises(Refusal) as caught:
            parse(each, limits)
        assert what in caught.value.detail


def test_a_large_message_as_providers_send_it_is_taken() -> None:
    """250 items of eight fields are the most that a notification may list."""
    item = {
        "id": "A-1",
        "name": "Kopi susu gula aren 250 ml",
        "price": "25000.00",
        "quantity": 3,
        "brand": "",
        "category": "drinks",
        "url": "https://shop.test/a-1",
    }
    cart = {"order_id": "A-1", "item_details": [item] * 250, "custom": ["x" * 40] * 1000}
    assert len(json.dumps(cart)) > 80_000
    parse_object(json.dumps(cart, indent=2).encode())


# ---- content ------------------------------------------------------------------------------


def digest(body: str) -> bytes:
    return content_digest(parse(body.encode()))


def test_order_and_white_space_do_not_matter() -> None:
    assert digest('{"a":[1,"x"],"b":{"c":null,"d":true}}') == digest(
        ' { "b" : {"d":true, "c":null},\n"\\u0061" : [ 1 , "\\u0078" ] } '
    )


def test_everything_else_matters() -> None:
    bodies = [
        *('{"a":1}', '{"a":"1"}', '{"a":1.0}', '{"a":10e-1}', '{"a":-1}', '{"a":true}'),
        *('{"a":null}', "{}", "[]", "null", '""', '{"a":[1]}', '{"a":[1,2]}', '{"a":[2,1]}'),
        *('{"A":1}', '{"a":"e\u0301"}', '{"a":"\u00e9"}', '{"a":["\\\\ud800","1"]}'),
        *('["1"]', "[1]", '[["1"]]', '"1"', "1", '{"":1}', '{"a":{"":1}}', '"\\"1\\""'),
    ]
    assert len({digest(body) for body in bodies}) == len(bodies)


@steady
@given(values, values)
def test_equal_content_means_equal_values(first: object, second: object) -> None:
    one, two = (parse(json.dumps(value).encode()) for value in (first, second))
    assert (content_digest(one) == content_digest(two)) is (one == two)


# ---- minifying ------------------------------------------------------------------------------

any_text = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from('\\" \t\n'), max_size=20
)
any_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
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
@given(any_values, layouts)
def test_the_meaning_stays(value: object, layout: dict[str, object]) -> None:
    written = json.dumps(value, **layout)  # type: ignore[arg-type] # all three are drawn together
    assert json.loads(minify(written.encode())) == value


@steady
@given(any_values, layouts)
def test_no_string_is_touched(value: object, layout: dict[str, object]) -> None:
    written = json.dumps(value, **layout)  # type: ignore[arg-type] # all three are drawn together
    minified = minify(written.encode()).decode()
    for each in strings(value):
        assert json.dumps(each, ensure_ascii=bool(layout["ensure_ascii"])) in minified


@steady
@given(any_values, st.booleans())
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


# ---- indenting ------------------------------------------------------------------------------


def test_a_member_and_an_element_stand_on_lines_of_their_own() -> None:
    body = rb'{"a" : [1.00, {"b,:{":"\u00e9\""}], "c": {}, "c":[ ]}'
    lines = r"""
{
  "a": [
    1.00,
    {
      "b,:{": "\u00e9\""
    }
  ],
  "c": {},
  "c": []
}"""
    assert indented(body) == lines.strip()


@steady
@given(values)
def test_indenting_adds_white_space_alone(value: JsonValue) -> None:
    body = json.dumps(value).encode()
    told = indented(body)
    assert told is not None
    assert minify(told.encode()) == minify(body)


@pytest.mark.parametrize("body", [b"", b"{", b"a=b", b"\xff", b"[" * 65 + b"]" * 65])
def test_what_is_no_json_or_too_deep_is_not_indented(body: bytes) -> None:
    assert indented(body) is None


def test_the_deepest_that_is_indented() -> None:
    assert indented(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH) is not None
