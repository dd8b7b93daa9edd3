"""The strict reader: takes exactly the bodies with one meaning, and gives them that meaning."""

import json
from math import isinf
from typing import NoReturn

import orjson

from relay.core.errors import Reason, Refusal
from relay.core.strict_json import (
    MAX_DEPTH,
    MAX_DIGITS,
    JsonValue,
    _parse_provably,
    _parse_strictly,
    content_digest,
    minify,
    parse,
)
from tests.harness.json_values import as_written

SEEDS = (
    b'{"order_id":"A-1","status_code":"200","gross_amount":"10000.00"}',
    b'{ "a" : [1, -0.5e+7, 12345678901234567890, true, false, null] }',
    b'{"a":1,"a":2}',
    b'{"a":1,"\\u0061":2}',
    b'{"s":"\\ud83d\\ude00 \\ud83d \\/ \\b\\f\\n\\r\\t"}',
    b'\xef\xbb\xbf{"a":1}',
    b'{"n":NaN,"i":-Infinity}',
    b"[1e308, 1e309, 1e-999]",
    b"[" * 70 + b"]" * 70,
    b"[" + b"9" * 65 + b"]",
    b'{"a":1,} // comment',
    '{"é":"e\u0301\u2028"}'.encode(),
    b'"\xff"',
    b"{'a':01}",
)
WORDS = (
    *(b'{"', b'":', b'"}', b"[", b"]", b",", b"null", b"true", b"false", b"NaN", b"-Infinity"),
    *(b"\\u", b"\\ud83d", b"\\ude00", b"\\\\", b'\\"', b"1e5", b"-0", b".5", b"\xef\xbb\xbf"),
    *(b'"order_id"', b'"gross_amount"', b'"10000.00"', b"/*", b"\xed\xa0\x80", b"\x00", b"\x0b"),
)


class _Ambiguous(ValueError):
    pass


def check(data: bytes) -> None:
    """Read a body with every reader."""
    _check_proven(data)
    try:
        found = as_written(parse(data))
    except Refusal as refusal:
        assert refusal.reason is Reason.BODY_MALFORMED
        assert not _has_one_meaning(data), f"refused for no reason: {refusal.detail}"
        return
    assert _has_one_meaning(data)
    text = data.decode()
    assert json.loads(text, parse_int=str.encode, parse_float=str.encode) == found
    _agree(found, orjson.loads(data))
    minified = minify(data)
    assert as_written(parse(minified)) == found
    assert content_digest(parse(minified)) == content_digest(parse(data)) == content_digest(found)


def _check_proven(data: bytes) -> None:
    """What orjson alone parses is what the strict parser returns."""
    proven = _parse_provably(data)
    if proven is not None:
        strictly = _parse_strictly(data)
        assert as_written(proven) == strictly
        assert content_digest(proven) == content_digest(strictly)


def _agree(ours: JsonValue, theirs: object) -> None:
    """Compare a value with what another reader made of it; its numbers are doubles at best."""
    if isinstance(ours, bytes):
        assert isinstance(theirs, int | float)
        assert float(ours) == float(theirs)
        return
    assert type(ours) is type(theirs)
    if isinstance(ours, dict) and isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key, value in ours.items():
            _agree(value, theirs[key])
    elif isinstance(ours, list) and isinstance(theirs, list):
        for one, other in zip(ours, theirs, strict=True):
            _agree(one, other)
    else:
        assert ours == theirs


def _has_one_meaning(body: bytes) -> bool:
    """Decide by the standard library alone; the inputs are too short for the other limits."""
    try:
        text = body.decode()
        value = json.loads(
            text,
            object_pairs_hook=_pairs,
            parse_constant=_constant,
            parse_int=_digits,
            parse_float=_digits,
        )
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return _depth(value) <= MAX_DEPTH


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise _Ambiguous
    return dict(pairs)


def _constant(name: str) -> NoReturn:
    raise _Ambiguous(name)


def _digits(text: str) -> str:
    if sum(map(str.isdigit, text)) > MAX_DIGITS or isinf(float(text)):
        raise _Ambiguous
    return text


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0
