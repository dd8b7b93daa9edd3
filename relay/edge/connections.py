"""Open connections: limits on them, one sweep for their deadlines, and the peer of each.

Connections are limited in all and from one address. Many clients share the connections of one
trusted proxy: there, the requests of each client are limited instead (`relay.ingest`). Strangers
that take up all they may have shut nobody out: some connections are kept for known addresses, and
of strangers, the one that has been idle for longest gives way.

One sweep keeps the deadlines of all connections, instead of a timer for each. What falls due in the
same moment, because a thousand senders stalled together, is dealt with a few connections at a time,
so that the event loop goes on with everything else meanwhile.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from ipaddress import ip_address
from itertools import count
from typing import Final, Protocol, TypeVar

from relay.core.clock import Clock
from relay.core.errors import Refusal
from relay.core.request import Ack, Address, Via
from relay.ingest.client_address import ClientKey, client_key, unmap_ipv4

T = TypeVar("T")

#: A connection without a deadline, or with a request under way.
NEVER: Final = float("inf")


class Evictable(Protocol):
    """A counted connection that can give way to another one."""

    @property
    def idle_since(self) -> float:
        """Monotonic time since when no request of it is under way; `NEVER` while one is.

        One that has said nothing yet is idle since it was made. It may be a sweep's interval off.
        """

    def give_way(self) -> None:
        """Close at once and without an answer; it is not counted any more when this returns."""


#: Of all connections one in so many is kept for known addresses: at least so many, at most half.
_RESERVED_SHARE: Final = 16
_MIN_RESERVED: Final = 64

#: An IPv6 network of 48 bits, a site, has so many times the connections of one address.
_PER_SITE: Final = 4
_IPV6: Final = 6
_SITE_BITS: Final = 16

#: Connections that are looked at to find one that gives way, and entries of ended ones at most.
_MAX_EXAMINED: Final = 64
_MAX_STALE: Final = 1024


class Connections:
    """Counter of open connections with limits: in all, from one address, and from one site.

    A known address is a trusted proxy's, or one that sends to us. Some connections are kept for
    those. Once all others are in use, a new connection makes the stranger's that has been idle for
    longest give way.
    """

    def __init__(
        self,
        *,
        total: int,
        per_address: int,
        shares_address: Callable[[Address], bool],
        now: Callable[[], float],
        is_sender: Callable[[Address], bool] = lambda _: False,
        on_evicted: Callable[[], None] = lambda: None,
        ceiling: int | None = None,
    ) -> None:
        """Set the limits.

        total: open connections in all.
        ceiling: the highest `total` that this process can serve; None for no bound.
        per_address: open connections from one address; an IPv6 network of 64 bits counts as one. A
            site may have four times as many, but for known addresses.
        shares_address: returns whether this address is a trusted proxy, which many clients share;
            the limit for one address does not hold for it.
        now: returns the monotonic time.
        is_sender: returns whether an endpoint lists this address, or a signed message came from it.
        on_evicted: called when a connection has given way.
        """
        self._ceiling = ceiling
        self.reconfigure(total=total, per_address=per_address)
        self._shares_address = shares_address
        self._now = now
        self._is_sender = is_sender
        self._on_evicted = on_evicted
        self._open: dict[ClientKey, int] = {}
        self._sites: dict[int, int] = {}
        self._count = 0
        self._evictable: dict[Evictable, Address] = {}
        # While room is scarce: the connections by when they were last found idle, or a moment
        # before. An entry is corrected when it comes first.
        self._idle: list[tuple[float, int, Evictable]] = []
        self._number = count()

    def reconfigure(self, *, total: int, per_address: int) -> None:
        """Set other limits, for new connections. Open connections stay open."""
        self._total = total if self._ceiling is None else min(total, self._ceiling)
        reserved = max(_MIN_RESERVED, self._total // _RESERVED_SHARE)
        self._for_strangers = self._total - min(reserved, self._total // 2)
        self._per_address = per_address

    def __len__(self) -> int:
        return self._count

    def knows(self, address: Address) -> bool:
        """Return whether this address is a trusted proxy's, or one that sends to us."""
        return self._shares_address(address) or self._is_sender(address)

    def add(self, peer: Address, connection: Evictable | None = None) -> bool:
        """Count a new connection; return False when it exceeds a limit.

        It is counted in both cases, until `remove`. Another one may give way to it.

        connection: what may have to give way later; None for one that does not.
        """
        client = client_key(peer)
        self._count += 1
        self._open[client] = open_here = self._open.get(client, 0) + 1
        within_limit = open_here <= self._per_address or self._shares_address(peer)
        if client[0] == _IPV6:
            site = client[1] >> _SITE_BITS
            self._sites[site] = of_site = self._sites.get(site, 0) + 1
            if of_site > _PER_SITE * self._per_address and not self.knows(peer):
                within_limit = False
        if not within_limit or (self._count > self._for_strangers and not self._has_room(peer)):
            return False
        if connection is not None:
            self._evictable[connection] = peer
            if self._idle:
                heappush(self._idle, (self._now(), next(self._number), connection))
        return True

    def remove(self, peer: Address, connection: Evictable | None = None) -> None:
        """Stop counting a connection of this peer."""
        client = client_key(peer)
        self._count -= 1
        _decrement(self._open, client)
        if client[0] == _IPV6:
            _decrement(self._sites, client[1] >> _SITE_BITS)
        if connection is not None:
            self._evictable.pop(connection, None)
        if self._idle and self._count <= self._for_strangers // 2:
            self._idle.clear()

    def _has_room(self, peer: Address) -> bool:
        """Return whether this peer may have a connection more than strangers may have in all."""
        known = self.knows(peer)
        if known or self._count == self._for_strangers + 1:
            stranger = self._longest_idle_stranger()
            if stranger is not None:
                stranger.give_way()
                self._on_evicted()
        return self._count <= (self._total if known else self._for_strangers)

    def _longest_idle_stranger(self) -> Evictable | None:
        idle, evictable, now = self._idle, self._evictable, self._now()
        if not idle or len(idle) > len(evictable) + _MAX_STALE:
            idle[:] = [(min(each.idle_since, now), next(self._number), each) for each in evictable]
            heapify(idle)
        for _ in range(min(_MAX_EXAMINED, len(idle))):
            since, _, connection = heappop(idle)
            if connection not in evictable:
                continue
            idle_since = connection.idle_since
            if idle_since == since and not self.knows(evictable[connection]):
                return connection
            if idle_since in {since, NEVER}:
                # It is known, or will not have been idle before now: looked at again behind others.
                idle_since = max(since, now)
            heappush(idle, (idle_since, next(self._number), connection))
        return None


def _decrement(counts: dict[T, int], key: T) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]


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


class Deadlined(Protocol):
    """A connection that is swept. `due`: monotonic time when something must have happened."""

    due: float

    def expire(self, now: float) -> None:
        """Act on a deadline that has passed. `due` lies behind `now` when this returns."""


class Sweep:
    """The connections that are swept.

    keepalive: for how many seconds an idle connection is kept.
    idle_due: when a connection that falls idle now is to be closed; renewed by each sweep.
    """

    def __init__(self, clock: Clock, keepalive: float) -> None:
        """Take the clock of all deadlines, and for how many seconds an idle connection is kept."""
        self._clock = clock
        self.keepalive = keepalive
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
        self.idle_due = now + self.keepalive
        overdue = [each for each in self._connections if each.due <= now]
        for number, each in enumerate(overdue, 1):
            # Meanwhile it may have gone on, or ended.
            if each.due <= now and each in self._connections:
                each.expire(now)
            if not number % SWEEP_BATCH_SIZE:
                await asyncio.sleep(0)
