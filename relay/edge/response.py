"""From an `Ack` to what goes over the wire."""

from http import HTTPStatus

from aiohttp.web import Response

from relay.model import Ack

#: The `Server` field of every answer: no versions, for strangers to look up.
SERVER = "relay"


def to_response(ack: Ack) -> Response:
    """Return aiohttp's form of an answer."""
    response = Response(status=ack.status, body=ack.body)
    if ack.content_type:
        response.headers["Content-Type"] = ack.content_type
    response.headers["Server"] = SERVER
    for name, value in ack.headers:
        response.headers[name] = value
    return response


def closing_bytes(ack: Ack) -> bytes:
    """Return a whole answer as bytes, for a connection on which no request was read."""
    phrase = HTTPStatus(ack.status).phrase
    head = (
        f"HTTP/1.1 {ack.status} {phrase}\r\n"
        f"Server: {SERVER}\r\n"
        f"Content-Type: {ack.content_type}\r\n"
        f"Content-Length: {len(ack.body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("latin-1") + ack.body
