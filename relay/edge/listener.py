"""The public listeners: open sockets, serve connections, reload, drain; the descriptor budget."""

import asyncio
import os
import resource
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final, cast

from aiohttp.http import HttpRequestParser
from aiohttp.web import BaseRequest, Server, StreamResponse
from aiohttp.web_protocol import RequestHandler

from relay.core.clock import Clock
from relay.core.errors import Refusal, RelayError
from relay.core.request import Ack, Address, IngestResult, RequestHead, Verdict
from relay.edge.answers import to_response
from relay.edge.connections import ConnectionErrors, Connections, PeerInfo, Sweep
from relay.edge.fast_lane import UNEARNED, FastLane, is_health_check
from relay.edge.framing import MAX_FIELDS, MAX_LINE
from relay.edge.protocol import EdgeProtocol
from relay.edge.proxy_protocol import ProxyHeaderReaders
from relay.edge.slow_path import BodyReader, headers_of
from relay.edge.tls import TlsHandshakes
from relay.ingest.admission import Admission, Standing
from relay.ingest.authenticated_knock import BODY_TIMEOUT, MAX_BODY
from relay.ingest.pipeline import Ingest
from relay.providers.answers import plain_answer
from relay.telemetry import DeliveryRecord, Telemetry

# ---- the server of connections --------------------------------------------------------------

#: aiohttp's parser stops at these sizes, which bound what one request head may cost. Bodies stay
#: as they came, and the log is ours.
_OPTIONS: Final = {
    "max_line_size": MAX_LINE,
    "max_field_size": MAX_LINE,
    "max_headers": MAX_FIELDS,
    "auto_decompress": False,
    "access_log": None,
}

#: Seconds until aiohttp would close an idle connection: longer than any lives. The sweep does.
_NO_KEEPALIVE_TIMER: Final = 10 * 365 * 86_400.0


class EdgeServer(Server):
    """aiohttp's low-level server as a factory of `EdgeProtocol`."""

    def __init__(
        self,
        handler: Any,  # noqa: ANN401 - aiohttp keeps the type private
        *,
        connections: Connections,
        errors: ConnectionErrors,
        clock: Clock,
        header_timeout: float,
        drain_limit: int,
        keepalive: float,
        linger: float,
        lane: FastLane | None = None,
    ) -> None:
        """Take the parts.

        clock: of all deadlines.
        keepalive: for how many seconds an idle connection is kept.
        linger: for how many seconds unread bytes of an answered request are drained.
        lane: takes whole requests; None for aiohttp alone.
        """
        options: dict[str, Any] = {
            **_OPTIONS,
            "keepalive_timeout": _NO_KEEPALIVE_TIMER,
            "lingering_time": linger,
        }
        super().__init__(handler, **options)
        self._all_closed: asyncio.Future[None] | None = None
        self._lane = lane
        sweep = Sweep(clock, keepalive)
        self._sweeping = self._loop.create_task(sweep.run())
        self._protocol = partial(
            EdgeProtocol,
            self,
            connections=connections,
            errors=errors,
            sweep=sweep,
            lane=lane,
            header_timeout=header_timeout,
            drain_limit=drain_limit,
            loop=self._loop,
            **options,
        )

    async def drained(self, seconds: float) -> None:
        """Return when all connections are closed, at most after this many seconds."""
        self._all_closed = self._loop.create_future()
        if not self._connections:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._all_closed

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        if self._all_closed is None or self._all_closed.done():
            return
        # aiohttp forgets a connection when its task has ended, which may be a little later.
        if not self._connections.keys() - {handler}:
            self._all_closed.set_result(None)

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - aiohttp's own
        began = self._loop.time()
        if self._lane is not None:
            await self._lane.drain(timeout or 0.0)
        left = None if timeout is None else max(0.0, timeout - (self._loop.time() - began))
        await super().shutdown(left)
        self._sweeping.cancel()

    def reconfigure(self, *, header_timeout: float, drain_limit: int) -> None:
        """Set other limits, for new connections."""
        self._protocol = partial(
            self._protocol, header_timeout=header_timeout, drain_limit=drain_limit
        )

    def __call__(self, peer_info: PeerInfo | None = None) -> EdgeProtocol:
        return self._protocol(peer_info=peer_info)


# ---- listeners ------------------------------------------------------------------------------

_OK = Ack(200, b"OK")

#: How long an idle connection is kept for the provider's next message, in seconds.
_KEEPALIVE = 75.0

#: For how many seconds unread bytes of a refused request are drained, so that the refusal is seen,
#: and how many bytes at least; as many as a body may have, in any case.
_LINGER = 2.0
_MIN_DRAIN_BYTES = 1024 * 1024

#: How many connections are accepted in one loop iteration, and how many may wait in the backlog.
#: Those accepted are not counted yet: so few that the reserve of file descriptors covers them.
_ACCEPTS_PER_ITERATION = 8
_BACKLOG = 1024

