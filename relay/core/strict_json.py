"""Strict JSON parsing for signed messages, digests of parsed content, and minifying.

Parsers disagree about repeated keys, large numbers, NaN, byte order marks and half surrogate pairs.
A body that two readers could take differently is refused, and a number keeps the text it was
written in, so `10000.00` is never `10000.0`. The work is bounded by the limits below, and linear in
the size of the body.

Most bodies are parsed by orjson alone, which proves by writing its value again that the strict
parser would have returned the same.
"""

import hashlib
import json
import re
from math import isinf
from typing import Final, NoReturn

import orjson

from relay.core.errors import Reason, Refusal

# ---- parsing --------------------------------------------------------------------------------

MAX_DEPTH: Final = 64
MAX_KEYS: Final = 2000
#: Objects and arrays, however they are nested: of all elements they cost most.
MAX_CONTAINERS: Final = 2500
MAX_ELEMENTS: Final = 5000
MAX_DIGITS: Final = 64

# What a number holds besides digits: a sign, a point, an exponent mark and its sign.
_NUMBER_MARKS: Final = "-.eE+"
_MAX_MARKS: Final = 4


class Number:
    """A JSON number as it was written. Equal to a number of the same text, and to no string."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text: Final = text

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Number({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Number) and self.text == other.text

    def __hash__(self) -> int:
        return hash((Number, self.text))


JsonObject = dict[str, "JsonValue"]
#: A number is an int or a float only where writing it again gives the text it was written in;
#: `number_text` returns that text for all three.
JsonValue = JsonObject | list["JsonValue"] | str | Number | int | float | bool | None

# A whole string, or one that never ends. Taking the rest of the body then keeps a hostile one from
# being scanned again from every quotation mark in it; the possessive `*+` keeps no way back.
_STRING = re.compile(r'"(?:[^"\\]+|\\.)*+"?', re.DOTALL)
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_NO_BRACKETS = re.compile(r"[^]\[{}]+")


def parse(body: bytes) -> JsonValue:
    """Return the parsed body.

    Raises:
        Refusal: BODY_MALFORMED when it is not UTF-8 without a byte order mark, not JSON by
            RFC 8259, repeats a key in an object, holds half a surrogate pair, or exceeds a limit.
    """
    value = _parse_provably(body)
    return _parse_strictly(body) if value is None else value


def parse_object(body: bytes) -> JsonObject:
    """Return the parsed body, an object.

    Raises:
        Refusal: BODY_MALFORMED as `parse` does, and when it is not an object.
    """
    value = _parse_provably(body)
    if value is None:
        value = _parse_strictly(body)
    if not isinstance(value, dict):
        raise _malformed("not a JSON object")
    return value


def number_text(value: JsonValue) -> str | None:
    """Return a number as it was written; None for any other value."""
    if isinstance(value, Number):
        return value.text
    # A bool is an int to `isinstance`.
    if type(value) is int or type(value) is float:
        return orjson.dumps(value).decode("ascii")
    return None


# A body of this size has no room for too many keys or elements: they take five bytes and two.
_SHORT: Final = 4096
_BLANKS: Final = b" \t\r\n"

_SORTED: Final = orjson.OPT_SORT_KEYS

_loads = orjson.loads
_dumps = orjson.dumps
_sha256 = hashlib.sha256


def _parse_provably(body: bytes) -> JsonValue:
    """Return the value when it is proven to be that of `_parse_strictly`; None when it is not.

    orjson parses the body and writes the value again, and both texts are compared without blanks.
    JSON has blanks between tokens and spaces inside strings, so equal texts hold equal tokens but
    for spaces. Therefore no key was repeated (the value would have lost a member), every number
    stands as orjson writes it, and every string was decoded from the one spelling that orjson
    gives it. The limits are checked first, on counts that are never less than the strict parser's.
    """
    size = len(body)
    # Counted by what is left without them, which takes a fourth of the time of `count`.
    opened = 2 * size - len(body.replace(b"{", b"")) - len(body.replace(b"[", b""))
    if opened > MAX_DEPTH or (
        size > _SHORT and (body.count(b":") > MAX_KEYS or body.count(b",") > MAX_ELEMENTS)
    ):
        return None
    try:
        value: JsonValue = _loads(body)
    except ValueError:
        return None
    again = _dumps(value)
    if again == body or again.translate(None, _BLANKS) == body.translate(None, _BLANKS):
        return value
    return None


def _parse_strictly(body: bytes) -> JsonValue:
    """Return the parsed body, each number as a `Number`.

    Raises:
        Refusal: as `parse` does.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed(f"not UTF-8 at byte {error.start}") from None
    if text.startswith("\ufeff"):
        raise _malformed("begins with a byte order mark")
    if not _is_small(body):
        _check_size(_STRING.sub("", text))
    try:
        value: JsonValue = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise _malformed(f"not JSON: {error.msg} at character {error.pos}") from None
    if _SURROGATE_ESCAPE.search(text):
        _check_surrogates(value)
    return value


