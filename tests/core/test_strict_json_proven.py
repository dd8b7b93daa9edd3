"""What orjson alone parses is what the strict parser would have returned, and refused otherwise.

Bodies are written by a seed, from the cases on which parsers differ, and half of them are mutated.
"""

import json
from random import Random

import orjson
import pytest

from relay.core import strict_json
from relay.core.errors import Refusal
from relay.core.strict_json import (
    DEFAULT_LIMITS,
    MAX_DEPTH,
    MAX_DIGITS,
    JsonValue,
    content_digest,
    parse,
    parse_object,
)
from tests.core.test_strict_json_agreement import KEYS, NUMBERS, TEXTS, Writer
from tests.harness.json_values import as_written

MAX_KEYS, MAX_ELEMENTS = DEFAULT_LIMITS.keys, DEFAULT_LIMITS.elements
MAX_CONTAINERS = DEFAULT_LIMITS.containers

Outcome = tuple[JsonValue, bytes] | str

MARKS = (b'"', b",", b":", b"\\", b"}", b"[", b" ", b"\n", b"\x0b", b"\xef\xbb\xbf", b"\xff", b"0")


def outcome(parser: object, body: bytes) -> Outcome:
    """Return the value as it was written and its digest, or the refusal."""
    assert callable(parser)
    try:
        value = parser(body)
    except Refusal as refusal:
        return str(refusal)
    return as_written(value), content_digest(value)


class Mutator:
    """Writes bodies, the same ones each time: half of them mutated, some repeated by orjson."""

    def __init__(self, seed: int) -> None:
        self._dice = Random(seed)
        self._writer = Writer(seed)

    def body(self) -> bytes:
        dice = self._dice
        body = self._writer.body() if dice.random() < 0.7 else self._plain()
        kind = dice.random()
        if kind < 0.2:
            at = dice.randint(0, len(body))
            body = body[:at] + dice.choice(MARKS) + body[at:]
        elif kind < 0.3:
            at = dice.randint(0, len(body))
            body = body[:at] + body[at + dice.randint(1, 6) :]
        elif kind < 0.4:
            body = body.replace(b",", b", ").replace(b":", b": ")
        elif kind < 0.5:
            body = self._written_again(body)
        return body

    def _plain(self) -> bytes:
        """Write an object of which nothing but a number, a key or a text here and there is odd."""
        dice = self._dice
        members = []
        for at in range(dice.randint(0, 6)):
            key = dice.choice(KEYS) if dice.random() < 0.1 else f'"k{dice.randint(0, 9)}{at // 4}"'
            odd = dice.choice((*NUMBERS, *TEXTS)) if dice.random() < 0.2 else '"a b"'
            members.append(f"{key}:{dice.choice((odd, odd, str(dice.random()), '-1', '[ ]'))}")
        return f"{{{','.join(members)}}}".encode()

    @staticmethod
    def _written_again(body: bytes) -> bytes:
        try:
            return orjson.dumps(orjson.loads(body))
        except ValueError:
            return body


def compare(seed: int, number: int) -> None:
    """Compare both on so many bodies, and check that each kind of outcome was met."""
    mutator = Mutator(seed)
    accepted = proven = 0
    for _ in range(number):
        body = mutator.body()
        strictly = outcome(strict_json._parse_strictly, body)
        assert outcome(parse, body) == strictly, body
        if not isinstance(strictly, str):
            accepted += 1
            proven += strict_json._parse_provably(body) is not None
    assert accepted > number / 5
    assert accepted / 5 < proven < accepted


def test_some_thousands_of_bodies_are_taken_or_refused_alike() -> None:
    compare(20260105, 5_000)


@pytest.mark.long
def test_200_000_bodies_are_taken_or_refused_alike() -> None:
    compare(20260106, 200_000)


# ---- what decides between the two ---------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"a":"b","c":[1,-1,2.5,true,null]}',
        b'{ "a" : "b c" ,\r\n\t"d e": [ ] }',
        '{"é":"\u2028"}'.encode(),
        b'{"a":"\\n\\"\\\\\\u0001"}',
        b"18446744073709551615",
        b"-0.0",
    ],
)
def test_a_body_that_orjson_would_write_is_parsed_by_it_alone(body: bytes) -> None:
    assert strict_json._parse_provably(body) is not None
    assert outcome(parse, body) == outcome(strict_json._parse_strictly, body)


@pytest.mark.parametrize(
    "body",
    [
        *(b'{"a":1,"a":1}', b'{"a":1,"\\u0061":1}', b'{"a":1,"b":2,"a":1}'),
        *(
            b"10000.00",
            b"1E5",
            b"1e5",
            b"-0",
            b"18446744073709551616",
            b"1e400",
            b"0.10",
            b"1" * 64,
        ),
        *(b'"\\/"', b'"\\u0041"', b'"\\u0020"', b'"\\ud83d\\ude00"', b'"\\ud83d"', b'"\\u00E9"'),
        *(b"\xef\xbb\xbf{}", b"NaN", b"", b" ", b"{", b"[1,]", b"{'a':1}", b"null"),
    ],
)
def test_any_other_body_is_left_to_the_strict_parser(body: bytes) -> None:
    assert strict_json._parse_provably(body) is None
    assert outcome(parse, body) == outcome(strict_json._parse_strictly, body)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
        json.dumps({str(i): "" for i in range(MAX_KEYS)}).encode(),
        json.dumps([1] * MAX_ELEMENTS).encode(),
        json.dumps([[]] * (MAX_CONTAINERS - 1)).encode(),
        b"[" + b"1" * MAX_DIGITS + b"]",
    ],
    ids=["depth", "keys", "elements", "containers", "digits"],
)
def test_the_limits_are_those_of_the_strict_parser(body: bytes) -> None:
    """At the limit a body is taken, and refused beyond it, by whichever parser it reaches."""
    beyond = {
        b"[[": b"[" + body + b"]",
        b'{"': body[:-1] + b',"more":""}',
        b"[1": body[:-1] + b",1,1]" if body.count(b",") else b"[1" + body[1:],
        b"[[]": body[:-1] + b",[]]",
    }
    larger = beyond[b"[[]" if body.startswith(b"[[],") else body[:2]]
    assert isinstance(outcome(parse, body), tuple)
    assert outcome(parse, body) == outcome(strict_json._parse_strictly, body)
    assert isinstance(outcome(parse, larger), str)
    assert outcome(parse, larger) == outcome(strict_json._parse_strictly, larger)


@pytest.mark.parametrize("body", [b"[]", b'"{}"', b"1", b"null", b"true"])
def test_what_is_no_object_is_refused_alike(body: bytes) -> None:
    assert outcome(parse_object, body) == "body_malformed: not a JSON object"
