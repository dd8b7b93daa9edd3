"""TLS of the public listeners: a context with a renewable certificate, and counted handshakes."""

import asyncio
import ssl
from asyncio.sslproto import AppProtocolState, SSLProtocol, SSLProtocolState
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from relay.core.errors import Reason, Refusal
from relay.core.files import Fingerprint, fingerprint
from relay.edge.connections import NEVER, ConnectionErrors, Connections, PeerInfo, peer_info_of
from relay.edge.protocol import EdgeProtocol

# ---- contexts -------------------------------------------------------------------------------


class ServerTls:
    """The certificate and key of one listener, renewable while it listens.

    context: the listener's context, for its whole life. Each handshake uses the newest pair, and
        connections keep the pair of their handshake.

    Raises:
        OSError, ssl.SSLError: as `server_context`.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self.certificate = certificate
        self.key = key
        # Looked at before it is read: what changes meanwhile is then found stale.
        self._loaded = self._fingerprint()
        self.context = server_context(certificate, key)
        self._newest = self.context
        # A context that has failed to load a pair once is of no use any more, so none is ever
        # loaded into this one again: a handshake is moved to another context as it begins.
        self.context.sni_callback = self._select_context

    def is_stale(self) -> bool:
        """Return whether the files have changed since they were loaded. Raises nothing."""
        return self._fingerprint() != self._loaded

    def renew(self) -> None:
        """Load the pair from the files, for every handshake from here on. Thread-safe.

        Raises:
            OSError, ssl.SSLError: as `server_context`; the pair before stays in use.
        """
        current = self._fingerprint()
        self._newest = server_context(self.certificate, self.key)
        self._loaded = current

    def _fingerprint(self) -> Fingerprint:
        return fingerprint((self.certificate, self.key))

    def _select_context(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        connection.context = self._newest


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return a server context for TLS 1.2 and later, with HTTP/1.1 alone in ALPN.

    Raises:
        OSError: a file cannot be read.
        ssl.SSLError: the files are no certificate and key, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # An empty pass phrase keeps OpenSSL from asking for one at the terminal.
    context.load_cert_chain(certificate, key, password="")
    return context


# ---- handshakes -----------------------------------------------------------------------------
# asyncio tells a protocol of a TLS connection only after the handshake. Until then nothing would
# count it, and a silent client would hold it for as long as the handshake may take.

#: Seconds for the other side to end TLS, once we have. asyncio's own are 30, in which a connection
#: that is over counts still.
_SHUTDOWN: Final = 2.0


#: Without its type: that of the library knows nothing of what is private.
_AsyncioTls: Any = SSLProtocol


class _HalfClosableTls(_AsyncioTls):  # type: ignore[misc] # likewise
    """asyncio's TLS over one connection; it lets us answer after its other side has ended.

    asyncio itself closes as soon as the other side has, by close_notify or by the end of TCP, and
    drops what is written from then on.
    """

    _is_kept = False

    @property
    def secure_transport(self) -> asyncio.Transport | None:
        """The transport of what is encrypted; None before the handshake has ended."""
        transport: asyncio.Transport | None = self._app_transport
        return transport

    def _call_eof_received(self, *_: object) -> None:
        # At most once, as asyncio does it.
        if self._app_state is AppProtocolState.STATE_CON_MADE:  # type: ignore[has-type] # likewise
            self._app_state = AppProtocolState.STATE_EOF
            self._is_kept = bool(self._app_protocol.eof_received())

    def _start_shutdown(self, *arguments: object) -> None:
        if self._is_kept and not self._is_closed_by_us:
            return
        super()._start_shutdown(*arguments)

    def eof_received(self) -> Any:  # noqa: ANN401 - as asyncio has it
        if self._state is SSLProtocolState.WRAPPED and not self._app_reading_paused:
            self._do_read()
            self._call_eof_received()
            if self._is_kept and not self._is_closed_by_us:
                self._eof_received = True
                return True
        return super().eof_received()

    @property
    def _is_closed_by_us(self) -> bool:
        transport = self.secure_transport
        return transport is not None and transport.is_closing()


async def _start_tls(
    transport: asyncio.Transport, protocol: EdgeProtocol, context: ssl.SSLContext, seconds: float
) -> asyncio.Transport | None:
    """Do the handshake, as `loop.start_tls` does; return the transport that follows it.

    Raises:
        OSError: there is no TLS, not in time, or the connection is over.
    """
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()
    tls = _HalfClosableTls(
        loop,
        protocol,
        context,
        waiter,
        server_side=True,
        ssl_handshake_timeout=seconds,
        ssl_shutdown_timeout=_SHUTDOWN,
        call_connection_made=False,
    )
    transport.pause_reading()
    transport.set_protocol(tls)
    steps = (
        loop.call_soon(tls.connection_made, transport),
        loop.call_soon(transport.resume_reading),
    )
    try:
        await waiter
    except BaseException:
        transport.close()
        for step in steps:
            step.cancel()
        raise
    return tls.secure_transport


class TlsHandshakes:
    """Factory of the `TlsHandshake` of each connection to one listener.

    handshakes: the tasks of those under way.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        connections: Connections,
        errors: ConnectionErrors,
        timeout: float,
        now: Callable[[], float],
        inner: Callable[[PeerInfo], EdgeProtocol],
    ) -> None:
        """Take the parts.

        timeout: seconds for a handshake. now: returns the monotonic time. inner: makes what follows
            the handshake.
        """
        self.context = context
        self.connections = connections
        self.errors = errors
        self.timeout = timeout
        self.now = now
        self.inner = inner
        self.handshakes: set[asyncio.Task[None]] = set()

    def __call__(self, peer_info: PeerInfo | None = None) -> "TlsHandshake":
        return TlsHandshake(self, peer_info)

    async def close(self) -> None:
        """Cancel the handshakes under way, and return when they have ended."""
        for handshake in tuple(self.handshakes):
            handshake.cancel()
        await asyncio.gather(*self.handshakes, return_exceptions=True)


