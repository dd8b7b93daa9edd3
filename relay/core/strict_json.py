"""Strict JSON parsing for signed messages, digests of parsed content, and minifying.

Parsers disagree about repeated keys, large numbers, NaN, byte order marks and half surrogate pairs.
A body that two readers could take differently is refused, and a number keeps the text it was
written in, so `10000.00` is never `10000.0`. The work is bounded by `JsonLimits`, and linear in the
size of the body; no step of it runs Python code for each value but the largest: one call for each
object.

Most bodies are parsed by orjson alone, which proves by writing its value again that the strict
parser would have returned the same.
"""

import hashlib
import json
import re
from array import array
from collections.abc import Callable
from itertools import accumulate
from typing import Final, NoReturn

import orjson

from relay.core.errors import Reason, Refusal

# ---- limits ---------------------------------------------------------------------------------

MAX_DEPTH: Final = 64
#: The writer of content digests goes no deeper than 254.
MAX_CONFIGURED_DEPTH: Final = 200
MAX_DIGITS: Final = 64

#: One key, element or container is taken for each so many bytes of the largest body.
_BYTES_EACH: Final = 12

#: Of a larger one no more are taken than of this one, unless it is asked for: some providers are
#: verified by what their message says, so that a stranger's body is parsed, and the densest one of
#: this size holds up the event loop for some 7 ms.
_DENSE: Final = 256 * 1024

#: Taken in any case: this many cost nothing worth a limit.
_MIN_KEYS: Final = 2000
_MIN_ELEMENTS: Final = 5000


class JsonLimits:
    """How much JSON one body may hold: keys, elements, containers (objects and arrays), depth.

    Elements are counted by the commas, those of objects included.
    """

    __slots__ = ("brackets", "containers", "depth", "elements", "keys", "short")

    def __init__(
        self,
        body: int,
        keys: int | None = None,
        elements: int | None = None,
        depth: int = MAX_DEPTH,
    ) -> None:
        """Take the largest body in bytes, and what is set besides. Containers count as elements."""
        share = min(body, _DENSE) // _BYTES_EACH
        self.keys = max(share, _MIN_KEYS) if keys is None else keys
        self.elements = self.containers = (
            max(share, _MIN_ELEMENTS) if elements is None else elements
        )
        self.depth = depth
        # Bodies of this size have no room for too many: a key takes five bytes and an element two.
        self.short = min(5 * self.keys, 2 * self.elements)
        # So many brackets are neither too many nor too deep, wherever they stand.
        self.brackets = min(self.containers, depth)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JsonLimits) and self._values == other._values

    def __hash__(self) -> int:
        return hash(self._values)

    @property
    def _values(self) -> tuple[int, int, int]:
        return self.keys, self.elements, self.depth


#: Those of the largest body that is taken by default.
DEFAULT_LIMITS: Final = JsonLimits(_DENSE)

#: Those of what has been taken before, whatever the limits of its endpoint are.
TAKEN: Final = JsonLimits(2**30, depth=MAX_CONFIGURED_DEPTH)

# ---- parsing --------------------------------------------------------------------------------

#: A JSON number, as the bytes it was written in: so none equals a string. No other value is bytes.
Number = bytes

JsonObject = dict[str, "JsonValue"]
#: A number is an int or a float only where writing it again gives the text it was written in;
#: `number_text` returns that text for all three.
JsonValue = JsonObject | list["JsonValue"] | str | Number | int | float | bool | None


def parse(body: bytes, limits: JsonLimits = DEFAULT_LIMITS) -> JsonValue:
    """Return the parsed body.

    Raises:
        Refusal: BODY_MALFORMED when it is not UTF-8 without a byte order mark, not JSON by
            RFC 8259, repeats a key in an object, holds half a surrogate pair, or exceeds a limit.
    """
    value = _parse_provably(body, limits)
    return _parse_strictly(body, limits) if value is None else value


def parse_object(body: bytes, limits: JsonLimits = DEFAULT_LIMITS) -> JsonObject:
    """Return the parsed body, an object.

    Raises:
        Refusal: BODY_MALFORMED as `parse` does, and when it is not an object.
    """
    value = _parse_provably(body, limits)
    if value is None:
        value = _parse_strictly(body, limits)
    if not isinstance(value, dict):
        raise _malformed("not a JSON object")
    return value


