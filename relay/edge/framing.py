"""A strict scanner of HTTP/1.1 message framing, in front of the parser. No I/O.

Request smuggling needs two readers that disagree about where a request ends. So only bytes with
one possible framing pass (RFC 9112, without what it leaves to a reader's leniency); the rest is
refused. aiohttp parses what passes, and has nothing left to interpret.
"""

import re
from typing import Final, Protocol

from relay.core.errors import Reason, Refusal

#: Limits of a head: bytes of one line with its CRLF, number of fields, bytes in all.
MAX_LINE: Final = 8190
MAX_FIELDS: Final = 64
MAX_HEAD: Final = 64 * 1024

#: Chunks of one body. Each costs time, however small it is.
MAX_CHUNKS: Final = 16_384

# Origin-form alone, and no CONNECT: this is no proxy. Methods are in upper case, and compared so.
_START_LINE: Final = rb"(?!CONNECT )[A-Z]{1,20} /[\x21\x22\x24-\x7e]* HTTP/1\.([01])\r\n"
NAME: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
VALUE: Final = rb"[\t\x20-\x7e\x80-\xff]*"
_REQUEST_LINE: Final = re.compile(_START_LINE)
_FIELD: Final = re.compile(rb"(%b):(%b)\r\n" % (NAME, VALUE))
_UNFINISHED_LINE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*\r?")
HOST: Final = re.compile(rb"[A-Za-z0-9!$%&'()*+.:;=\[\]_~-]+")
LENGTH: Final = re.compile(rb"[0-9]{1,15}")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")
_UNFINISHED_SIZE: Final = re.compile(rb"(?:[0-9A-Fa-f]{1,8}\r?)?")

