"""A captured request: raw HTTP/1.1 in a file, as a proxy, tcpdump or a person wrote it down.

Captures lose things that a connection has. What can be mended without guessing is, and said; what
the relay itself would not read is left for it to refuse.
"""

import re
from dataclasses import dataclass, field

import httptools

from relay.model import Headers

_REQUEST_LINE = re.compile(rb"[A-Z]+ \S+ HTTP/1\.[01]")
_HEAD_END = re.compile(rb"\r?\n\r?\n")


class Malformed(ValueError):
    """The file holds no request. `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Captured:
    """A request from a file. notes: what was mended. raw: what would come over a connection."""

    method: str
    target: str
    headers: Headers
    body: bytes = field(repr=False)
    notes: tuple[str, ...]
    raw: bytes = field(repr=False)


def parse(data: bytes) -> Captured:
    """Return the request in these bytes.

    Raises:
        Malformed: it cannot be read; the message says what to write.
    """
    notes: list[str] = []
    head, rest = _split(data, notes)
    _check(head)
    parsed = _Parsed()
    parser = httptools.HttpRequestParser(parsed)
    try:
        parser.feed_data(head)
        body = _body(parsed, parser, rest, notes)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
        said = str(error) or type(error).__name__
        raise Malformed(1, f"not a request that can be parsed: {said}") from None
    return Captured(
        method=parser.get_method().decode("ascii"),
        target=parsed.target.decode("latin-1"),
        headers=Headers(tuple(parsed.fields)),
        body=body,
        notes=tuple(notes),
        raw=head + (rest if parsed.chunked else body),
    )


class _Parsed:
    """What the parser tells."""

    def __init__(self) -> None:
        self.target = b""
        self.fields: list[tuple[str, str]] = []
        self.body = b""
        self.ended = False

    def on_url(self, part: bytes) -> None:
        self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        self.ended = True

    @property
    def chunked(self) -> bool:
        return "chunked" in ",".join(Headers(tuple(self.fields)).values("Transfer-Encoding"))


def _split(data: bytes, notes: list[str]) -> tuple[bytes, bytes]:
    """Return the head, with its blank line and the ends that lines have on a connection."""
    if not data.strip():
        raise Malformed(1, "the file is empty; it has to hold a request: POST /path HTTP/1.1 …")
    end = _HEAD_END.search(data)
    if end is None:
        notes.append("no blank line ends the head; all of the file is taken for it")
        head, rest = data.rstrip(b"\r\n"), b""
    else:
        head, rest = data[: end.start()], data[end.end() :]
    lines = head.replace(b"\r\n", b"\n").split(b"\n")
    if b"\n" in head.replace(b"\r\n", b"") or (end is not None and b"\r" not in end[0]):
        notes.append("lines of its head end with LF alone; read as CRLF")
    return b"\r\n".join(lines) + b"\r\n\r\n", rest


def _check(head: bytes) -> None:
    lines = head[:-4].split(b"\r\n")
    if not _REQUEST_LINE.fullmatch(lines[0]):
        hint = ""
        if lines[0].startswith((b"> ", b"< ")):
            hint = "; leave out the marks that curl puts before each line"
        raise Malformed(1, f"not a request line; write METHOD /path HTTP/1.1{hint}")
    for number, line in enumerate(lines[1:], 2):
        if b":" not in line:
            raise Malformed(number, "not a header field; write Name: value")


def _body(
    parsed: _Parsed, parser: httptools.HttpRequestParser, rest: bytes, notes: list[str]
) -> bytes:
    if parsed.chunked:
        parser.feed_data(rest)
        if not parsed.ended:
            notes.append("its last chunk is missing: the body is cut off")
        return parsed.body
    announced = Headers(tuple(parsed.fields)).values("Content-Length")
    if not announced:
        if rest:
            notes.append(
                "it has no Content-Length; all that follows the head is taken for its body"
            )
        return rest
    length = int(announced[0])
    if len(rest) < length:
        notes.append(
            f"Content-Length says {length} bytes, and {len(rest)} are there: it is cut off"
        )
    if len(rest) > length:
        what = "line ends" if not rest[length:].strip(b"\r\n") else "bytes"
        notes.append(f"{len(rest) - length} {what} behind its body are left out")
    return rest[:length]
