"""HTTP/1.1 messages without I/O: writes requests, parses responses."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from relay.core.urls import DEFAULT_PORTS, authority

# ---- answers --------------------------------------------------------------------------------
# The C parser (llhttp, through httptools) decides strictly what is HTTP. This module decides when
# an answer is complete, and whether the connection may be reused after it.

#: An answer with more fields than this is malformed.
MAX_FIELDS = 128

#: So is one with more bytes than this that are not body: head, chunk framing, trailers.
MAX_OVERHEAD = 64 * 1024

#: How many heads of answers are remembered for an origin, and their most bytes. An answer that
#: names the time has another head each second.
MAX_KNOWN_HEADS = 64
MAX_KNOWN_HEAD = 2048

_HEAD_END = b"\r\n\r\n"

_SWITCHING_PROTOCOLS = 101


class ExchangeFailed(Exception):
    """There will be no complete answer."""


class Closed(ExchangeFailed):
    """The peer closed the connection gracefully before the end of its answer."""


class Malformed(ExchangeFailed):
    """The answer is not HTTP, or exceeds a limit of its head or framing."""


class TooLong(ExchangeFailed):
    """The body is longer than the limit."""


#: Values of each field, by its name in lower case, as Latin-1 text.
Fields = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class KnownHead:
    """What the head of an answer says: status, length of the body, fields."""

    status: int
    length: int
    fields: Fields


class Response:
    """An answer as far as it has arrived; readable while it arrives and after an error.

    status: None until the head is complete; 100 and 103 are not answers.
    fields: empty until then.
    complete: whether the body is complete.
    length: bytes of the body that have arrived.
    to_head: whether the request is a HEAD.
    """

    # Defaults of the class: most answers are set once, when they have arrived whole.
    status: int | None = None
    fields: Fields = MappingProxyType({})
    complete = False
    body = b""
    length = 0
    to_head = False

    def __init__(
        self, wants_body: Callable[[int], bool] = lambda _: True, *, to_head: bool = False
    ) -> None:
        """Start empty.

        wants_body: from the status, whether the body is worth waiting for.
        to_head: the request is a HEAD, so that there is no body whatever the fields say.
        """
        self._wants_body = wants_body
        self.to_head = to_head

    def values(self, name: str) -> list[str]:
        """Return every value of this field; `name` is in lower case."""
        return list(self.fields.get(name, ()))

    @property
    def is_wanted(self) -> bool:
        """Whether its body is worth waiting for; certain only once the head is complete."""
        return self.status is None or self._wants_body(self.status)

    @property
    def is_enough(self) -> bool:
        """Whether nothing more of it is wanted."""
        return self.complete or not self.is_wanted

    @property
    def ends_with_connection(self) -> bool:
        """Whether only the end of the connection delimits this body (RFC 9112, 6.3)."""
        framed = "content-length" in self.fields or "transfer-encoding" in self.fields
        return self.status is not None and not framed

    def set_head(self, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        """Set status and fields."""
        values: dict[str, list[str]] = {}
        for name, value in fields:
            text = value.decode("latin-1").strip(" \t")
            values.setdefault(name.decode("latin-1"), []).append(text)
        self.status, self.fields = status, values
        self.complete = self.to_head or status == _SWITCHING_PROTOCOLS

    def forget_answer(self) -> None:
        """Start empty again, for another answer to the same request."""
        self.status, self.fields = None, MappingProxyType({})
        self.complete, self.body, self.length = False, b"", 0

    def known_head(self) -> KnownHead:
        """Return what the head said, of an answer that is complete."""
        return KnownHead(self.status or 0, self.length, self.fields)


class KnownHeads:
    """Heads of answers that the parser has read, by their bytes: most come again and again.

    A head is remembered when it announced the length of its body and the connection stayed usable.
    The same bytes and a body of that length are then the same answer: the parser would say so.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, KnownHead] = {}

    def read(self, data: bytes, response: Response) -> bool:
        """Read a whole answer with a known head; return False, and do nothing, for any other.

        data: all that has arrived behind the answer before.
        """
        end = data.find(_HEAD_END) + len(_HEAD_END)
        head = self._known.get(data[:end])
        if head is None or len(data) - end != head.length or response.to_head:
            return False
        response.status, response.fields, response.length = head.status, head.fields, head.length
        response.body = data[end:]
        response.complete = True
        return True

    def add(self, data: bytes, response: Response) -> None:
        """Remember the head of an answer that the parser has read whole from these bytes."""
        end = data.find(_HEAD_END) + len(_HEAD_END)
        length = len(data) - end
        announced = response.values("content-length") == [str(length)]
        if response.to_head or not announced or response.length != length or end > MAX_KNOWN_HEAD:
            return
        if len(self._known) >= MAX_KNOWN_HEADS:
            self._known.clear()
        self._known[data[:end]] = response.known_head()