#: Fields that decide where a body ends or what the connection becomes; allowed once each.
_FRAMING_FIELDS: Final = frozenset(
    {
        b"content-length",
        b"expect",
        b"host",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

# A whole valid head, and the fields in it that `_Head` checks.
_WHOLE_HEAD: Final = re.compile(rb"%b(?:%b:%b\r\n)*+\r\n" % (_START_LINE, NAME, VALUE))
_CHECKED_FIELDS: Final = re.compile(
    rb"\n(%b):(%b)\r" % (b"|".join((*sorted(_FRAMING_FIELDS), b"connection")), VALUE),
    re.IGNORECASE,
)


class Framing:
    """The framing state of one connection.

    heads: number of complete heads so far.
    problem: the first framing error; after it nothing passes any more. None until then.
    in_head: whether a head has started and is incomplete.
    in_body: whether a body has started and is incomplete.
    """

    def __init__(self) -> None:
        self.heads = 0
        self.problem: Refusal | None = None
        self._head = _Head()
        self._body: _Body | None = None
        self._buffer = b""
        self._scanned = 0

    @property
    def in_head(self) -> bool:
        return self._body is None and bool(self._buffer)

    @property
    def in_body(self) -> bool:
        return self._body is not None

    def feed(self, data: bytes) -> bytes:
        """Scan received bytes; return the bytes that may be parsed now, in order.

        A head is buffered until it is complete, so that no refused head is parsed in part. A
        framing error is set as `problem`; the bytes before it are still returned.
        """
        if self.problem is not None:
            return b""
        data = self._buffer + data
        at, ready = self._scanned, 0
        try:
            while at < len(data):
                previous = at
                if self._body is None:
                    at = self._read_head(data, at, ready)
                else:
                    at = self._body.skip(data, at)
                if at == previous:
                    break
                if self._body is not None or not self._head.started:
                    ready = at
                if self._body is not None and self._body.ended:
                    self._body = None
        except Refusal as problem:
            self.stop(problem)
            return data[:ready]
        self._buffer, self._scanned = data[ready:], at - ready
        return data[:ready]

    def stop(self, problem: Refusal) -> None:
        """Set `problem` and drop what is buffered: nothing passes any more."""
        self.problem, self._buffer = problem, b""

    def _read_head(self, data: bytes, at: int, head: int) -> int:
        """Scan on in a head that starts at `head`; return the position reached.

        A head that is complete is matched in one step, as nearly every one is; otherwise one line
        is.
        """
        if at == head and (whole := self._head.match_whole(data, at)):
            self._finish_head()
            return whole
        end = data.find(b"\n", at) + 1
        length = (end or len(data)) - at
        if length > MAX_LINE or at + length - head > MAX_HEAD:
            raise Refusal(Reason.HEADERS_TOO_LARGE)
        if not end:
            if _UNFINISHED_LINE.fullmatch(data, at) is None:
                raise _malformed("a control character in the head")
            return at
        if self._head.add_line(data[at:end]):
            self._finish_head()
        return end

    def _finish_head(self) -> None:
        self._body = self._head.body()
        self._head = _Head()
        self.heads += 1


class _Body(Protocol):
    """The framing of one body. `ended`: all of it has been scanned."""

    ended: bool

    def skip(self, data: bytes, at: int) -> int:
        """Scan `data` from `at` on; return the position up to which it is valid and the body's.

        Raises:
            Refusal: BODY_MALFORMED, the framing is invalid.
        """


class _Head:
    """The checks of one head, as a whole or line by line."""

    def __init__(self) -> None:
        self.started = False
        self._is_http_1_0 = False
        self._count = 0
        self._values: dict[bytes, bytes] = {}

    def match_whole(self, data: bytes, at: int) -> int:
        """Check a complete head; return its end, or 0 when it has to be read line by line."""
        if data.find(b"\r\n\r\n", at) < 0:
            # Cheaper to know than to try: it may come byte by byte.
            return 0
        match = _WHOLE_HEAD.match(data, at)
        # A head that is no longer than a line may be holds no line that is too long.
        if match is None or match.end() - at > MAX_LINE:
            return 0
        if match[0].count(b"\n") > MAX_FIELDS + 2:  # the request line and the empty one
            return 0
        self._is_http_1_0 = match[1] == b"0"
        for name, value in _CHECKED_FIELDS.findall(match[0]):
            self._check_field(name.lower(), value)
        return match.end()

    def add_line(self, line: bytes) -> bool:
        """Check one line with its CRLF; return whether it ends the head."""
        if not self.started:
            match = _REQUEST_LINE.fullmatch(line)
            if match is None:
                raise _malformed("the request line")
            self.started, self._is_http_1_0 = True, match[1] == b"0"
            return False
        if line == b"\r\n":
            return True
        self._count += 1
        if self._count > MAX_FIELDS:
            raise Refusal(Reason.HEADERS_TOO_LARGE, f"more than {MAX_FIELDS} fields")
        match = _FIELD.fullmatch(line)
        if match is None:
            raise _malformed("a header line")
        self._check_field(match[1].lower(), match[2])
        return False

    def _check_field(self, name: bytes, value: bytes) -> None:
        if name in _FRAMING_FIELDS:
            if name in self._values:
                raise _malformed(f"{name.decode()} twice")
            self._values[name] = value.strip(b" \t")
        elif name == b"connection" and b"upgrade" in value.lower():
            raise _malformed("an upgrade")

    def body(self) -> "_Body | None":
        """Return the framing of the body, None for no body. Called after the last line."""
        values = self._values
        for name in (b"trailer", b"upgrade"):
            if name in values:
                raise _malformed(name.decode())
        if values.get(b"expect", b"100-continue").lower() != b"100-continue":
            raise _malformed("expect")
        host = values.get(b"host", b"none" if self._is_http_1_0 else b"")
        if HOST.fullmatch(host) is None:
            raise _malformed("host")
        coding, length = values.get(b"transfer-encoding"), values.get(b"content-length")
        if coding is not None:
            # The one coding that a sender may use, its name in any case (RFC 9112, section 7).
            if coding.lower() != b"chunked" or length is not None or self._is_http_1_0:
                raise _malformed("transfer-encoding")
            return _Chunked()
        if length is None:
            return None
        if LENGTH.fullmatch(length) is None:
            raise _malformed("content-length")
        return _Sized(int(length)) if int(length) else None


class _Sized:
    """A body with Content-Length."""

    def __init__(self, length: int) -> None:
        self._remaining = length
        self.ended = False

    def skip(self, data: bytes, at: int) -> int:
        taken = min(self._remaining, len(data) - at)
        self._remaining -= taken
        self.ended = not self._remaining
        return at + taken


class _Chunked:
    """A chunked body, without chunk extensions and trailers."""

    def __init__(self) -> None:
        self.ended = False
        self._chunks = 0
        self._remaining = 0
        self._in_chunk = False
        self._is_last = False

    def skip(self, data: bytes, at: int) -> int:
        while at < len(data) and not self.ended:
            if self._remaining:
                taken = min(self._remaining, len(data) - at)
                self._remaining -= taken
                at += taken
            elif self._in_chunk:
                end = data[at : at + 2]
                if end != b"\r\n":
                    if end == b"\r":
                        return at
                    raise _malformed("a trailer" if self._is_last else "the end of a chunk")
                at += 2
                self._in_chunk, self.ended = False, self._is_last
            else:
                size = _CHUNK_SIZE.match(data, at)
                if size is None:
                    if _UNFINISHED_SIZE.fullmatch(data, at) is None:
                        raise _malformed("a chunk size")
                    return at
                self._start_chunk(int(size[1], 16))
                at = size.end()
        return at

    def _start_chunk(self, size: int) -> None:
        self._chunks += 1
        if self._chunks > MAX_CHUNKS:
            raise _malformed(f"more than {MAX_CHUNKS} chunks")
        self._remaining, self._in_chunk, self._is_last = size, True, size == 0


def _malformed(what: str) -> Refusal:
    # The bytes themselves are not quoted: they may hold a token.
    return Refusal(Reason.BODY_MALFORMED, f"not strict HTTP: {what}")


def begins_request(data: bytes) -> bool:
    """Return whether these bytes would have an answer: to a head, or to a framing error."""
    framing = Framing()
    framing.feed(data)
    return framing.heads > 0 or framing.problem is not None


# ---- what a head declares of its body -------------------------------------------------------


def check_declared_body(length: int, *, encoded: bool, limit: int) -> None:
    """Check a body by what its head says, before it is read.

    length: what Content-Length announces. encoded: a content coding is named: what was verified
    must be what is delivered. limit: bytes at most.

    Raises:
        Refusal: BODY_ENCODED or BODY_TOO_LARGE.
    """
    if encoded:
        raise Refusal(Reason.BODY_ENCODED)
    if length > limit:
        raise Refusal(Reason.BODY_TOO_LARGE, f"{length} bytes announced")
