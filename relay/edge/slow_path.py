"""Reads a request's body, byte for byte, within limits on size, time and rate."""

from datetime import timedelta
from typing import Final, Protocol, cast

from aiohttp import ClientConnectionError, web_exceptions
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import BaseRequest

from relay.core.content_coding import codings, gunzip, is_gzip
from relay.core.errors import Reason, Refusal
from relay.core.request import Headers
from relay.edge.connections import NEVER
from relay.edge.framing import check_declared_body

#: How slow a sender may be, in bytes a second, and how long it may fall behind. Kestrel's figures:
#: the worst mobile line is faster, and who drips bytes to hold a connection has to send many.
_MIN_BYTES_PER_SECOND: Final = 240
_RATE_GRACE: Final = timedelta(seconds=5)


class BodyConnection(Protocol):
    """What the reader asks of the connection: to keep the deadline of its body."""

    def now(self) -> float:
        """Return the monotonic time that deadlines are counted in."""

    def set_body_deadline(self, due: float, late: Refusal) -> None:
        """Make reading the body raise `late` unless this is called again before `due`."""


class BodyReader:
    """Reads bodies within limits on their size, time and rate."""

    def __init__(self, *, size: int, timeout: timedelta, grace: timedelta = _RATE_GRACE) -> None:
        """Set the limits.

        size: bytes at most; public. timeout: for all of it. grace: within any time this long, the
            bytes of the minimum rate have to come, or the rest of the body.
        """
        self.size = size
        self._timeout = timeout.total_seconds()
        self._grace = grace.total_seconds()

    def shortened(self, size: int, timeout: timedelta) -> "BodyReader":
        """Return a reader of bodies that are no longer than this, and come in this time."""
        return BodyReader(
            size=min(self.size, size),
            timeout=min(timedelta(seconds=self._timeout), timeout),
            grace=timedelta(seconds=self._grace),
        )

    async def read(self, request: BaseRequest, *, gzip: bool = False) -> bytes:
        """Return the body, byte for byte.

        gzip: what a body in this coding holds is returned; it is within the limit on size, too.

        Raises:
            Refusal: BODY_ENCODED when another content coding is named, or any without `gzip`: what
                was verified must be what is delivered. BODY_TOO_LARGE, as soon as that is certain.
                BODY_TIMEOUT, when it takes too long or comes too slowly. BODY_MALFORMED when the
                connection ends, or the framing or the coding breaks before the end.
        """
        named = request.headers.getall("Content-Encoding", [])
        packed = gzip and is_gzip(named)
        encoded = not packed and bool(codings(named))
        check_declared_body(request.content_length or 0, encoded=encoded, limit=self.size)
        body = await self._received(request)
        return gunzip(body, self.size) if packed else body

    async def _received(self, request: BaseRequest) -> bytes:
        """Return the body as it comes."""
        try:
            if request.content.is_eof():
                # All of it came with the head, as it nearly always does.
                return self._checked(request.content.read_nowait())
            self._send_continue(request)
            return await self._read(request)
        except (
            ClientConnectionError,
            ConnectionError,
            HttpProcessingError,
            web_exceptions.HTTPException,
        ) as error:
            raise Refusal(
                Reason.BODY_MALFORMED, f"body broke off: {type(error).__name__}"
            ) from None

    async def _read(self, request: BaseRequest) -> bytes:
        connection = cast("BodyConnection", request.protocol)
        chunks: list[bytes] = []
        size, wanted = 0, 0.0
        end = connection.now() + self._timeout
        try:
            while True:
                if size >= wanted:
                    wanted = size + _MIN_BYTES_PER_SECOND * self._grace
                    connection.set_body_deadline(*self._deadline(end, connection.now()))
                chunk = await request.content.readany()
                if not chunk:
                    return b"".join(chunks)
                size += len(chunk)
                if size > self.size:
                    raise Refusal(Reason.BODY_TOO_LARGE)
                chunks.append(chunk)
        finally:
            connection.set_body_deadline(NEVER, Refusal(Reason.BODY_TIMEOUT))

    def _deadline(self, end: float, now: float) -> tuple[float, Refusal]:
        """Return when the body is late, for all of it or for its rate, and how it is refused."""
        if end <= now + self._grace:
            return end, Refusal(Reason.BODY_TIMEOUT)
        detail = f"less than {_MIN_BYTES_PER_SECOND} bytes a second"
        return now + self._grace, Refusal(Reason.BODY_TIMEOUT, detail)

    def _checked(self, body: bytes) -> bytes:
        if len(body) > self.size:
            raise Refusal(Reason.BODY_TOO_LARGE)
        return body

    @staticmethod
    def _send_continue(request: BaseRequest) -> None:
        """Send 100 Continue to a sender that expects it (RFC 9110, section 10.1.1)."""
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def headers_of(request: BaseRequest) -> Headers:
    """Return the header fields in the order received, as Latin-1 text."""
    return Headers(
        tuple(
            [
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in request.raw_headers
            ]
        )
    )