#: For how long idle connections are kept at the end, in seconds: a request that is on its way when
#: we are told to stop is answered still, and with that answer the connection closes.
_IDLE_GRACE = 0.5

#: How long a proxy may take to send its PROXY header.
_PROXY_HEADER = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Listener:
    """One address to listen on; `tls` is None for plain HTTP.

    proxy_protocol: every connection must start with a PROXY header and come from a trusted proxy.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    proxy_protocol: bool = False


class Edge:
    """The public HTTP server: gives each `RequestHead` to `Ingest` and writes its `Ack`."""

    def __init__(
        self,
        *,
        ingest: Ingest,
        telemetry: Telemetry,
        clock: Clock,
        connections: Connections,
        body: BodyReader,
        header_timeout: timedelta,
        trusts: Callable[[Address], bool],
        proxy_header_timeout: timedelta = _PROXY_HEADER,
        fast_lane: bool = True,
    ) -> None:
        """Take the parts; nothing is opened yet.

        trusts: returns whether this address is a trusted proxy, whose PROXY header is believed.
        proxy_header_timeout: for the whole PROXY header.
        fast_lane: False for aiohttp's connections alone, which answer alike.

        Raises:
            RelayError: aiohttp has no C parser here.
        """
        if HttpRequestParser.__module__ != "aiohttp._http_parser":
            # The pure Python parser has been the source of request smuggling before.
            raise RelayError("aiohttp has no C parser here; unset AIOHTTP_NO_EXTENSIONS")
        self._ingest = ingest
        self._telemetry = telemetry
        self._clock = clock
        self._connections = connections
        self._body = body
        self._header_timeout = header_timeout.total_seconds()
        self._trusts = trusts
        self._proxy_header_timeout = proxy_header_timeout.total_seconds()
        self._lane: FastLane | None = None
        if fast_lane:
            self._lane = FastLane(ingest=ingest, body=body, clock=clock, errors=self)
        self._server: EdgeServer | None = None
        self._stopping = False
        self._sockets: list[asyncio.Server] = []
        self._tls_factories: list[TlsHandshakes] = []
        self._proxy_factories: list[ProxyHeaderReaders] = []

    async def start(self, listeners: Sequence[Listener]) -> list[tuple[str, int]]:
        """Listen on every address; return them with their actual ports.

        Raises:
            OSError: an address cannot be listened on; all are closed again.
        """
        self._server = EdgeServer(
            self._handle,
            connections=self._connections,
            errors=self,
            clock=self._clock,
            header_timeout=self._header_timeout,
            drain_limit=self._drain_limit,
            keepalive=_KEEPALIVE,
            linger=_LINGER,
            lane=self._lane,
        )
        loop = asyncio.get_running_loop()
        try:
            for listener in listeners:
                server = await loop.create_server(
                    self._protocol_factory(listener, self._server),
                    listener.host,
                    listener.port,
                    # How many asyncio accepts in one loop iteration, too.
                    backlog=_ACCEPTS_PER_ITERATION,
                )
                self._sockets.append(server)
                _raise_backlog(server)
        except OSError:
            await self.stop(timedelta())
            raise
        return [s.getsockname()[:2] for server in self._sockets for s in server.sockets]

    def reconfigure(self, *, ingest: Ingest, body: BodyReader, header_timeout: timedelta) -> None:
        """Use these from the next request on; open connections keep their limits."""
        self._ingest = ingest
        self._body = body
        self._header_timeout = header_timeout.total_seconds()
        if self._lane is not None:
            self._lane.reconfigure(ingest=ingest, body=body)
        if self._server is not None:
            self._server.reconfigure(
                header_timeout=self._header_timeout, drain_limit=self._drain_limit
            )
        for factory in self._tls_factories:
            factory.timeout = self._header_timeout

    async def stop(self, grace: timedelta) -> None:
        """Stop accepting, drain requests in flight for up to `grace`, then close all connections.

        Every answer from now on carries `Connection: close`, so that no client sends another
        request on its connection.
        """
        self._stopping = True
        if self._lane is not None:
            self._lane.stopping = True
        for server in self._sockets:
            server.close()
        self._sockets.clear()
        for proxy_factory in self._proxy_factories:
            proxy_factory.close()
        self._proxy_factories.clear()
        for factory in self._tls_factories:
            await factory.close()
        self._tls_factories.clear()
        if self._server is not None:
            idle_grace = min(_IDLE_GRACE, grace.total_seconds() / 4)
            await self._server.drained(idle_grace)
            self._server.pre_shutdown()
            await self._server.shutdown(grace.total_seconds() - idle_grace)

    @property
    def _drain_limit(self) -> int:
        return max(self._body.size, _MIN_DRAIN_BYTES)

    @property
    def accepting(self) -> bool:
        """Whether the public listeners are open."""
        return any(server.is_serving() for server in self._sockets)

    def _protocol_factory(
        self, listener: Listener, server: EdgeServer
    ) -> Callable[[], asyncio.BaseProtocol]:
        """Return the factory of the first protocol of each connection to this listener."""
        inner = self._inner_factory(listener, server)
        if not listener.proxy_protocol:
            return inner
        factory = ProxyHeaderReaders(
            trusts=self._trusts,
            connections=self._connections,
            errors=self,
            timeout=self._proxy_header_timeout,
            inner=inner,
        )
        self._proxy_factories.append(factory)
        return factory

    def _inner_factory(self, listener: Listener, server: EdgeServer) -> EdgeServer | TlsHandshakes:
        """Return the factory of the protocol that follows a PROXY header: TLS or HTTP."""
        if listener.tls is None:
            return server
        factory = TlsHandshakes(
            listener.tls,
            connections=self._connections,
            errors=self,
            timeout=self._header_timeout,
            now=self._clock.monotonic,
            inner=server,
        )
        self._tls_factories.append(factory)
        return factory

    # ---- requests ---------------------------------------------------------------------------

    async def _handle(self, request: BaseRequest) -> StreamResponse:
        """Answer one request: the handler that aiohttp calls for each."""
        protocol = cast("EdgeProtocol", request.protocol)
        if is_health_check(request.method, request.raw_path):
            ack, earned = _OK, False
        else:
            ack, earned = await self._deliver(request)
        protocol.earned = protocol.earned or earned
        response = to_response(ack)
        # A refused body is not read to its end just to keep the connection.
        if self._stopping or not request.content.is_eof() or not protocol.may_stay():
            response.force_close()
        return response

    async def _deliver(self, request: BaseRequest) -> tuple[Ack, bool]:
        """Take a request through the steps of ingest, and wait between them.

        Return its answer, and whether that is no refusal.
        """
        ingest = self._ingest
        admission = ingest.admit(self._head(request))
        try:
            if admission.standing is Standing.KNOCK_FIRST:
                await ingest.knock(admission)
            if admission.ack is None:
                await self._receive_body(ingest, admission, request)
        finally:
            ingest.finish(admission)
        # Its log line may have to wait, and an upstream's answer may be long.
        ack, admission.ack = admission.ack, None
        assert ack is not None  # noqa: S101 - each step answers, or leads to the next
        return ack, admission.verdict not in UNEARNED

    async def _receive_body(
        self, ingest: Ingest, admission: Admission, request: BaseRequest
    ) -> None:
        reader = self._body
        if admission.standing is Standing.ONLY_IF_PROVEN:
            reader = reader.shortened(MAX_BODY, BODY_TIMEOUT)
        try:
            body = await reader.read(request, gzip=admission.takes_gzip)
        except Refusal as refusal:
            ingest.refuse(admission, refusal)
            return
        event = ingest.accept(admission, body, self._clock.monotonic())
        if event is not None:
            await ingest.complete(admission, event)

    def _head(self, request: BaseRequest) -> RequestHead:
        peer_info = cast("EdgeProtocol", request.protocol).peer_info
        assert peer_info is not None  # noqa: S101 - a request comes over a connection that was made
        return RequestHead(
            method=request.method,
            target=request.raw_path,
            headers=headers_of(request),
            peer=peer_info.address,
            received_at=self._clock.now(),
            via=peer_info.via,
            forwards=peer_info.forwards,
            peer_text=peer_info.text,
        )

    # ---- errors without a request (`ConnectionErrors`) ------------------------------------------

    def refuse(self, peer: Address, refusal: Refusal) -> Ack:
        record = DeliveryRecord(str(peer), self._clock.now())
        record.verdict, record.reason = Verdict.REFUSED, refusal.reason
        record.detail = refusal.detail
        ack = plain_answer(IngestResult(Verdict.REFUSED, refusal.reason))
        record.status = ack.status
        self._telemetry.received(record)
        return ack

    def fault(self, peer: Address, error: BaseException | None) -> Ack:
        if error is not None:
            self._telemetry.log.fault("edge_fault", error, peer=str(peer))
        ack = plain_answer(IngestResult(Verdict.UNAVAILABLE))
        record = DeliveryRecord(str(peer), self._clock.now())
        record.status = ack.status
        self._telemetry.received(record)
        return ack


def _raise_backlog(server: asyncio.Server) -> None:
    """Set the backlog higher than the number of connections accepted per loop iteration."""
    for listening in server.sockets:
        with socket.socket(fileno=os.dup(listening.fileno())) as duplicate:
            duplicate.listen(_BACKLOG)


#: Descriptors for the spool, DNS, the private listener, the log and libraries, and for connections
#: that are being closed.
_RESERVE: Final = 64


def connection_budget(*, available: int, others: int) -> int:
    """Return how many public connections the descriptors allow, one at least.

    available: descriptors of this process. others: those reserved for connections to upstreams.
    Where descriptors are few, half of them are reserved.
    """
    reserved = min(_RESERVE + others, available // 2)
    return max(1, available - reserved)


def descriptors() -> int:
    """Return the soft limit on file descriptors of this process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else soft
