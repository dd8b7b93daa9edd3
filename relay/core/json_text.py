"""JSON as it is written: bodies without one member, and with their keys sorted.

Numbers and escapes stay as they were written, and so does all else where a member is left out. A
writer of parsed values would change some of them, and with them what was signed. The work is linear
in the size of the body, and no step runs Python code for each value.
"""

import json
import re
from collections.abc import Sequence
from typing import Final

import orjson

from relay.core import strict_json
from relay.core.errors import Reason, Refusal
from relay.core.strict_json import JsonObject, JsonValue

#: Keys of a body with an escape in one of them: they are sorted by what they say.
_MAX_ESCAPED: Final = 2000

#: The largest body with an escape that is sorted: it is parsed once more.
MAX_SORTED: Final = 128 * 1024

#: Members of one name, wherever they stand, of which one is left out.
_MAX_NAMESAKES: Final = 1000

_BLANKS: Final = " \t\r\n"
_VALUE: Final = re.compile(r"[ \t\r\n]*+:[ \t\r\n]*+")

# ---- without a member -----------------------------------------------------------------------


def without(body: bytes, steps: Sequence[str]) -> bytes:
    """Return a body without one member, and without the comma beside it.

    body: strict JSON. It is returned as it is where it has no such member.
    steps: the names of the objects around it, and its own.

    Raises:
        Refusal: FIELD_INVALID when too many members have that name.
    """
    text = body.decode()
    start, end = 0, len(text)
    key = start
    for name in steps:
        found = _member(text, start, end, name)
        if found is None:
            return body
        key, start, end = found
    before = text[:key].rstrip(_BLANKS)
    if before.endswith(","):
        return (before[:-1] + text[end:]).encode()
    behind = text[end:].lstrip(_BLANKS)
    if behind.startswith(","):
        return (text[:key] + behind[1:].lstrip(_BLANKS)).encode()
    return (text[:key] + text[end:]).encode()


def _member(text: str, start: int, end: int, name: str) -> tuple[int, int, int] | None:
    """Return where the key of a member begins, and where its value begins and ends.

    start, end: of the value that holds it. None where that is no object, or holds no such member
    whose name is written without needless escapes.
    """
    if not text.startswith("{", start) and not text[start:end].lstrip(_BLANKS).startswith("{"):
        return None
    # The quote of a key stands behind no backslash.
    key = re.escape(json.dumps(name, ensure_ascii=False))
    depth, within, read = 0, False, start
    written = re.compile(rf"(?<!\\){key}[ \t\r\n]*+:")
    for number, found in enumerate(written.finditer(text, start, end)):
        if number == _MAX_NAMESAKES:
            raise Refusal(Reason.FIELD_INVALID, f"{name} is there more than {number} times")
        opened, quotes = _opened(text[read : found.start()], within=within)
        depth, within, read = depth + opened, within ^ (quotes % 2 == 1), found.start()
        if depth == 1 and not within:
            value = _VALUE.match(text, found.end() - 1).end()  # type: ignore[union-attr]
            return found.start(), value, _DECODER.raw_decode(text, value)[1]
    return None


def _opened(text: str, *, within: bool) -> tuple[int, int]:
    """Return how many more brackets a piece of JSON opens than it closes, and its quotes.

    within: it begins within a string. It ends with no backslash.
    """
    parts = text.replace("\\\\", "").replace('\\"', "").split('"')
    outside = "".join(parts[within::2])
    opened = outside.count("{") + outside.count("[")
    return opened - outside.count("}") - outside.count("]"), len(parts) - 1


#: Its numbers are not looked at.
_DECODER: Final = json.JSONDecoder(parse_int=str, parse_float=str)

# ---- with sorted keys -----------------------------------------------------------------------

# Instead of backslashes, control characters, which no string of JSON holds as they are. A string
# with them is the text between its quotes, and that is what is written again.
_MARKS: Final = (("\\\\", "\x01"), ('\\"', "\x02"), ("\\", "\x03"))
_MARKED_KEY: Final = re.compile(r'"[^"\x01-\x03]*+[\x01-\x03][^"]*+"[ \t\r\n]*+:')


def sorted_keys(body: bytes, value: JsonValue, left_out: Sequence[str] = ()) -> bytes:
    """Return compact JSON with the keys of each object in the order of their code points.

    body: strict JSON; value: what it was parsed to.
    left_out: the steps of a member that is left out.

    Raises:
        Refusal: FIELD_INVALID as `without` does, and when it is too large, or has too many keys,
            with an escape in one of them.
    """
    if b"\\" not in body:
        return strict_json.dump_sorted(_left_out(value, left_out) if left_out else value)
    if len(body) > MAX_SORTED:
        said = f"more than {MAX_SORTED} bytes, and an escape in one of its strings"
        raise Refusal(Reason.FIELD_INVALID, said)
    text = (without(body, left_out) if left_out else body).decode()
    for escape, mark in _MARKS:
        text = text.replace(escape, mark)
    hook = None
    if _MARKED_KEY.search(text):
        if text.count(":") > _MAX_ESCAPED:
            said = f"more than {_MAX_ESCAPED} keys, and escapes in some of them"
            raise Refusal(Reason.FIELD_INVALID, said)
        hook = _by_meaning
    decoder = json.JSONDecoder(
        object_hook=hook, parse_int=str.encode, parse_float=str.encode, strict=False
    )
    marked: JsonValue = decoder.decode(text)
    written = strict_json.dump_sorted(marked) if hook is None else strict_json.dump(marked)
    for escape, mark in _MARKS:
        written = written.replace(f"\\u{ord(mark):04x}".encode(), escape.encode())
    return written


def _left_out(value: JsonValue, steps: Sequence[str]) -> JsonValue:
    """Return a value without the member at these steps; the value itself stays as it is."""
    name, *inner = steps
    if not isinstance(value, dict) or name not in value:
        return value
    if inner:
        return value | {name: _left_out(value[name], inner)}
    return {key: each for key, each in value.items() if key != name}


def _by_meaning(found: JsonObject) -> JsonObject:
    """Return an object whose keys hold marks, sorted by what the keys say."""
    said = []
    for key in found:
        plain = key
        for escape, mark in _MARKS:
            plain = plain.replace(mark, escape)
        said.append(orjson.loads(f'"{plain}"'))
    return {key: found[key] for _, key in sorted(zip(said, found, strict=True))}
