"""Parse a captured request as the edge does: its PROXY header, the file, the edge's own reader."""

import asyncio
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from typing import Final

from aiohttp.web import BaseRequest, StreamResponse

from relay.core.clock import SystemClock
from relay.core.content_coding import is_gzip
from relay.core.errors import Reason, Refusal
from relay.core.request import Ack, Address, Headers, IngestResult, Verdict, Via
from relay.edge.answers import to_response
from relay.edge.connections import Connections, PeerInfo
from relay.edge.framing import Framing
from relay.edge.listener import EdgeServer
from relay.edge.proxy_protocol import (
    ProxyHeader,
    ProxyHeaderInvalid,
    bytes_missing,
    is_proxy_header,
)
from relay.edge.proxy_protocol import parse as parse_header
from relay.edge.slow_path import BodyReader, headers_of
from relay.providers.answers import plain_answer

# ---- the PROXY header -----------------------------------------------------------------------
# Parsed by the edge's own parser. It names the peer, and so takes the place of `--peer`.

#: The address of a peer that neither `--peer` nor a PROXY header names.
UNKNOWN_PEER: Final = ip_address("0.0.0.0")  # noqa: S104 - nobody listens here

_UNTRUSTED = "from an address that is not in trusted_proxies"


@dataclass(frozen=True, slots=True)
class ProxyPrefix:
    """The bytes of a PROXY header, parsed; `header` is None for an invalid one, with `problem`."""

    raw: bytes = field(repr=False)
    header: ProxyHeader | None
    problem: str = ""

    @property
    def lines(self) -> int:
        """The number of lines that it takes in the file."""
        return self.raw.count(b"\n")


def split_proxy_header(data: bytes) -> tuple[ProxyPrefix | None, bytes]:
    """Split a leading PROXY header, if there is one, from the bytes behind it.

    A line of version 1 may end with LF alone, as an editor leaves it.
    """
    if not is_proxy_header(data) or _is_request_line(data):
        return None, data
    line, end, rest = data.partition(b"\n")
    if data.startswith(b"PROXY ") and end and not line.endswith(b"\r"):
        data = line + b"\r\n" + rest
    raw = b""
    try:
        while (more := bytes_missing(raw)) and len(raw) < len(data):
            raw = data[: len(raw) + more]
        return ProxyPrefix(raw, parse_header(raw)), data[len(raw) :]
    except ProxyHeaderInvalid as invalid:
        return ProxyPrefix(raw, None, str(invalid)), data[len(raw) :]


def peer_info_of(
    prefix: ProxyPrefix | None, peer: Address | None, trusts: Callable[[Address], bool]
) -> PeerInfo:
    """Return the peer of the connection; `UNKNOWN_PEER` when neither argument names one.

    peer: the address that connected: with a PROXY header the proxy's, which is trusted when None.

    Raises:
        Refusal: PROXY_HEADER_INVALID; the connection is closed.
    """
    if prefix is None:
        return PeerInfo(peer or UNKNOWN_PEER)
    if peer is not None and not trusts(peer):
        raise Refusal(Reason.PROXY_HEADER_INVALID, _UNTRUSTED)
    if prefix.header is None:
        raise Refusal(Reason.PROXY_HEADER_INVALID, prefix.problem)
    if prefix.header.source is None:
        return PeerInfo(peer or UNKNOWN_PEER, forwards=False)
    return PeerInfo(prefix.header.source, Via.PROXY)


def describe_peer(prefix: ProxyPrefix) -> str:
    """Describe the peer that a valid header names."""
    if prefix.header is None or prefix.header.source is None:
        return "names no client: the proxy speaks for itself"
    return f"{prefix.header.source} connected to the proxy; --peer is the proxy's own address"


def _is_request_line(data: bytes) -> bool:
    """Tell whether the first line is a request line with the method PROXY."""
    words = data.partition(b"\n")[0].split()
    return bool(words) and words[-1].startswith(b"HTTP/")


