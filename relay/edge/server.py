"""The public listeners."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from aiohttp.http import HttpRequestParser
from aiohttp.web import BaseRequest, StreamResponse

from relay.answers import plain_answer
from relay.clock import Clock
from relay.edge.body import BodyLimits
from relay.edge.connections import Connections
from relay.edge.gate import TlsGates
from relay.edge.protocol import EdgeProtocol, EdgeServer
from relay.edge.response import to_response
from relay.errors import Refusal, RelayError
from relay.ingest import Ingest
from relay.model import Ack, Address, Headers, RequestHead, Ruling, Verdict
from relay.telemetry import Account, Telemetry

_HEALTH = "/healthz"
_OK = Ack(200, b"OK")

#: aiohttp's parser stops at these; together they bound what one request head may cost.
_PARSER = {"max_line_size": 8190, "max_field_size": 8190, "max_headers": 64}

#: How long an idle connection is kept for the provider's next message, in seconds.
_KEEPALIVE = 75.0

#: How long unread bytes of a refused request are swallowed, so that the refusal is seen.
_LINGER = 2.0


@dataclass(frozen=True, slots=True)
class Listener:
    """One address to listen on; `tls` is None for plain HTTP."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


class Edge:
    """Listens, turns requests into domain types, and answers what `Ingest` says."""

    def __init__(
        self,
        *,
        ingest: Ingest,
        telemetry: Telemetry,
        clock: Clock,
        connections: Connections,
        body: BodyLimits,
        header_timeout: timedelta,
    ) -> None:
        if HttpRequestParser.__module__ != "aiohttp._http_parser":
            # The pure Python parser has been the source of request smuggling before.
            raise RelayError("aiohttp has no C parser here; unset AIOHTTP_NO_EXTENSIONS")
        self._ingest = ingest
        self._telemetry = telemetry
        self._clock = clock
        self._connections = connections
        self._body = body
        self._header_timeout = header_timeout.total_seconds()
        self._server: EdgeServer | None = None
        self._sockets: list[asyncio.Server] = []
        self._gates: list[TlsGates] = []

    async def start(self, listeners: Sequence[Listener]) -> list[tuple[str, int]]:
        """Listen on every address; return the addresses with the ports really taken.

        Raises:
            OSError: an address cannot be listened on; none is left open then.
        """
        self._server = EdgeServer(
            self._handle,
            connections=self._connections,
            complaints=self,
            header_timeout=self._header_timeout,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=_KEEPALIVE,
            lingering_time=_LINGER,
            **_PARSER,
        )
        loop = asyncio.get_running_loop()
        try:
            for listener in listeners:
                self._sockets.append(
                    await loop.create_server(
                        self._door(listener, self._server),
                        listener.host,
                        listener.port,
                        backlog=1024,
                    )
                )
        except OSError:
            await self.stop(timedelta())
            raise
        return [s.getsockname()[:2] for server in self._sockets for s in server.sockets]

    async def stop(self, grace: timedelta) -> None:
        """Stop accepting; let requests in hand finish within `grace`, then close the rest."""
        for server in self._sockets:
            server.close()
        self._sockets.clear()
        for gates in self._gates:
            await gates.close()
        self._gates.clear()
        if self._server is not None:
            self._server.pre_shutdown()
            await self._server.shutdown(grace.total_seconds())

    @property
    def accepting(self) -> bool:
        """Whether the public listeners are open."""
        return any(server.is_serving() for server in self._sockets)

    def _door(self, listener: Listener, server: EdgeServer) -> Callable[[], asyncio.Protocol]:
        """Return what makes the protocol of each connection to this listener."""
        if listener.tls is None:
            return server
        gates = TlsGates(
            listener.tls,
            connections=self._connections,
            complaints=self,
            timeout=self._header_timeout,
            behind=server,
        )
        self._gates.append(gates)
        return gates

    # ---- requests ---------------------------------------------------------------------------

    async def _handle(self, request: BaseRequest) -> StreamResponse:
        if request.raw_path == _HEALTH and request.method in {"GET", "HEAD"}:
            return to_response(_OK)
        ack = await self._ingest.receive(self._head(request), lambda: self._body.read(request))
        response = to_response(ack)
        if not request.content.is_eof():
            # A refused body is not read to its end just to keep the connection.
            response.force_close()
        return response

    def _head(self, request: BaseRequest) -> RequestHead:
        fields = tuple(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers
        )
        return RequestHead(
            method=request.method,
            target=request.raw_path,
            headers=Headers(fields),
            peer=cast("EdgeProtocol", request.protocol).peer,
            received_at=self._clock.now(),
        )

    # ---- what never became a request (`Complaints`) -----------------------------------------

    def refuse(self, peer: Address, refusal: Refusal) -> Ack:
        return self._ingest.refuse(Account(peer=peer), refusal)

    def fault(self, peer: Address, error: BaseException | None) -> Ack:
        if error is not None:
            self._telemetry.log.fault("edge_fault", error, peer=str(peer))
        ack = plain_answer(Ruling(Verdict.UNAVAILABLE))
        self._telemetry.received(Account(peer=peer, status=ack.status), self._clock.now())
        return ack