def content_digest(value: JsonValue) -> bytes:
    """Return a SHA-256 that is the same for bodies that parse alike, and differs otherwise.

    The order of keys and white space outside strings do not matter. Numbers compare as text.
    """
    return _sha256(_dumps(value, _as_written, _SORTED)).digest()


def dump(value: JsonValue) -> bytes:
    """Return a parsed value as compact JSON, each number as it was written."""
    return _dumps(value, _as_written)


def _as_written(number: Number) -> orjson.Fragment:
    return orjson.Fragment(number.text)


def _is_small(body: bytes) -> bool:
    """Return whether no limit could be exceeded even if every mark stood outside a string."""
    return (
        body.count(b":") <= MAX_KEYS
        and body.count(b",") <= MAX_ELEMENTS
        and body.count(b"{") + body.count(b"[") <= MAX_DEPTH
    )


def _check_size(skeleton: str) -> None:
    """Check depth, keys, containers and elements on the text without its strings.

    The parser recurses no deeper than the brackets before it, so it never meets more than this.
    """
    if skeleton.count(":") > MAX_KEYS:
        raise _malformed(f"more than {MAX_KEYS} keys")
    if skeleton.count(",") > MAX_ELEMENTS:
        raise _malformed(f"more than {MAX_ELEMENTS} elements")
    containers = skeleton.count("{") + skeleton.count("[")
    if containers > MAX_CONTAINERS:
        raise _malformed(f"more than {MAX_CONTAINERS} objects and arrays")
    if containers <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _NO_BRACKETS.sub("", skeleton):
        depth += 1 if bracket in "{[" else -1
        if depth > MAX_DEPTH:
            raise _malformed(f"deeper than {MAX_DEPTH} levels")
        if depth < 0:
            # Something closes that was never opened; the parser comes no further than this.
            return


def _check_surrogates(value: JsonValue) -> None:
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode("utf-8")
    except UnicodeEncodeError:
        raise _malformed("half a surrogate pair") from None


def _object(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _malformed("a key is repeated in one object")
    return found


def _number(text: str) -> Number:
    if len(text) > MAX_DIGITS and (
        len(text) > MAX_DIGITS + _MAX_MARKS
        or len(text) - sum(map(text.count, _NUMBER_MARKS)) > MAX_DIGITS
    ):
        raise _malformed(f"a number of more than {MAX_DIGITS} digits")
    # Some readers take such a number for infinity, and others refuse the body.
    if ("e" in text or "E" in text) and isinf(float(text)):
        raise _malformed("a number that is too large for a double")
    return Number(text)


def _constant(name: str) -> NoReturn:
    raise _malformed(f"{name} is not JSON")


def _malformed(detail: str) -> Refusal:
    return Refusal(Reason.BODY_MALFORMED, detail)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_number, parse_float=_number, parse_constant=_constant
)

# ---- minifying ------------------------------------------------------------------------------
# Nothing is parsed and nothing is written anew: numbers, escapes, repeated keys and the order of
# keys stay. A body that was signed after such a minification has to be read like this, since any
# parser that writes again would change some of them.

# What stays together: whole strings, and anything between them but white space as JSON knows it
# (RFC 8259, section 2). Every quantifier is possessive, so nothing is read twice. A string that
# never ends takes the rest of the body.
_KEPT = re.compile(rb'(?:[^ \t\r\n"]++|"(?:[^"\\]++|\\.)*+"?)++', re.DOTALL)


def minify(body: bytes) -> bytes:
    """Return the body without JSON's white space outside of strings.

    Any bytes are taken. Linear in the size of the body.
    """
    return b"".join(_KEPT.findall(body))


# ---- indenting, for people ------------------------------------------------------------------

_TOKEN = re.compile(r'[{}\[\],:]|"(?:[^"\\]++|\\.)*+"|[^{}\[\],:"]++')
_INDENT = "  "


def indented(body: bytes) -> str | None:
    """Return JSON with each member and element on a line of its own; None for what is no JSON.

    Numbers, escapes, repeated keys and the order of keys stay as they are written. What is nested
    deeper than `MAX_DEPTH` is None, too: its indents would be far longer than the body.
    """
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    pieces: list[str] = []
    depth = 0
    before = ""
    for token in _TOKEN.findall(minify(body).decode()):
        if token in {"}", "]"}:
            depth -= 1
        if (before in {"{", "["}) != (token in {"}", "]"}) or before == ",":
            pieces.append("\n" + _INDENT * depth)
        if token in {"{", "["}:
            depth += 1
            if depth > MAX_DEPTH:
                return None
        pieces.append(": " if token == ":" else token)  # noqa: S105 - of JSON
        before = token
    return "".join(pieces)