# ---- the file -------------------------------------------------------------------------------
# Captures lose things that a connection has. What can be repaired without guessing is, with a note.
# Requests that the relay itself would not read are left to the edge's own reader.

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*([0-9]+)[ \t]*\r$")
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")

#: The start of a request, which may be malformed behind it.
_METHOD = re.compile(rb"\s*[A-Za-z]+\s")
_CURL = (b"> ", b"< ", b"* ")


class NotARequest(ValueError):
    """The file holds no request; the message says what to write. `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Captured:
    """A request from a file.

    raw: the bytes as a connection would carry them. rest: those of them behind the head.
    notes: what was repaired. proxy_prefix: the PROXY header before `raw`, if there is one.
    """

    raw: bytes = field(repr=False)
    rest: bytes = field(repr=False)
    notes: tuple[str, ...]
    proxy_prefix: ProxyPrefix | None = None


def parse(data: bytes) -> Captured:
    """Return the request in these bytes, also a malformed one.

    Raises:
        NotARequest: it is no request at all; the message says what to write.
    """
    prefix, data = split_proxy_header(data)
    if prefix is not None and prefix.header is None:
        # Where it ends is unknown, and the edge closes the connection.
        return Captured(data, data, (), prefix)
    _check_is_request(data, 0 if prefix is None else prefix.lines)
    notes: list[str] = []
    head, rest = _split_head(data, notes)
    framing = Framing()
    framing.feed(head)
    if framing.problem is None:
        head, rest = _bound_body(head, rest, framing, notes)
    return Captured(head + rest, rest, tuple(notes), prefix)


def faulty_line(raw: bytes) -> int | None:
    """Return the line of the head, from 1 on, that the edge refuses; None for no single line."""
    framing = Framing()
    for number, line in enumerate(_LINE.findall(raw), 1):
        framing.feed(line)
        if framing.problem is not None:
            return number if line.strip() else None
        if framing.heads:
            return None
    return None


def _check_is_request(data: bytes, before: int) -> None:
    """Raise NotARequest for a file without a request. `before`: lines of a PROXY header."""
    number = before + 1
    if not data.strip():
        what = "nothing follows the PROXY header" if before else "the file is empty"
        raise NotARequest(number, f"{what}; it has to hold a request: POST /path HTTP/1.1 …")
    first = data.split(b"\n", 1)[0]
    text = first.rstrip(b"\r").decode("utf-8", "replace")
    if first.startswith(_CURL):
        hint = "leave out the marks that curl puts before each line"
        raise NotARequest(number, f"not a request line; write METHOD /path HTTP/1.1; {hint}")
    # Bytes of another protocol can come over a connection; a file of text was a mistake.
    if _METHOD.match(data) is None and text.isprintable() and "\ufffd" not in text:
        raise NotARequest(number, "not a request line; write METHOD /path HTTP/1.1")


def _split_head(data: bytes, notes: list[str]) -> tuple[bytes, bytes]:
    """Split the head, with CRLF line ends and its blank line, from the rest."""
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


def _bound_body(
    head: bytes, rest: bytes, framing: Framing, notes: list[str]
) -> tuple[bytes, bytes]:
    """Return the head, and the body by its length. `framing` has read the head."""
    announced = _LENGTH.search(head)
    if announced is not None:
        length = int(announced[1])
        if len(rest) < length:
            notes.append(
                f"Content-Length says {length} bytes, and {len(rest)} are there: it is cut off"
            )
        return head, _truncate(rest, length, notes)
    if framing.in_body:
        end = _end_of_chunks(rest, framing)
        if end is None:
            notes.append("its last chunk is missing: the body is cut off")
            return head, rest
        return head, _truncate(rest, end, notes)
    if not rest.strip(b"\r\n"):
        return head, _truncate(rest, 0, notes)
    notes.append("it has no Content-Length; all that follows the head is taken for its body")
    return head[:-2] + b"Content-Length: %d\r\n\r\n" % len(rest), rest


def _end_of_chunks(rest: bytes, framing: Framing) -> int | None:
    """Return the length of a chunked body; all of a malformed one; None if it is cut off."""
    length = 0
    for line in _LINE.findall(rest):
        framing.feed(line)
        length += len(line)
        if framing.problem is not None:
            return len(rest)
        if not framing.in_body:
            return length
    return None


def _truncate(rest: bytes, length: int, notes: list[str]) -> bytes:
    left = rest[length:]
    if left:
        what = "bytes" if left.strip(b"\r\n") else "bytes of line ends"
        notes.append(f"{len(left)} {what} behind its body are left out")
    return rest[:length]


# ---- the edge's reader ----------------------------------------------------------------------
# The connection is a pair of sockets within this process. Nothing else could agree with the edge on
# every malformed request.

#: Never reached: all bytes are there at once, and the end of the stream behind them.
_TIMEOUT: Final = timedelta(seconds=10)

_UNAVAILABLE: Final = plain_answer(IngestResult(Verdict.UNAVAILABLE))


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request whose head was read. `body` is None when it was refused, with `problem`.

    unpacked: what its body in gzip holds, or why that cannot be told; None for every other body.
    """

    method: str
    target: str
    headers: Headers
    body: bytes | None = field(repr=False)
    problem: Refusal | None = None
    unpacked: bytes | Refusal | None = field(default=None, repr=False)