def number_text(value: JsonValue) -> str | None:
    """Return a number as it was written; None for any other value."""
    if type(value) is bytes:
        return value.decode("ascii")
    # A bool is an int to `isinstance`.
    if type(value) is int or type(value) is float:
        return orjson.dumps(value).decode("ascii")
    return None


#: A larger body costs too much to be parsed twice where the proof fails.
_MAX_PROVEN: Final = 64 * 1024

_BLANKS: Final = b" \t\r\n"

_SORTED: Final = orjson.OPT_SORT_KEYS

_loads = orjson.loads
_dumps = orjson.dumps
_sha256 = hashlib.sha256
#: Writes a `Number` as it is.
_as_written = orjson.Fragment


def _parse_provably(body: bytes, limits: JsonLimits = DEFAULT_LIMITS) -> JsonValue:
    """Return the value when it is proven to be that of `_parse_strictly`; None when it is not.

    orjson parses the body and writes the value again, and both texts are compared without blanks.
    JSON has blanks between tokens and spaces inside strings, so equal texts hold equal tokens but
    for spaces. Therefore no key was repeated (the value would have lost a member), every number
    stands as orjson writes it, and every string was decoded from the one spelling that orjson
    gives it. The limits are checked first, on counts that are never less than the strict parser's.
    """
    size = len(body)
    if size > _MAX_PROVEN:
        return None
    # Counted by what is left without them, which takes a fourth of the time of `count`.
    opened = 2 * size - len(body.replace(b"{", b"")) - len(body.replace(b"[", b""))
    if opened > limits.brackets or (
        size > limits.short
        and (body.count(b":") > limits.keys or body.count(b",") > limits.elements)
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


def _parse_strictly(body: bytes, limits: JsonLimits = DEFAULT_LIMITS) -> JsonValue:
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
    skeleton = _without_strings(body)
    _check_size(skeleton, limits)
    _check_digits(skeleton)
    members: list[int] = []
    value = _decode(text, members.append)
    if sum(members) != skeleton.count(b":"):
        # As many colons as members: a key that is repeated has lost one.
        raise _malformed("a key is repeated in one object")
    if (_LARGE_EXPONENT.search(skeleton) or _SURROGATE_ESCAPE.search(text)) and not _fits(body):
        raise _unfit(value)
    return value


def _decode(text: str, on_object: Callable[[int], None]) -> JsonValue:
    """Return what the standard library's parser makes of a text whose size has been checked.

    on_object: called with the number of members of each object.
    """

    def counted(found: JsonObject) -> JsonObject:
        on_object(len(found))
        return found

    decoder = json.JSONDecoder(
        object_hook=counted, parse_int=str.encode, parse_float=str.encode, parse_constant=_constant
    )
    try:
        value: JsonValue = decoder.decode(text)
    except json.JSONDecodeError as error:
        raise _malformed(f"not JSON: {error.msg} at character {error.pos}") from None
    return value


def content_digest(value: JsonValue) -> bytes:
    """Return a SHA-256 that is the same for bodies that parse alike, and differs otherwise.

    The order of keys and white space outside strings do not matter. Numbers compare as text.
    """
    return _sha256(_dumps(value, _as_written, _SORTED)).digest()


def dump(value: JsonValue) -> bytes:
    """Return a parsed value as compact JSON, each number as it was written."""
    return _dumps(value, _as_written)


def dump_sorted(value: JsonValue) -> bytes:
    """Return a parsed value as `dump` does, the keys of each object in order of code points."""
    return _dumps(value, _as_written, _SORTED)


# ---- checks before a body is parsed ---------------------------------------------------------

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")

# Tables for `bytes.translate`. One step each takes a tenth of the time of looking at each byte.
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEPS: Final = bytes(1 if chr(each) == "[" else 255 for each in range(256))
_NUMBER_MARKS: Final = b".eE+-"
_DIGITS: Final = bytes(ord("0") if chr(each).isdecimal() else ord(" ") for each in range(256))

#: An exponent by which a number of `MAX_DIGITS` digits may be too large for a double.
_LARGE_EXPONENT: Final = re.compile(rb"[eE]\+?0*(?:[2-9][0-9]{2}|[1-9][0-9]{3})")

#: Levels of brackets that are removed one by one before the rest is counted: few are deeper.
_USUAL_DEPTH: Final = 4


def _without_strings(body: bytes) -> bytes:
    """Return the body without its strings.

    It is so of all that comes before the first mistake, and a parser comes no further.
    """
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(body.split(b'"')[::2])


def _check_size(skeleton: bytes, limits: JsonLimits) -> None:
    """Check depth, keys, containers and elements on the text without its strings.

    The parser recurses no deeper than the brackets before it, so it never meets more than this.
    """
    if skeleton.count(b":") > limits.keys:
        raise _malformed(f"more than {limits.keys} keys")
    if skeleton.count(b",") > limits.elements:
        raise _malformed(f"more than {limits.elements} elements")
    containers = skeleton.count(b"{") + skeleton.count(b"[")
    if containers > limits.containers:
        raise _malformed(f"more than {limits.containers} objects and arrays")
    if containers > limits.depth:
        _check_depth(skeleton.translate(None, _NO_BRACKETS), limits.depth)


def _check_depth(brackets: bytes, most: int) -> None:
    """Check how deep these brackets are, up to the first that closes what was never opened.

    The parser comes no further than that.
    """
    depth = 0
    brackets = brackets.replace(b"{", b"[").replace(b"}", b"]")
    while brackets and depth < _USUAL_DEPTH:
        # The innermost pairs, all at once: one level less.
        brackets = brackets.replace(b"[]", b"")
        depth += 1
    depths = list(accumulate(array("b", brackets.translate(_STEPS))))
    if -1 in depths:
        del depths[depths.index(-1) :]
    if depth + max(depths, default=0) > most:
        raise _malformed(f"deeper than {most} levels")


def _check_digits(skeleton: bytes) -> None:
    """Check the number of digits of every number on the text without its strings."""
    # Without what else it holds, the digits of a number stand side by side, and no other's.
    if b"0" * (MAX_DIGITS + 1) in skeleton.translate(_DIGITS, _NUMBER_MARKS):
        raise _malformed(f"a number of more than {MAX_DIGITS} digits")


def _fits(body: bytes) -> bool:
    """Return whether orjson takes a body that was parsed.

    It refuses half surrogate pairs, and numbers that are too large for a double: some readers take
    those for infinity.
    """
    try:
        _loads(body)
    except ValueError:
        return False
    return True


def _unfit(value: JsonValue) -> Refusal:
    """Return what is said of a value that does not fit."""
    try:
        _dumps(value, _as_written)
    except TypeError:
        return _malformed("half a surrogate pair")
    return _malformed("a number that is too large for a double")


def _constant(name: str) -> NoReturn:
    raise _malformed(f"{name} is not JSON")


def _malformed(detail: str) -> Refusal:
    return Refusal(Reason.BODY_MALFORMED, detail)


# ---- minifying ------------------------------------------------------------------------------
# Nothing is parsed and nothing is written anew: numbers, escapes, repeated keys and the order of
# keys stay. A body that was signed after such a minification has to be read like this, since any
# parser that writes again would change some of them.

# What stays together: whole strings, and anything between them but white space as JSON knows it
# (RFC 8259, section 2). Every quantifier is possessive, so nothing is read twice. A string that
# never ends takes the rest of the body. White space is taken in one piece, for each try costs.
_KEPT = re.compile(rb'((?:[^ \t\r\n"]++|"(?:[^"\\]++|\\.)*+"?)++)|[ \t\r\n]++', re.DOTALL)


_ESCAPE = re.compile(rb"[\\\xfe\xff]")


def minify(body: bytes) -> bytes:
    """Return the body without JSON's white space outside of strings.

    Any bytes are taken. Linear in the size of the body.
    """
    if b"\\" not in body:
        return _joined(body.split(b'"'))
    if b"\xfe" not in body and b"\xff" not in body:
        # No text in UTF-8 holds these two bytes.
        parts = body.replace(b"\\\\", b"\xfe").replace(b'\\"', b"\xff").split(b'"')
        if not _ESCAPE.search(b"".join(parts[::2])):
            return _joined(parts).replace(b"\xff", b'\\"').replace(b"\xfe", b"\\\\")
    # Something looks like an escape outside of strings, and is none.
    return b"".join(_KEPT.findall(body))


def _joined(parts: list[bytes]) -> bytes:
    """Return the body of these parts, every other one a string, without white space between."""
    parts[::2] = b'"'.join(parts[::2]).translate(None, _BLANKS).split(b'"')
    return b'"'.join(parts)


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
