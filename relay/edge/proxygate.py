"""A connection before its PROXY header is read.

Only a trusted proxy is listened to, and for a short time. Exactly the header is read: what comes
behind it belongs to TLS or HTTP.
"""

import asyncio
from collections.abc import Callable

from relay.edge.connections import Connections
from relay.edge.origin import Origin, origin_of
from relay.edge.protocol import Complaints
from relay.edge.proxyheader import ProxyHeader, ProxyHeaderInvalid, missing, parse
from relay.errors import Reason, Refusal
from relay.model import Address, Via


class ProxyGates:
    """The gates of one listener: makes them, and knows which headers are still awaited."""

    def __init__(
        self,
        *,
        trusts: Callable[[Address], bool],
        connections: Connections,
        complaints: Complaints,
        timeout: float,
        behind: Callable[[Origin], asyncio.BaseProtocol],
    ) -> None:
        """Take the parts.

        trusts: whose word is taken. timeout: seconds for a whole header. behind: what a gate
            opens to.
        """
        self.trusts = trusts
        self.connections = connections
        self.complaints = complaints
        self.timeout = timeout
        self.behind = behind
        self.waiting: set[asyncio.Transport] = set()

    def __call__(self) -> "ProxyGate":
        return ProxyGate(self)

    def close(self) -> None:
        """Give up the connections whose header has not come."""
        for transport in tuple(self.waiting):
            transport.abort()


class ProxyGate(asyncio.BufferedProtocol):
    """Reads the header of one connection, and steps aside."""

    def __init__(self, gates: ProxyGates) -> None:
        self._gates = gates
        self._begun = b""
        self._buffer = bytearray()
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP has no other
        self._transport = transport
        self._proxy = origin_of(transport).address
        if not self._gates.trusts(self._proxy):
            self._turn_away(_invalid("from an address that is not in trusted_proxies"))
            return
        if not self._gates.connections.enter(self._proxy):
            self._gates.connections.leave(self._proxy)
            self._turn_away(Refusal(Reason.TOO_MANY_CONNECTIONS))
            return
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._gates.timeout, self._late)
        self._gates.waiting.add(transport)

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - the header has its own
        self._buffer = bytearray(missing(self._begun))
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._begun += self._buffer[:nbytes]
        try:
            if missing(self._begun):
                return
            header = parse(self._begun)
        except ProxyHeaderInvalid as invalid:
            self._leave()
            self._turn_away(_invalid(str(invalid)))
        else:
            self._leave()
            self._step_aside(header)

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002 - it is over
        # A balancer that only looks whether the port is open says nothing at all.
        if self._leave() and self._begun:
            self._turn_away(_invalid("the connection ended inside the header"))

    def _step_aside(self, header: ProxyHeader) -> None:
        if header.source is None:
            origin = Origin(self._proxy, forwards=False)
        else:
            origin = Origin(header.source, Via.PROXY)
        protocol = self._gates.behind(origin)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)

    def _leave(self) -> bool:
        """Count the connection out; False when it was not counted, or no longer."""
        if self._deadline is None:
            return False
        self._deadline.cancel()
        self._deadline = None
        self._gates.waiting.discard(self._transport)
        self._gates.connections.leave(self._proxy)
        return True

    def _late(self) -> None:
        self._leave()
        self._turn_away(_invalid("no whole header in time"))

    def _turn_away(self, refusal: Refusal) -> None:
        """Close without an answer: who expects one is not spoken to here."""
        self._gates.complaints.refuse(self._proxy, refusal)
        self._transport.abort()


def _invalid(detail: str) -> Refusal:
    return Refusal(Reason.PROXY_HEADER_INVALID, detail)
