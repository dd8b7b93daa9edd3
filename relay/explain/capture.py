"""A captured request, read as the edge reads it: the file, its PROXY header, the edge's reader."""

import asyncio
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from typing import Final

from aiohttp.web import BaseRequest, StreamResponse

from relay.core.errors import Reason, Refusal
from relay.core.request import Ack, Address, Headers, IngestResult, Verdict, Via
from relay.edge.connections import Connections, PeerInfo
from relay.edge.framing import Framing
from relay.edge.protocol import EdgeServer, to_response
from relay.edge.proxy_protocol import (
    ProxyHeader,
    ProxyHeaderInvalid,
    bytes_missing,
    is_proxy_header,
)
from relay.edge.proxy_protocol import parse as parse_header
from relay.edge.slow_path import BodyLimits, headers_of
from relay.providers.answers import plain_answer

# ---- the PROXY header -----------------------------------------------------------------------
# Read by the edge's own reader. It says whose connection it is, so it stands for `--peer`.

#: Stands in for a peer that nobody knows.
NOBODY: Final = ip_address("0.0.0.0")  # noqa: S104 - nobody listens here

_UNTRUSTED = "from an address that is not in trusted_proxies"


@dataclass(frozen=True, slots=True)
class Opening:
    """A PROXY header. `header` is what it says; None where `problem` says why it is none."""

    raw: bytes = field(repr=False)
    header: ProxyHeader | None
    problem: str = ""

    @property
    def lines(self) -> int:
        """How many lines of the file it takes."""
        return self.raw.count(b"\n")


def split(data: bytes) -> tuple[Opening | None, bytes]:
    """Return the PROXY header that these bytes begin with, if they do, and what follows it.

    A line of version 1 may end with LF alone, as an editor leaves it.
    """
    if not is_proxy_header(data) or _request_line(data):
        return None, data
    line, end, rest = data.partition(b"\n")
    if data.startswith(b"PROXY ") and end and not line.endswith(b"\r"):
        data = line + b"\r\n" + rest
    raw = b""
    try:
        while (more := bytes_missing(raw)) and len(raw) < len(data):
            raw = data[: len(raw) + more]
        return Opening(raw, parse_header(raw)), data[len(raw) :]
    except ProxyHeaderInvalid as invalid:
        return Opening(raw, None, str(invalid)), data[len(raw) :]


def peer_info_of(
    opening: Opening | None, peer: Address | None, trusts: Callable[[Address], bool]
) -> PeerInfo:
    """Return whose connection it is; `NOBODY`'s where nothing says so.

    peer: who connected: with a PROXY header the proxy, which is trusted when it is not known.

    Raises:
        Refusal: PROXY_HEADER_INVALID; the connection is closed.
    """
    if opening is None:
        return PeerInfo(peer or NOBODY)
    if peer is not None and not trusts(peer):
        raise Refusal(Reason.PROXY_HEADER_INVALID, _UNTRUSTED)
    if opening.header is None:
        raise Refusal(Reason.PROXY_HEADER_INVALID, opening.problem)
    if opening.header.source is None:
        return PeerInfo(peer or NOBODY, forwards=False)
    return PeerInfo(opening.header.source, Via.PROXY)


def told(opening: Opening) -> str:
    """Say whose connection a valid header makes it."""
    if opening.header is None or opening.header.source is None:
        return "names no client: the proxy speaks for itself"
    return f"{opening.header.source} connected to the proxy; --peer is the proxy's own address"


def _request_line(data: bytes) -> bool:
    """Tell whether the first line is a request's with the odd method PROXY."""
    words = data.partition(b"\n")[0].split()
    return bool(words) and words[-1].startswith(b"HTTP/")


# ---- the file -------------------------------------------------------------------------------
# Captures lose things that a connection has. What can be mended without guessing is, and said. What
# the relay itself would not read is not judged here: the edge's own reader does that.

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


# ---- the edge's reader ----------------------------------------------------------------------
# The connection is a pair of sockets within this process. Nothing else could agree with the edge on
# every malformed request.

#: Nobody waits here: all is there at once, and behind it is the end.
_WITHIN: Final = timedelta(seconds=10)

_NOTHING: Final = plain_answer(IngestResult(Verdict.UNAVAILABLE))


@dataclass(frozen=True, slots=True)
class Reading:
    """A request whose head could be read. `body` is None where `problem` says why."""

    method: str
    target: str
    headers: Headers
    body: bytes | None = field(repr=False)
    problem: Refusal | None = None


async def read(raw: bytes, *, most: int) -> Reading:
    """Return what the edge makes of these bytes, when they are all that comes.

    most: bytes of a body.

    Raises:
        Refusal: the head cannot be read; no endpoint ever sees the request.
    """
    loop = asyncio.get_running_loop()
    reader = _Reader(BodyLimits(size=most, timeout=_WITHIN), loop.create_future())
    server = EdgeServer(
        reader.handle,
        connections=Connections(total=1, per_address=1, shares_address=lambda _: False),
        errors=reader,
        header_timeout=_WITHIN.total_seconds(),
        drain_limit=0,
        keepalive=0.0,
        linger=0.0,
    )
    sender, receiver = socket.socketpair()
    sender.setblocking(False)
    with sender:
        await loop.connect_accepted_socket(lambda: server(PeerInfo(NOBODY)), receiver)
        sending = loop.create_task(_send(sender, raw, reader))
        try:
            found = await reader.found
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await server.shutdown(0)
    if isinstance(found, Refusal):
        raise found
    return found


async def _send(sender: socket.socket, raw: bytes, reader: "_Reader") -> None:
    await asyncio.get_running_loop().sock_sendall(sender, raw)
    # An end that comes before the head was taken would leave nothing to tell.
    await reader.begun.wait()
    sender.shutdown(socket.SHUT_WR)


class _Reader:
    """What the edge serves, and its `ConnectionErrors`: keeps the first request or refusal."""

    def __init__(self, body: BodyLimits, found: asyncio.Future[Reading | Refusal]) -> None:
        self.begun = asyncio.Event()
        self.found = found
        self._body = body

    async def handle(self, request: BaseRequest) -> StreamResponse:
        self.begun.set()
        body, problem = None, None
        try:
            body = await self._body.read(request)
        except Refusal as refusal:
            problem = refusal
        told = Reading(request.method, request.raw_path, headers_of(request), body, problem)
        self._tell(told)
        return to_response(_NOTHING)

    def refuse(self, _: Address, refusal: Refusal) -> Ack:
        self._tell(refusal)
        return _NOTHING

    def fault(self, _: Address, error: BaseException | None) -> Ack:
        if not self.found.done():
            self.found.set_exception(error or RuntimeError("the edge failed, and does not say why"))
        return _NOTHING

    def _tell(self, found: Reading | Refusal) -> None:
        self.begun.set()
        if not self.found.done():
            self.found.set_result(found)
