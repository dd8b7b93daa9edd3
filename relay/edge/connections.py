"""Limits on open connections and on requests in flight; and the peer of a connection.

Connections are limited in all and from one address. Many clients share the connections of one
trusted proxy: there, the requests of each client are limited instead.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Self

from relay.core.errors import Reason, Refusal
from relay.core.request import Address, Via
from relay.ingest.client_address import unmap_ipv4

_IPV4: Final = 4

#: The version of an address, and the number of its client's network.
_Client = tuple[int, int]


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
        per_address: open connections from one address, and requests in flight from one client; an
            IPv6 network of 64 bits counts as one.
        shares_address: returns whether this address is a trusted proxy, which many clients share;
            the limit for one address does not hold for it.
        """
        self._ceiling = ceiling
        self.reconfigure(total=total, per_address=per_address)
        self._shares_address = shares_address
        self._open: dict[_Client, int] = {}
        self._requests: dict[_Client, int] = {}
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
        client = _client_of(peer)
        self._count += 1
        self._open[client] = open_here = self._open.get(client, 0) + 1
        within_limit = open_here <= self._per_address
        return self._count <= self._total and (within_limit or self._shares_address(peer))

    def remove(self, peer: Address) -> None:
        """Stop counting a connection of this peer."""
        self._count -= 1
        _decrement(self._open, _client_of(peer))

    def track_request(self) -> "InFlight":
        """Return the counter of one request, which counts nothing yet."""
        return InFlight(self._requests, self._per_address)


class InFlight:
    """Context manager that counts one request in flight, from `count` to its exit."""

    def __init__(self, requests: dict[_Client, int], limit: int) -> None:
        """Take the shared counts by client, and the limit for each."""
        self._requests = requests
        self._limit = limit
        self._client: _Client | None = None

    def count(self, client: Address) -> None:
        """Count the request as its client's. Must be called once at most.

        Raises:
            Refusal: TOO_MANY_CONNECTIONS, when this client exceeds its limit.
        """
        self._client = key = _client_of(client)
        self._requests[key] = in_flight = self._requests.get(key, 0) + 1
        if in_flight > self._limit:
            raise Refusal(Reason.TOO_MANY_CONNECTIONS, "requests of one client in hand")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            _decrement(self._requests, self._client)


def _decrement(counts: dict[_Client, int], client: _Client) -> None:
    counts[client] -= 1
    if not counts[client]:
        del counts[client]


def _client_of(address: Address) -> _Client:
    """Return the key under which an address is counted: itself, or its IPv6 network of 64 bits.

    A client with IPv6 has such a network at least (RFC 6177): counted one by one, each of its
    addresses would have a limit of its own.
    """
    # As numbers: addresses take their time to hash.
    number = int(address)
    return (4, number) if address.version == _IPV4 else (6, number >> 64)


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """The peer of a connection. The fields have the meaning they have in `RequestHead`."""

    address: Address
    via: Via = Via.PEER
    forwards: bool = True


def peer_info_of(transport: asyncio.BaseTransport) -> PeerInfo:
    """Return the peer of this socket, without a zone."""
    host = transport.get_extra_info("peername")[0].partition("%")[0]
    return PeerInfo(unmap_ipv4(ip_address(host)))
