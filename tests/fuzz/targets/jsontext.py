"""JSON as it is written: nothing but one member goes, and nothing but the order of keys changes.

An input is a name, a line break, and a body.
"""

import json
import re

from relay.core.errors import Reason, Refusal
from relay.core.json_text import sorted_keys, without
from relay.core.strict_json import JsonObject, JsonValue, content_digest, minify, parse
from tests.harness.json_values import as_written

SEEDS = (
    b'sign\n{"id":"1","sign":"x","a":1.50}',
    b'sign\n{ "sign" : {"sign":[1]} , "b" : "\\u00e9\\/" }',
    b'sign\n{"a":"\\"sign\\":1","b":["sign",{"sign":2}],"sign":3}',
    b'a\\b\n{"a\\\\b":1,"z":2}',
    b'a\n{"\\u0061":1,"b":2,"A":{"\\/":1,"a":2}}',
    b',\n{"x":[",",":"],",":1}',
    b"s\n[1]",
    '\u2028\n{"\u2028":1,"\U0001f600":2,"\uffee":3}'.encode(),
)
WORDS = (
    *(b'{"', b'":', b'"}', b"[", b"]", b",", b" ", b'"sign":', b'"sign"', b"sign", b"\n"),
    *(b"\\u0061", b"\\ud83d\\ude00", b"\\\\", b'\\"', b"\\/", b"\\n", b"1.50", b"1e5", b"{}"),
)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|[^"]')


def check(data: bytes) -> None:
    """Leave a member out, sort keys, and look at what is left."""
    name, _, body = data.decode("latin-1").partition("\n")
    text = body.encode("latin-1")
    try:
        value = parse(text)
        name = name.encode("latin-1").decode()
    except (Refusal, UnicodeDecodeError):
        return
    _check_without(text, value, name)
    _check_sorted(text, value, name)


def _check_without(body: bytes, value: JsonValue, name: str) -> None:
    kept = without(body, [name])
    if not isinstance(value, dict) or name not in value:
        assert kept == body
        return
    written = f"{json.dumps(name, ensure_ascii=False)}".encode()
    if kept == body:
        # Its key is written with an escape that is not needed.
        assert minify(body).count(written + b":") == 0 or b"\\" in body
        return
    left = as_written({key: each for key, each in value.items() if key != name})
    assert as_written(parse(kept)) == left
    assert body.startswith(kept[: _same(body, kept)])
    assert len(body) > len(kept)


def _same(one: bytes, other: bytes) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)


def _check_sorted(body: bytes, value: JsonValue, name: str) -> None:
    try:
        written = sorted_keys(body, value)
    except Refusal as refusal:
        assert refusal.reason is Reason.FIELD_INVALID
        return
    again = parse(written)
    assert content_digest(again) == content_digest(value)
    assert as_written(again) == as_written(value)
    assert minify(written) == written
    _check_order(again)
    # The same tokens, as they were written.
    assert sorted(_STRING.findall(written.decode())) == sorted(
        _STRING.findall(minify(body).decode())
    )
    if isinstance(value, dict) and name in value and b"\\" not in body:
        left: JsonObject = {key: each for key, each in value.items() if key != name}
        assert content_digest(parse(sorted_keys(body, value, [name]))) == content_digest(left)


def _check_order(value: JsonValue) -> None:
    if isinstance(value, dict):
        assert [*value] == sorted(value)
        for each in value.values():
            _check_order(each)
    elif isinstance(value, list):
        for each in value:
            _check_order(each)
