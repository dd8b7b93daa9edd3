"""Bodies that a received one may have been on its way: what proxies and editors do, undone.

Pure. Each comes with what was done to it, as the end of "it fits the body …".
"""

import gzip
import html
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from typing import Any, Final

from relay.core.strict_json import minify

#: Longer bodies are not written anew, and no more than this is unpacked: a thread that parses holds
#: up the others.
_MAX_REWRITTEN: Final = 256 * 1024

_GZIP: Final = b"\x1f\x8b"

#: Hexadecimal digests have at least so many digits.
_MIN_DIGEST: Final = 32

_STATUS_CODE: Final = len("200")


def rewritten(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what was done, and the body undone, the likeliest first; some are equal to it."""
    if len(body) > _MAX_REWRITTEN:
        return
    yield "without the line ends behind it", body.rstrip(b"\r\n")
    yield "with a line end behind it", body + b"\n"
    yield "with LF line ends", body.replace(b"\r\n", b"\n")
    yield "with CRLF line ends", body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    yield "without its byte order mark", body.removeprefix(b"\xef\xbb\xbf")
    yield from _recoded(body)
    yield "without white space between its tokens", minify(body)
    yield "with its &amp; and the like as the characters they stand for", _unescaped(body)
    # What is nested deeply may be read, and not written.
    with suppress(RecursionError):
        yield from _written_anew(body)


def looks_packed(body: bytes) -> bool:
    """Return whether a body is packed with gzip."""
    return body.startswith(_GZIP)


def _recoded(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield it in other encodings: packed, or of another character set."""
    if looks_packed(body):
        try:
            with gzip.GzipFile(fileobj=BytesIO(body)) as packed:
                yield "unpacked from gzip", packed.read(_MAX_REWRITTEN)
        except (OSError, EOFError, zlib.error):
            return
    for charset in ("latin-1", "cp1252", "utf-16"):
        try:
            yield f"read as {charset} and written as UTF-8", body.decode(charset).encode()
            yield f"read as UTF-8 and written as {charset}", body.decode().encode(charset)
        except UnicodeError:
            continue


def _unescaped(body: bytes) -> bytes:
    if b"&" not in body:
        return body
    return html.unescape(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _written_anew(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield it as other writers of JSON write it, and with single fields as they may have been."""
    try:
        read: Any = json.loads(body)
        texts: Any = json.loads(body, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        return
    for separators, spaced in (((",", ":"), "compact"), ((", ", ": "), "with blanks")):
        for escaped in (False, True):
            written = _dumps(read, separators, escaped=escaped)
            how = f"written anew, {spaced}" + (", with \\u escapes" if escaped else "")
            yield how, written
            yield how + ", with \\/ for /", written.replace(b"/", b"\\/")
    yield "written anew, its fields sorted", _dumps(read, (",", ":"), sort=True)
    yield "written anew, indented by 2", _dumps(read, (",", ": "), indent=2)
    yield "with its numbers as strings", _dumps(texts, (",", ":"))
    if isinstance(texts, dict):
        for hint, change in _CHANGES:
            changed = {name: change(value) for name, value in texts.items()}
            if changed != texts:
                yield hint, _dumps(changed, (",", ":"))


def _dumps(
    value: object,
    separators: tuple[str, str],
    *,
    escaped: bool = False,
    sort: bool = False,
    indent: int | None = None,
) -> bytes:
    written = json.dumps(
        value, separators=separators, ensure_ascii=escaped, sort_keys=sort, indent=indent
    )
    return written.encode("utf-8", "surrogatepass")


def _with_cents(value: object) -> object:
    # A status code has three digits, and is no amount.
    amount = isinstance(value, str) and value.isdigit() and len(value) > _STATUS_CODE
    return f"{value}.00" if amount else value


def _without_cents(value: object) -> object:
    return value.removesuffix(".00") if isinstance(value, str) else value


def _lower_digest(value: object) -> object:
    if not isinstance(value, str) or len(value) < _MIN_DIGEST:
        return value
    lower = value.lower()
    return lower if set(lower) <= set("0123456789abcdef") else value


def _stripped(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


_CHANGES: Final[tuple[tuple[str, Callable[[object], object]], ...]] = (
    ("with its amounts with .00", _with_cents),
    ("with its amounts without .00", _without_cents),
    ("with its hexadecimal signature in lower case", _lower_digest),
    ("without blanks around its values", _stripped),
)
