"""Open connections: limits on them, one sweep for their deadlines, and the peer of each.

Connections are limited in all and from one address. Many clients share the connections of one
trusted proxy: there, the requests of each client are limited instead (`relay.ingest`).

One sweep keeps the deadlines of all connections, instead of a timer for each. What falls due in the
same moment, because a thousand senders stalled together, is dealt with a few connections at a time,
so that the event loop goes on with everything else meanwhile.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, Protocol

from relay.core.clock import Clock
from relay.core.errors import Refusal
from relay.core.request import Ack, Address, Via
from relay.ingest.client_address import ClientKey, client_key, unmap_ipv4


class Connections:
    """Counter of open connections with limits: in all, and from one address."""

    def __init__(
        self,
        *,
        total: int,
        per_address: int,
        shares_address: Callable[[Address], bool],
        ceiling: int | None = None,
    ) -> None:
        """Set the limits.

        total: open connections in all.
        ceiling: the highest `total` that this process can serve; None for no bound.
        per_address: open connections from one address; an IPv6 network of 64 bits counts as one.
        shares_address: returns whether this address is a trusted proxy, which many clients share;
            the limit for one address does not hold for it.
        """
        self._ceiling = ceiling
        self.reconfigure(total=total, per_address=per_address)
        self._shares_address = shares_address
        self._open: dict[ClientKey, int] = {}
        self._count = 0

    def reconfigure(self, *, total: int, per_address: int) -> None:
        """Set other limits, for new connections. Open connections stay open."""
        self._total = total if self._ceiling is None else min(total, self._ceiling)
        self._per_address = per_address

    def __len__(self) -> int:
        return self._count

    def add(self, peer: Address) -> bool:
        """Count a new connection; return False when it exceeds a limit.

        It is counted in both cases, until `remove`.
        """
        client = client_key(peer)
        self._count += 1
        self._open[client] = open_here = self._open.get(client, 0) + 1
        within_limit = open_here <= self._per_address
        return self._count <= self._total and (within_limit or self._shares_address(peer))

    def remove(self, peer: Address) -> None:
        """Stop counting a connection of this peer."""
        self._count -= 1
        _decrement(self._open, client_key(peer))


def _decrement(counts: dict[ClientKey, int], client: ClientKey) -> None:
    counts[client] -= 1
    if not counts[client]:
        del counts[client]


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """The peer of a connection. The fields have the meaning they have in `RequestHead`."""

    address: Address
    via: Via = Via.PEER
    forwards: bool = True
    text: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", str(self.address))


def peer_info_of(transport: asyncio.BaseTransport) -> PeerInfo:
    """Return the peer of this socket, without a zone."""
    host = transport.get_extra_info("peername")[0].partition("%")[0]
    return PeerInfo(unmap_ipv4(ip_address(host)))


class ConnectionErrors(Protocol):
    """Records errors of connections that became no delivery, and returns their answers."""

    def refuse(self, peer: Address, refusal: Refusal) -> Ack:
        """Record a refusal and return its answer."""

    def fault(self, peer: Address, error: BaseException | None) -> Ack:
        """Log the error if there is one, record a fault of ours and return its answer."""


# ---- deadlines ------------------------------------------------------------------------------

#: Seconds between two sweeps: a deadline is kept at most so much late.
SWEEP_INTERVAL: Final = 0.25

#: Overdue connections that are dealt with in one iteration of the event loop.
SWEEP_BATCH_SIZE: Final = 4

#: A connection without a deadline.
NEVER: Final = float("inf")


class Deadlined(Protocol):
    """A connection that is swept. `due`: monotonic time when something must have happened."""

    due: float

    def expire(self, now: float) -> None:
        """Act on a deadline that has passed. `due` lies behind `now` when this returns."""


class Sweep:
    """The connections that are swept.

    idle_due: when a connection that falls idle now is to be closed; renewed by each sweep.
    """

    def __init__(self, clock: Clock, keepalive: float) -> None:
        """Take the clock of all deadlines, and for how many seconds an idle connection is kept."""
        self._clock = clock
        self._keepalive = keepalive
        self._connections: set[Deadlined] = set()
        self.now = clock.monotonic
        self.idle_due = self.now() + keepalive

    def add(self, connection: Deadlined) -> None:
        """Sweep this connection, too."""
        self._connections.add(connection)

    def remove(self, connection: Deadlined) -> None:
        """Sweep this connection no more. One that is not swept is skipped."""
        self._connections.discard(connection)

    async def run(self) -> None:
        """Sweep periodically, until cancelled."""
        while True:
            await self._clock.sleep(SWEEP_INTERVAL)
            await self.sweep()

    async def sweep(self) -> None:
        """Expire what is overdue, a few connections in each iteration of the event loop."""
        now = self.now()
        self.idle_due = now + self._keepalive
        overdue = [each for each in self._connections if each.due <= now]
        for number, each in enumerate(overdue, 1):
            # Meanwhile it may have gone on, or ended.
            if each.due <= now and each in self._connections:
                each.expire(now)
            if not number % SWEEP_BATCH_SIZE:
                await asyncio.sleep(0)
