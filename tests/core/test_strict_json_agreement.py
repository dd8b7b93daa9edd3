"""Every reader of an accepted body sees the same signed fields.

Bodies are put together from the cases on which readers of JSON are known to differ. The standard
library and orjson read each one as it is made, Node reads all that were accepted in one process.
"""

import json
import shutil
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import orjson
import pytest

from relay.core.errors import Refusal
from relay.core.strict_json import JsonObject, JsonValue, parse_object
from tests.harness.optional_tools import run_node

NAMES = ("order_id", "status_code", "gross_amount", "transaction_status")

# ---- bodies: most have something that some reader reads in its own way ------------------------

BLANKS = ("", "", " ", "\n\t", "\r\n")
NO_BLANKS = ("\x0b", "\x0c", "\ufeff", "\xa0", "\x00", "/**/")
#: What is taken for the names: escapes, other cases, other compositions, more around them.
KEYS = (
    *(f'"\\u{ord(name[0]):04x}{name[1:]}"' for name in NAMES),
    *('"Order_Id"', '"order_id "', '"order_id\\u0000"', '"\\ufefforder_id"', '"order\\u005fid"'),
    *('"__proto__"', '"constructor"', '""', '"\xe9"', '"e\u0301"', '"\\u00E9"', '"\\ud83d"'),
    *("order_id", "'order_id'", "1", '"order_id', '"x"', '"y"', '"z"'),
)
TEXTS = (
    *('"A-1"', '"200"', '"10000.00"', '"settlement"', '""', '"\\u0041-1"', '"A\\/1"', '"\\""'),
    *('"\\ud83d\\ude00"', '"\U0001f600"', '"\\ud83d"', '"\\ude00\\ud83d"', '"\\uD83Dx"', '"\\x41"'),
    *('"a\nb"', '"a\tb"', '"\x00"', '"\\u0000"', '"\x7f"', '"\u2028"', '"\\u2028"', '"\ufeff"'),
    *('"\\u00e9"', '"e\u0301"', '"\\ufffe"', '"\ufffd"', '"\\uDBFF\\uDFFF"', '"\\u12"', '"\\'),
)
NUMBERS = (
    *("0", "-0", "-0.0", "1", "10000.00", "1E4", "1e+4", "0.1", "1e-7", "5e-324", "1e400"),
    *("9007199254740993", "18446744073709551616", "-9223372036854775809", "1" * 64, "1" * 65),
    *("01", "+1", ".5", "1.", "0x10", "1_0", "1e", "--1", "NaN", "Infinity", "-Infinity"),
    *("0.1000000000000000055511151231257827", "179769313486231580793e288", "2.5e-400"),
)
WORDS = ("true", "false", "null", "True", "undefined", "")
TRAILS = (",", ",,", "//")
ENDS = ("\x00", "{}", "//", "\x1a", "]")
DEBRIS = (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x00", b'"', b"\\", b"{", b"1")


class Writer:
    """Writes bodies, the same ones each time."""

    def __init__(self, seed: int) -> None:
        self._dice = Random(seed)

    def body(self) -> bytes:
        choose, chance = self._dice.choice, self._dice.random
        names = self._dice.sample(NAMES, self._dice.randint(1, len(NAMES)))
        members = [self._member(f'"{name}"', 0 if chance() < 0.5 else 3) for name in names]
        if chance() < 0.4:
            members.append(self._member(choice_of_key(self._dice), 0))
        self._dice.shuffle(members)
        inside = f"{{{','.join(members)}{self._seldom(TRAILS)}}}"
        text = self._blank() + inside + self._blank() + self._seldom(ENDS)
        if chance() < 0.05:
            depth = self._dice.randint(1, 70)
            text = f'{{"order_id":"A","x":{"[" * depth}{"]" * depth}}}'
        body = text.encode()
        if chance() < 0.1:
            at = self._dice.randint(0, len(body))
            body = body[:at] + choose(DEBRIS) + body[at:]
        return body

    def _member(self, key: str, depth: int) -> str:
        value = self._text() if self._dice.random() < 0.6 else self._value(depth)
        return f"{self._blank()}{key}{self._blank()}:{value}"

    def _blank(self) -> str:
        return self._seldom(NO_BLANKS) or self._dice.choice(BLANKS)

    def _seldom(self, odd: Sequence[str]) -> str:
        return self._dice.choice(odd) if self._dice.random() < 0.02 else ""

    def _text(self) -> str:
        letters = [chr(self._dice.choice((65, 48, 233, 0x2028, 0x1F600))) for _ in range(3)]
        return json.dumps("".join(letters), ensure_ascii=self._dice.random() < 0.5)

    def _value(self, depth: int) -> str:
        dice = self._dice
        if depth >= 3 or dice.random() < 0.6:
            return dice.choice(dice.choice((TEXTS, NUMBERS, NUMBERS, WORDS)))
        inner = [self._value(depth + 1) for _ in range(dice.randint(0, 3))]
        if dice.random() < 0.5:
            return f"[{','.join(inner)}{self._seldom(TRAILS)}]"
        members = [f"{choice_of_key(dice)}:{value}" for value in inner]
        return f"{{{','.join(members)}{self._seldom(TRAILS)}}}"


def choice_of_key(dice: Random) -> str:
    return dice.choice(KEYS) if dice.random() < 0.7 else f'"{dice.choice(NAMES)}"'


# ---- what each reader says, in words that can be compared -------------------------------------


def told(value: object) -> list[str]:
    """Return kind and content; numbers as doubles, which is all that most readers know."""
    match value:
        case str():
            return ["text", value.encode().hex()]
        case bool() | None:
            return ["word", json.dumps(value)]
        case bytes() | int() | float():
            # Whether zero keeps its sign depends on the reader, and on the decimal point.
            return ["number", (float(value) + 0.0).hex()]
        case _:
            return ["more", ""]


def parsed(body: bytes) -> JsonObject | None:
    try:
        return parse_object(body)
    except Refusal:
        return None


def accepted_bodies(number: int) -> dict[bytes, JsonObject]:
    """Write so many bodies, and return those that are accepted with what they say."""
    writer, found = Writer(20260105), {}
    for _ in range(number):
        body = writer.body()
        message = parsed(body)
        if message is not None:
            found[body] = message
    return found


@pytest.fixture(scope="module")
def bodies() -> dict[bytes, JsonObject]:
    found = accepted_bodies(20_000)
    assert len(found) > 2000
    return found


@pytest.mark.parametrize("reader", [json.loads, orjson.loads])
def test_pythons_readers_agree(
    bodies: dict[bytes, JsonObject], reader: Callable[[bytes], object]
) -> None:
    for body, ours in bodies.items():
        theirs = reader(body)
        assert isinstance(theirs, dict)
        assert theirs.keys() == ours.keys(), body
        assert {name: told(value) for name, value in theirs.items()} == {
            name: told(value) for name, value in ours.items()
        }, body
        # What a signature covers is text, and text is the same text everywhere.
        assert all(theirs[n] == v for n, v in ours.items() if isinstance(v, str)), body


_SCRIPT = """
const tell = (value) => {
  if (typeof value === 'string') return ['text', Buffer.from(value, 'utf8').toString('hex')];
  if (typeof value === 'boolean' || value === null) return ['word', JSON.stringify(value)];
  if (typeof value === 'number') {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleBE(value + 0);
    return ['number', bytes.toString('hex')];
  }
  return ['more', ''];
};
const lines = require('fs').readFileSync(0, 'utf8').trimEnd().split('\\n');
for (const line of lines) {
  const message = JSON.parse(Buffer.from(line, 'hex').toString('utf8'));
  const fields = Object.entries(message).map(([name, value]) => [name, ...tell(value)]);
  console.log(JSON.stringify(fields));
}
"""


def read_by_node(directory: Path, bodies: list[bytes]) -> list[dict[str, list[str]]]:
    """Return what `JSON.parse` makes of each body's fields."""
    output = run_node(directory, _SCRIPT, "\n".join(body.hex() for body in bodies))
    return [
        {name: [kind, content] for name, kind, content in json.loads(line)}
        for line in output.splitlines()
    ]


def as_double(value: JsonValue) -> list[str]:
    kind, content = told(value)
    if kind == "number":
        content = struct.pack(">d", float.fromhex(content)).hex()
    return [kind, content]


@pytest.mark.npm
def test_node_agrees(bodies: dict[bytes, JsonObject], tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("NOT COMPARED with JSON.parse: node is absent (package nodejs)")
    read = read_by_node(tmp_path, list(bodies))
    for (body, ours), theirs in zip(bodies.items(), read, strict=True):
        assert theirs == {name: as_double(value) for name, value in ours.items()}, body
