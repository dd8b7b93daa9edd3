"""Answers on the wire: as a response of aiohttp, or as bytes."""

from http import HTTPStatus

from aiohttp.web import Response

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
