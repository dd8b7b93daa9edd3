"""Reads a request's body, byte for byte, within limits on size, time and rate."""

from asyncio import get_running_loop, timeout_at
from datetime import timedelta
from typing import Final

from aiohttp import ClientConnectionError, web_exceptions
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import BaseRequest

from relay.core.errors import Reason, Refusal
from relay.core.request import Headers

#: How slow a sender may be, in bytes a second, and how long it may fall behind. Kestrel's figures:
#: the worst mobile line is faster, and who drips bytes to hold a connection has to send many.
_MIN_BYTES_PER_SECOND: Final = 240
_RATE_GRACE: Final = timedelta(seconds=5)


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

    async def read(self, request: BaseRequest) -> bytes:
        """Return the body, byte for byte.

        Raises:
            Refusal: BODY_ENCODED when a content coding is named: what was verified must be what
                is delivered. BODY_TOO_LARGE, as soon as that is certain. BODY_TIMEOUT, when it
                takes too long or comes too slowly. BODY_MALFORMED when the connection ends or the
                framing breaks before the end.
        """
        if any(coding.strip().lower() != "identity" for coding in _codings(request)):
            raise Refusal(Reason.BODY_ENCODED)
        if (request.content_length or 0) > self.size:
            raise Refusal(Reason.BODY_TOO_LARGE, f"{request.content_length} bytes announced")
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
        chunks: list[bytes] = []
        size, due, now = 0, _MIN_BYTES_PER_SECOND * self._grace, get_running_loop().time
        end = now() + self._timeout
        # One timer for both limits: there may be a thousand slow senders.
        deadline = timeout_at(min(end, now() + self._grace))
        try:
            async with deadline:
                while chunk := await request.content.readany():
                    size += len(chunk)
                    if size > self.size:
                        raise Refusal(Reason.BODY_TOO_LARGE)
                    chunks.append(chunk)
                    if size >= due:
                        due = size + _MIN_BYTES_PER_SECOND * self._grace
                        deadline.reschedule(min(end, now() + self._grace))
        except TimeoutError:
            detail = (
                ""
                if deadline.when() == end
                else f"less than {_MIN_BYTES_PER_SECOND} bytes a second"
            )
            raise Refusal(Reason.BODY_TIMEOUT, detail) from None
        return b"".join(chunks)

    def _checked(self, body: bytes) -> bytes:
        if len(body) > self.size:
            raise Refusal(Reason.BODY_TOO_LARGE)
        return body

    @staticmethod
    def _send_continue(request: BaseRequest) -> None:
        """Send 100 Continue to a sender that expects it (RFC 9110, section 10.1.1)."""
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _codings(request: BaseRequest) -> list[str]:
    values = request.headers.getall("Content-Encoding", [])
    return [coding for value in values for coding in value.split(",")]


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
