"""A captured request: raw HTTP/1.1 in a file, as a proxy, tcpdump or a person wrote it down.

Captures lose things that a connection has. What can be mended without guessing is, and said. What
the relay itself would not read is not judged here: the edge's own reader does that.
"""

import re
from dataclasses import dataclass, field

from relay.edge.framing import Framing
from relay.explain.opening import Opening, split

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*([0-9]+)[ \t]*\r$")
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")

#: How a request begins that may be broken in any way, but is meant as one.
_METHOD = re.compile(rb"\s*[A-Za-z]+\s")
_CURL = (b"> ", b"< ", b"* ")


class Malformed(ValueError):
    """The file holds no request. `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Captured:
    """A request from a file.

    raw: what would come over a connection. rest: what of it stands behind the head.
    notes: what was mended. opening: the PROXY header before all that, where there is one.
    """

    raw: bytes = field(repr=False)
    rest: bytes = field(repr=False)
    notes: tuple[str, ...]
    opening: Opening | None = None


def parse(data: bytes) -> Captured:
    """Return the request in these bytes, however broken it is.

    Raises:
        Malformed: it is no request at all; the message says what to write.
    """
    opening, data = split(data)
    if opening is not None and opening.header is None:
        # Nobody knows where it ends, and a connection ends with it.
        return Captured(data, data, (), opening)
    _check(data, 0 if opening is None else opening.lines)
    notes: list[str] = []
    head, rest = _split(data, notes)
    framing = Framing()
    framing.feed(head)
    if framing.problem is None:
        head, rest = _bounded(head, rest, framing, notes)
    return Captured(head + rest, rest, tuple(notes), opening)


def line_at_fault(raw: bytes) -> int | None:
    """Return the line of the head, from 1 on, that the edge does not read; None for no one line."""
    framing = Framing()
    for number, line in enumerate(_LINE.findall(raw), 1):
        framing.feed(line)
        if framing.problem is not None:
            return number if line.strip() else None
        if framing.heads:
            return None
    return None


def _check(data: bytes, before: int) -> None:
    """Refuse what was not meant as a request. `before`: lines of a PROXY header."""
    number = before + 1
    if not data.strip():
        what = "nothing follows the PROXY header" if before else "the file is empty"
        raise Malformed(number, f"{what}; it has to hold a request: POST /path HTTP/1.1 …")
    first = data.split(b"\n", 1)[0]
    text = first.rstrip(b"\r").decode("utf-8", "replace")
    if first.startswith(_CURL):
        hint = "leave out the marks that curl puts before each line"
        raise Malformed(number, f"not a request line; write METHOD /path HTTP/1.1; {hint}")
    # Bytes of another protocol can come over a connection; a file of text was a mistake.
    if _METHOD.match(data) is None and text.isprintable() and "\ufffd" not in text:
        raise Malformed(number, "not a request line; write METHOD /path HTTP/1.1")


def _split(data: bytes, notes: list[str]) -> tuple[bytes, bytes]:
    """Return the head, with its blank line and the ends that lines have on a connection."""
    end = _HEAD_END.search(data)
    if end is None:
        notes.append("no blank line ends the head; all of the file is taken for it")
        head, rest = data.rstrip(b"\r\n"), b""
        head += b"\n\n" if b"\n" in head and b"\r" not in head else b"\r\n\r\n"
    else:
        head, rest = data[: end.end()], data[end.end() :]
    if b"\r" not in head:
        # An editor's doing. A mixture is not, and no two readers take it alike.
        notes.append("lines of its head end with LF alone; read as CRLF")
        head = head.replace(b"\n", b"\r\n")
    return head, rest


def _bounded(head: bytes, rest: bytes, framing: Framing, notes: list[str]) -> tuple[bytes, bytes]:
    """Return the head and the body that belongs to it. `framing`: has read the head."""
    announced = _LENGTH.search(head)
    if announced is not None:
        length = int(announced[1])
        if len(rest) < length:
            notes.append(
                f"Content-Length says {length} bytes, and {len(rest)} are there: it is cut off"
            )
        return head, _cut(rest, length, notes)
    if framing.in_body:
        end = _end_of_chunks(rest, framing)
        if end is None:
            notes.append("its last chunk is missing: the body is cut off")
            return head, rest
        return head, _cut(rest, end, notes)
    if not rest.strip(b"\r\n"):
        return head, _cut(rest, 0, notes)
    notes.append("it has no Content-Length; all that follows the head is taken for its body")
    return head[:-2] + b"Content-Length: %d\r\n\r\n" % len(rest), rest


def _end_of_chunks(rest: bytes, framing: Framing) -> int | None:
    """Return how long the body is, with all there is where it is broken; None if it is cut off."""
    length = 0
    for line in _LINE.findall(rest):
        framing.feed(line)
        length += len(line)
        if framing.problem is not None:
            return len(rest)
        if not framing.in_body:
            return length
    return None


def _cut(rest: bytes, length: int, notes: list[str]) -> bytes:
    left = rest[length:]
    if left:
        what = "bytes" if left.strip(b"\r\n") else "bytes of line ends"
        notes.append(f"{len(left)} {what} behind its body are left out")
    return rest[:length]
