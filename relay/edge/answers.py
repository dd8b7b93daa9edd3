"""Answers on the wire: as a response of aiohttp, or as the bytes that it would write."""

from http import HTTPStatus
from typing import Final

from aiohttp.helpers import rfc822_formatted_time
from aiohttp.web import Response

from relay.core.clock import Clock
from relay.core.request import Ack

#: The `Server` field of every answer: no versions, for strangers to look up.
SERVER = "relay"


def to_response(ack: Ack) -> Response:
    """Return the answer as a response of aiohttp."""
    response = Response(status=ack.status, body=ack.body)
    if ack.content_type:
        response.headers["Content-Type"] = ack.content_type
    response.headers["Server"] = SERVER
    for name, value in ack.headers:
        response.headers[name] = value
    return response


def closing_bytes(ack: Ack) -> bytes:
    """Return the answer as the bytes of a whole response, for a connection without a request."""
    phrase = HTTPStatus(ack.status).phrase
    head = (
        f"HTTP/1.1 {ack.status} {phrase}\r\n"
        f"Server: {SERVER}\r\n"
        f"Content-Type: {ack.content_type}\r\n"
        f"Content-Length: {len(ack.body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("latin-1") + ack.body


# ---- answers that are ready -----------------------------------------------------------------

_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}

#: Statuses whose answer has neither a body nor a length.
_EMPTY: Final = frozenset({204, 304})

#: Answers that are kept for one second: so many, and with so many bytes of body.
_MAX_ANSWERS: Final = 256
_MAX_BODY: Final = 1024


class ReadyAnswers:
    """Answers as bytes, rendered once a second: most of them are equal, but for their date."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Monotonic time when the date will be another one.
        self._until = 0.0
        self._ready: dict[tuple[object, ...], bytes] = {}

    def render(self, ack: Ack, *, keep: bool) -> bytes:
        """Return the answer as aiohttp writes it; it says so when the connection is not kept."""
        now = self._clock.monotonic()
        if now >= self._until or len(self._ready) >= _MAX_ANSWERS:
            self._until = now + 1.0 - self._clock.now().microsecond / 1_000_000
            self._ready.clear()
        key = (ack.status, ack.body, ack.content_type, ack.headers, keep)
        found = self._ready.get(key)
        if found is None:
            found = _render(ack, rfc822_formatted_time(), keep=keep)
            if len(ack.body) <= _MAX_BODY:
                self._ready[key] = found
        return found


def _render(ack: Ack, date: str, *, keep: bool) -> bytes:
    body = b"" if ack.status in _EMPTY else ack.body
    lines = [f"HTTP/1.1 {ack.status} {_PHRASES.get(ack.status, '')}"]
    if ack.content_type:
        lines.append(f"Content-Type: {ack.content_type}")
    lines.append(f"Server: {SERVER}")
    lines += [f"{name}: {value}" for name, value in ack.headers]
    if ack.status not in _EMPTY:
        lines.append(f"Content-Length: {len(body)}")
    if body and not ack.content_type:
        lines.append("Content-Type: application/octet-stream")
    lines.append(f"Date: {date}")
    if not keep:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode() + body
