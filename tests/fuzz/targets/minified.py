"""The minifier: white space between tokens goes, and nothing else."""

import json

from relay.core.strict_json import minify

SEEDS = (
    b'{ "a b" : " c " , "d" : [ 1 , 2.50 ] }',
    b'{"a\\" b" : "c\\\\" , "d"\t:\r\n1}',
    b'{"a":1,"a": 2}',
    b'["never closed , ',
    b'"a\\',
    b' \\" a " b',
    b"\xef\xbb\xbf { }",
    '"\u2028 \u00a0" \u00a0'.encode(),
)
WORDS = (b'"', b'\\"', b"\\\\", b"\\", b" ", b"\t", b"\r\n", b'": "', b"\x0b", b"\xc2\xa0", b"{}")


def check(data: bytes) -> None:
    """Minify, and look at both."""
    minified = minify(data)
    assert minify(minified) == minified
    assert minified == _slowly(data)
    assert _strings(minified) == _strings(data)
    before = _meaning(data)
    if before is not None:
        assert _meaning(minified) == before


def _slowly(data: bytes) -> bytes:
    """Do the same one byte at a time."""
    kept, inside, escaped = bytearray(), False, False
    for byte in data:
        if not inside and byte in b" \t\r\n":
            continue
        kept.append(byte)
        if escaped:
            escaped = False
        elif inside and byte == ord("\\"):
            escaped = True
        elif byte == ord('"'):
            inside = not inside
    return bytes(kept)


def _strings(data: bytes) -> list[bytes]:
    """Return the strings as they are written, the last one perhaps without its end."""
    found: list[bytes] = []
    at = data.find(b'"')
    while at >= 0:
        end = at + 1
        while end < len(data) and data[end : end + 1] != b'"':
            end += 2 if data[end : end + 1] == b"\\" else 1
        found.append(data[at : end + 1])
        at = data.find(b'"', end + 1)
    return found


def _meaning(data: bytes) -> object:
    """Return what is said, numbers as they are written and repeated keys too; None if nothing."""
    try:
        said = json.loads(data.decode(), object_pairs_hook=tuple, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None
    return (said,)
