"""One connection: its limits, and an answer to everything that is not a request.

aiohttp parses. This subclass adds what it leaves open: a deadline for headers, limits on
connections, and answers of ours where aiohttp would send its own error page.
"""

import asyncio
from functools import partial
from ipaddress import ip_address
from typing import Any, Protocol

from aiohttp import http_exceptions
from aiohttp.web import BaseRequest, Server, StreamResponse
from aiohttp.web_protocol import RequestHandler

from relay.clientip import plain
from relay.edge.connections import Connections
from relay.edge.response import closing_bytes, to_response
from relay.errors import Reason, Refusal
from relay.model import Ack, Address


class Complaints(Protocol):
    """Where a connection reports what never became a delivery."""

    def refuse(self, peer: Address, refusal: Refusal) -> Ack:
        """Account for it and return the answer."""

    def fault(self, peer: Address, error: BaseException | None) -> Ack:
        """Log an error of ours and return the answer."""


class EdgeProtocol(RequestHandler):
    """Guards one connection."""

    __slots__ = ("_admitted", "_complaints", "_connections", "_deadline", "_header_timeout", "peer")

    def __init__(
        self,
        server: "EdgeServer",
        *,
        connections: Connections,
        complaints: Complaints,
        header_timeout: float,
        **options: Any,  # noqa: ANN401 - aiohttp's own
    ) -> None:
        super().__init__(server, **options)
        self._connections = connections
        self._complaints = complaints
        self._header_timeout = header_timeout
        self._deadline: asyncio.TimerHandle | None = None
        self._admitted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.peer = peer_address(transport)
        super().connection_made(transport)
        self._admitted = True
        if self._connections.enter(self.peer):
            self._expect_headers()
        else:
            self._turn_away(Refusal(Reason.TOO_MANY_CONNECTIONS))

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_deadline()
        if self._admitted:
            self._admitted = False
            self._connections.leave(self.peer)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        if self._deadline is None and not self._request_in_progress and not self._messages:
            # The first bytes of another request on a connection that was kept alive.
            self._expect_headers()
        super().data_received(data)
        if self._request_count != before:
            self._stop_deadline()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's own text is not shown
    ) -> StreamResponse:
        """Answer what could not be parsed (400) and what we failed at (500, 504)."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun; the connection can only be closed")
        if status == 400:  # noqa: PLR2004 - aiohttp's mark for a request it cannot parse
            ack = self._complaints.refuse(self.peer, _unparsable(exc))
        else:
            ack = self._complaints.fault(self.peer, exc)
        response = to_response(ack)
        response.force_close()
        return response

    def log_exception(self, *_: Any, **kwargs: Any) -> None:  # noqa: ANN401 - aiohttp's own
        self._complaints.fault(self.peer, kwargs.get("exc_info"))

    def _expect_headers(self) -> None:
        self._deadline = self._loop.call_later(self._header_timeout, self._headers_late)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _headers_late(self) -> None:
        self._deadline = None
        self._turn_away(Refusal(Reason.HEADER_TIMEOUT))

    def _turn_away(self, refusal: Refusal) -> None:
        ack = self._complaints.refuse(self.peer, refusal)
        if self.transport is not None:
            self.transport.write(closing_bytes(ack))
        self.force_close()


class EdgeServer(Server):
    """aiohttp's low-level server, making our connections."""

    def __init__(
        self,
        handler: Any,  # noqa: ANN401 - aiohttp keeps the type private
        *,
        connections: Connections,
        complaints: Complaints,
        header_timeout: float,
        **options: Any,  # noqa: ANN401 - aiohttp's own
    ) -> None:
        super().__init__(handler, **options)
        self._protocol = partial(
            EdgeProtocol,
            self,
            connections=connections,
            complaints=complaints,
            header_timeout=header_timeout,
            loop=self._loop,
            **options,
        )

    def __call__(self) -> EdgeProtocol:
        return self._protocol()


def peer_address(transport: asyncio.BaseTransport) -> Address:
    """Return the address at the other end of a TCP connection."""
    return plain(ip_address(transport.get_extra_info("peername")[0].partition("%")[0]))


def _unparsable(error: BaseException | None) -> Refusal:
    # For too many fields aiohttp has no class of its own, only a message.
    if isinstance(error, http_exceptions.LineTooLong) or "Too many headers" in str(error):
        return Refusal(Reason.HEADERS_TOO_LARGE)
    # The parser's message quotes the request, which may hold a token: the class must do.
    return Refusal(Reason.BODY_MALFORMED, f"not HTTP: {type(error).__name__}")