class ResponseParser:
    """Parses the responses of one connection.

    reusable: after an answer: it was complete, nothing followed it, and the peer keeps the
        connection.
    """

    def __init__(self, longest_body: int) -> None:
        self._longest_body = longest_body
        self._parser = HttpResponseParser(self)
        self._response = Response()
        self._fields: list[tuple[bytes, bytes]] = []
        self._chunks: list[bytes] = []
        self._overhead = 0
        self._excess = False
        self.reusable = False

    def expect(self, response: Response) -> None:
        """Parse the next answer into `response`."""
        self._response = response
        self._chunks = []
        self._overhead = 0
        self._excess = False
        self.reusable = False

    def release(self) -> None:
        """Keep the last answer no longer: it may belong to much more than itself."""
        self._response = Response()

    def feed(self, data: bytes) -> bool:
        """Parse received bytes; return whether no more of this answer is wanted.

        Raises:
            Malformed: it is not HTTP, or its head or its framing is too long.
            TooLong: its body is.
        """
        response = self._response
        self._overhead += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            # Bytes after a complete answer cost only the connection.
            self.reusable = False
            if not response.complete:
                raise Malformed(str(error)) from error
        finally:
            response.body = b"".join(self._chunks)
        if self._excess or (self._overhead > MAX_OVERHEAD and not response.complete):
            self.reusable = False
            raise Malformed("a head or the framing of a body is too long")
        if response.length > self._longest_body:
            self.reusable = False
            raise TooLong(f"a body is longer than {self._longest_body} bytes")
        return response.is_enough

    def end(self) -> None:
        """The peer has closed the connection.

        Raises:
            Closed: the answer is not complete.
        """
        self.reusable = False
        if not self._response.complete:
            if not self._response.ends_with_connection:
                raise Closed("the connection ended before the answer")
            self._response.complete = True

    # ---- called by the C parser -------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.reusable = False
        self._fields = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.lower(), value))
        if len(self._fields) > MAX_FIELDS:
            self._excess = True

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._response.complete or _is_interim(status):
            return
        if self._excess or status < 100 or self._head_is_too_long():  # noqa: PLR2004 - no class
            self._excess = True
            return
        # Trailers get a list of their own, which is never read.
        fields, self._fields = self._fields, []
        self._response.set_head(status, fields)

    def on_body(self, chunk: bytes) -> None:
        response = self._response
        if not response.complete:
            self._overhead -= len(chunk)
            response.length += len(chunk)
            # Beyond the limit it is only counted.
            if response.length <= self._longest_body:
                self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        response = self._response
        if response.status is None:
            # That was a 100 or a 103; the answer follows.
            self._overhead = 0
        elif not response.complete:
            response.complete = True
            # The parser forgets it when this returns.
            self.reusable = self._parser.should_keep_alive()

    def _head_is_too_long(self) -> bool:
        """Return it even when one read brought the whole head, and perhaps some body behind it."""
        if self._overhead <= MAX_OVERHEAD:
            return False
        size = sum(len(name) + len(value) for name, value in self._fields)
        return size > MAX_OVERHEAD


def _is_interim(status: int) -> bool:
    return 100 <= status <= 199 and status != _SWITCHING_PROTOCOLS  # noqa: PLR2004 - RFC 9110


# ---- requests -------------------------------------------------------------------------------

#: Methods that are sent without a Content-Length when there is no body (RFC 9110, 8.6).
BODILESS_METHODS = {"GET", "HEAD", "OPTIONS"}


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of an upstream.

    host: as given to the resolver.
    name: as in certificates, without the final dot of a DNS name.
    authority: the value of `Host`, with the port where it is not the default.
    prefix: the start of its URLs, up to the path; no request target holds it.
    """

    host: str
    name: str
    port: int
    tls: bool
    authority: str
    prefix: str

    @classmethod
    def of(cls, url: str) -> Self:
        """Return the origin of an http or https URL.

        Raises:
            ValueError: it has no host or no such port.
        """
        parts = urlsplit(url)
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
            raise ValueError("an origin is http:// or https:// and a host")
        port = parts.port or DEFAULT_PORTS[parts.scheme]
        place = parts.netloc.rpartition("@")[2]
        name = place[: place.index("]") + 1] if "[" in place else place.partition(":")[0]
        name = name.removesuffix(".")
        return cls(
            host=parts.hostname,
            name=parts.hostname.removesuffix("."),
            port=port,
            tls=parts.scheme == "https",
            authority=authority(name, port, parts.scheme),
            prefix=url[: len(parts.scheme) + len("://") + len(parts.netloc)],
        )

    def target(self, url: str) -> str:
        """Return the request target for a URL of this origin, character by character.

        Raises:
            ValueError: the URL is another origin's.
        """
        rest = url.removeprefix(self.prefix)
        if rest == url or rest[:1] not in {"", "/", "?"}:
            raise ValueError("this URL does not belong to this origin")
        return rest if rest[:1] == "/" else "/" + rest


def encode(
    method: str, target: str, authority: str, fields: Iterable[tuple[str, str]], body: bytes
) -> bytes:
    """Return a request as bytes. The fields stand in this order between Host and Content-Length.

    fields: Latin-1 text, sent as the bytes that it stands for.

    Raises:
        ValueError: a part would end its line early, or is not Latin-1; it must not be sent.
    """
    lines = [f"{method} {target} HTTP/1.1", f"Host: {authority}"]
    lines += [f"{name}: {value}" for name, value in fields]
    if body or method not in BODILESS_METHODS:
        lines.append(f"Content-Length: {len(body)}")
    # Checked as a whole: every line break in it has to be one of ours.
    text = "\r\n".join(lines)
    ours = len(lines) - 1
    if "\0" in text or text.count("\r") != ours or text.count("\n") != ours:
        raise ValueError("a line of this request holds a line break or a zero byte")
    if lines[0].count(" ") != 2:  # noqa: PLR2004 - method, target and version
        raise ValueError("a method or a request target holds a blank")
    return text.encode("latin-1") + b"\r\n\r\n" + body
