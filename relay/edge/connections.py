"""Limits on connections, in all and from one address; and whose connection one is.

Many clients share the connections of one proxy: there, what each of them has in hand is limited.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Self

from relay.core.errors import Reason, Refusal
from relay.core.request import Address, Via
from relay.ingest.client_address import plain

_IPV4: Final = 4

#: The version of an address, and the number of its client's network.
_Client = tuple[int, int]


class Connections:
    """Counts open connections, and requests in hand, and says when there are enough."""

    def __init__(
        self,
        *,
        total: int,
        per_address: int,
        shares_address: Callable[[Address], bool],
        ceiling: int | None = None,
    ) -> None:
        """Set the limits.

        ceiling: how many there can be in all, whatever the limits are.
        per_address: of connections from one address, and of requests in hand from one client; an
            IPv6 network of 64 bits counts as one.
        shares_address: true for a trusted proxy, behind which many clients stand; those do not
            share a limit among them.
        """
        self._ceiling = ceiling
        self.reconfigure(total=total, per_address=per_address)
        self._shares_address = shares_address
        self._open: dict[_Client, int] = {}
        self._in_hand: dict[_Client, int] = {}
        self._count = 0

    def reconfigure(self, *, total: int, per_address: int) -> None:
        """Set other limits. Connections that are open already stay so."""
        self._total = total if self._ceiling is None else min(total, self._ceiling)
        self._per_address = per_address

    def __len__(self) -> int:
        return self._count

    def enter(self, peer: Address) -> bool:
        """Count a new connection; False when it is one too many. It must `leave` either way."""
        self._count += 1
        few = _increment(self._open, peer) <= self._per_address
        return self._count <= self._total and (few or self._shares_address(peer))

    def leave(self, peer: Address) -> None:
        """Count a connection out."""
        self._count -= 1
        _decrement(self._open, peer)

    def begin(self, client: Address) -> bool:
        """Count a request; False when its client has too many. It must `end` either way."""
        return _increment(self._in_hand, client) <= self._per_address

    def end(self, client: Address) -> None:
        """Count a request out."""
        _decrement(self._in_hand, client)


class InFlight:
    """One request from its head to its answer: a context manager that counts it."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._client: Address | None = None

    def of(self, client: Address) -> None:
        """Count the request for its client. Called once at most.

        Raises:
            Refusal: TOO_MANY_CONNECTIONS, when this client has as many in hand as it may have.
        """
        self._client = client
        if not self._connections.begin(client):
            raise Refusal(Reason.TOO_MANY_CONNECTIONS, "requests of one client in hand")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._connections.end(self._client)


def _increment(counter: dict[_Client, int], address: Address) -> int:
    one = _counted_as(address)
    counter[one] = count = counter.get(one, 0) + 1
    return count


def _decrement(counter: dict[_Client, int], address: Address) -> None:
    one = _counted_as(address)
    counter[one] = left = counter.get(one, 0) - 1
    if left <= 0:
        del counter[one]


def _counted_as(address: Address) -> _Client:
    """Return what stands for all addresses of one client.

    Who has IPv6 has a network of 64 bits at least (RFC 6177): each of its addresses would have a
    share of its own.
    """
    # As numbers: addresses take their time to hash.
    number = int(address)
    return (4, number) if address.version == _IPV4 else (6, number >> 64)


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """The other end of a connection. The fields mean what they mean in `RequestHead`."""

    address: Address
    via: Via = Via.PEER
    forwards: bool = True


def peer_info_of(transport: asyncio.BaseTransport) -> PeerInfo:
    """Return the socket's other end."""
    return PeerInfo(plain(ip_address(transport.get_extra_info("peername")[0].partition("%")[0])))