async def read_request(raw: bytes, *, max_body: int) -> ParsedRequest:
    """Parse these bytes with the edge's own server, as all that a connection carries.

    max_body: the limit of a body, in bytes.

    Raises:
        Refusal: the head cannot be read; no endpoint ever sees the request.
    """
    loop, clock = asyncio.get_running_loop(), SystemClock()
    reader = _RequestCatcher(BodyReader(size=max_body, timeout=_TIMEOUT), loop.create_future())
    server = EdgeServer(
        reader.handle,
        connections=Connections(
            total=1, per_address=1, shares_address=lambda _: False, now=clock.monotonic
        ),
        errors=reader,
        clock=clock,
        header_timeout=_TIMEOUT.total_seconds(),
        drain_limit=0,
        keepalive=0.0,
        linger=0.0,
    )
    sender, receiver = socket.socketpair()
    sender.setblocking(False)
    with sender:
        await loop.connect_accepted_socket(lambda: server(PeerInfo(UNKNOWN_PEER)), receiver)
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


async def _send(sender: socket.socket, raw: bytes, reader: "_RequestCatcher") -> None:
    await asyncio.get_running_loop().sock_sendall(sender, raw)
    # An end of the stream before the head was read would leave no result.
    await reader.head_read.wait()
    sender.shutdown(socket.SHUT_WR)


class _RequestCatcher:
    """Handler and `ConnectionErrors` of the edge's server: keeps the first request or refusal."""

    def __init__(self, body: BodyReader, found: asyncio.Future[ParsedRequest | Refusal]) -> None:
        self.head_read = asyncio.Event()
        self.found = found
        self._body = body

    async def handle(self, request: BaseRequest) -> StreamResponse:
        self.head_read.set()
        fields, body, problem = headers_of(request), None, None
        packed = is_gzip(fields.values("Content-Encoding"))
        unpacked: bytes | Refusal | None = None
        try:
            body = await self._body.read(request, gzip=packed)
        except Refusal as refusal:
            problem = refusal
        if packed:
            unpacked = body if problem is None else problem
            body, problem = None, Refusal(Reason.BODY_ENCODED)
        self._set_result(
            ParsedRequest(request.method, request.raw_path, fields, body, problem, unpacked)
        )
        return to_response(_UNAVAILABLE)

    def refuse(self, _: Address, refusal: Refusal) -> Ack:
        self._set_result(refusal)
        return _UNAVAILABLE

    def fault(self, _: Address, error: BaseException | None) -> Ack:
        if not self.found.done():
            self.found.set_exception(error or RuntimeError("the edge failed, and does not say why"))
        return _UNAVAILABLE

    def _set_result(self, found: ParsedRequest | Refusal) -> None:
        self.head_read.set()
        if not self.found.done():
            self.found.set_result(found)