class TlsHandshake(asyncio.Protocol):
    """Counts a connection during its handshake, then replaces itself by the inner protocol."""

    def __init__(self, factory: TlsHandshakes, peer_info: PeerInfo | None) -> None:
        self._factory = factory
        self._peer_info = peer_info
        self._counted = False
        #: Of `Evictable`: since when it was made, for it has said nothing of HTTP.
        self.idle_since = NEVER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP has no other
        peer_info = self._peer_info or peer_info_of(transport)
        self._transport, self._peer = transport, peer_info.address
        peer = peer_info.address
        if not self._factory.connections.add(peer, self):
            self._factory.connections.remove(peer, self)
            self._factory.errors.refuse(peer, Refusal(Reason.TOO_MANY_CONNECTIONS))
            transport.abort()
            return
        transport.pause_reading()
        loop = asyncio.get_running_loop()
        handshake = loop.create_task(self._handshake(transport, peer_info))
        self._factory.handshakes.add(handshake)
        handshake.add_done_callback(self._factory.handshakes.discard)
        handshake.add_done_callback(lambda _: self._uncount())
        self._counted = True
        self.idle_since = self._factory.now()

    def give_way(self) -> None:
        """Close at once (`Evictable`); the handshake ends with it."""
        self._uncount()
        self._transport.abort()

    def _uncount(self) -> None:
        """Stop counting the connection. Idempotent."""
        if self._counted:
            self._counted = False
            self._factory.connections.remove(self._peer, self)

    async def _handshake(self, transport: asyncio.Transport, peer_info: PeerInfo) -> None:
        loop = asyncio.get_running_loop()
        # TLS sees how full this buffer is only when it is told.
        transport.set_write_buffer_limits(high=0)
        protocol = self._factory.inner(peer_info)
        deadline = loop.time() + self._factory.timeout
        secure = None
        # What is not TLS at all is noise of the internet: it is closed, and nothing is said.
        with suppress(OSError):
            secure = await _start_tls(
                transport, protocol, self._factory.context, self._factory.timeout
            )
        # From here on the connection is counted by the protocol, or it is over.
        self._uncount()
        if secure is not None:
            protocol.connection_made(secure)
        elif loop.time() >= deadline:
            refusal = Refusal(Reason.HEADER_TIMEOUT, "no TLS handshake in time")
            self._factory.errors.refuse(peer_info.address, refusal)
