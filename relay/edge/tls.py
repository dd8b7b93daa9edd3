"""TLS of the public listeners: the context, and a connection before its handshake is done."""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from relay.core.errors import Reason, Refusal
from relay.core.files import Fingerprint, fingerprint
from relay.core.request import Address
from relay.edge.connections import Connections, PeerInfo, peer_info_of
from relay.edge.protocol import ConnectionErrors, EdgeProtocol

# ---- contexts -------------------------------------------------------------------------------


class ServerTls:
    """The certificate and key of one listener, which may be renewed while it listens.

    context: what a listener is given, once. Each handshake takes the pair that is newest then, and
        connections keep what they began with.

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
        """Say whether the files are others than those that were taken. Raises nothing."""
        return self._fingerprint() != self._loaded

    def renew(self) -> None:
        """Take the pair that is in the files now, for every handshake from here on.

        May be called from any thread.

        Raises:
            OSError, ssl.SSLError: as `server_context`; the pair before stays.
        """
        current = self._fingerprint()
        self._newest = server_context(self.certificate, self.key)
        self._loaded = current

    def _fingerprint(self) -> Fingerprint:
        return fingerprint((self.certificate, self.key))

    def _select_context(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        connection.context = self._newest


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return a context that speaks TLS 1.2 and up, HTTP/1.1 only.

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


# ---- before the handshake is done -----------------------------------------------------------
# asyncio tells a protocol of a TLS connection only after the handshake. Until then nobody would
# count it, and a stranger who says nothing would hold it for as long as the handshake may take.


class TlsHandshakes:
    """The gates of one listener: makes them, and knows which handshakes are under way."""

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        connections: Connections,
        errors: ConnectionErrors,
        timeout: float,
        inner: Callable[[PeerInfo], EdgeProtocol],
    ) -> None:
        """Take the parts. `timeout`: seconds for a handshake. `behind`: what a gate opens to."""
        self.context = context
        self.connections = connections
        self.errors = errors
        self.timeout = timeout
        self.inner = inner
        self.handshakes: set[asyncio.Task[None]] = set()

    def __call__(self, peer_info: PeerInfo | None = None) -> "TlsHandshake":
        return TlsHandshake(self, peer_info)

    async def close(self) -> None:
        """Give up the handshakes that are under way."""
        for handshake in tuple(self.handshakes):
            handshake.cancel()
        await asyncio.gather(*self.handshakes, return_exceptions=True)


class TlsHandshake(asyncio.Protocol):
    """Counts a connection, shakes hands in time, and steps aside."""

    def __init__(self, factory: TlsHandshakes, peer_info: PeerInfo | None) -> None:
        self._factory = factory
        self._peer_info = peer_info
        self._counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP has no other
        peer_info = self._peer_info or peer_info_of(transport)
        peer = peer_info.address
        if not self._factory.connections.add(peer):
            self._factory.connections.remove(peer)
            self._factory.errors.refuse(peer, Refusal(Reason.TOO_MANY_CONNECTIONS))
            transport.abort()
            return
        transport.pause_reading()
        loop = asyncio.get_running_loop()
        handshake = loop.create_task(self._handshake(transport, peer_info))
        self._factory.handshakes.add(handshake)
        handshake.add_done_callback(self._factory.handshakes.discard)
        handshake.add_done_callback(lambda _: self._uncount(peer))
        self._counted = True

    def _uncount(self, peer: Address) -> None:
        """Count the connection out, once."""
        if self._counted:
            self._counted = False
            self._factory.connections.remove(peer)

    async def _handshake(self, transport: asyncio.Transport, peer_info: PeerInfo) -> None:
        loop = asyncio.get_running_loop()
        # TLS sees how full this buffer is only when it is told.
        transport.set_write_buffer_limits(high=0)
        protocol = self._factory.inner(peer_info)
        deadline = loop.time() + self._factory.timeout
        secure = None
        # What is not TLS at all is noise of the internet: it is closed, and nothing is said.
        with suppress(OSError):
            secure = await loop.start_tls(
                transport,
                protocol,
                self._factory.context,
                server_side=True,
                ssl_handshake_timeout=self._factory.timeout,
            )
        # From here on the connection is counted by the protocol, or it is over.
        self._uncount(peer_info.address)
        if secure is not None:
            protocol.connection_made(secure)
        elif loop.time() >= deadline:
            refusal = Refusal(Reason.HEADER_TIMEOUT, "no TLS handshake in time")
            self._factory.errors.refuse(peer_info.address, refusal)
