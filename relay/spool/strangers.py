"""The `StrangerStore` contract: addresses on no list that were refused for that, and how often.

`tests/contracts/strangers.py` is the contract in executable form; every backend passes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from relay.core.request import Address

#: The bits of an IPv6 address that its network has; a host of it changes the others at will.
NETWORK_BITS = 64


@dataclass(frozen=True, slots=True)
class StrangerLimits:
    """How many networks are kept. Past these, those seen least recently are removed.

    per_endpoint: of one endpoint. total: of all. Of an endpoint so many stay that are not the last
    seen: fitted, those of which a signature fitted, the last ones; frequent, those refused most
    often. No number of others removes these.
    """

    per_endpoint: int = 1000
    total: int = 20_000
    fitted: int = 300
    frequent: int = 300


@dataclass(frozen=True, slots=True)
class Stranger:
    """A network that was refused at an endpoint.

    network: an IPv4 address, or the 64 bits of an IPv6 network, as text. address: the last of it.
    path: what it asked for last, without a query.
    signature_fits: one of its deliveries had a right signature or token.
    """

    endpoint: str
    network: str
    address: str
    path: str
    times: int
    first_at: datetime
    last_at: datetime
    signature_fits: bool = False


def network_of(address: Address) -> str:
    """Return the network that an address is counted by."""
    if address.version == 4:  # noqa: PLR2004 - IPv4
        return str(address)
    host = 128 - NETWORK_BITS
    return f"{type(address)(int(address) >> host << host)}/{NETWORK_BITS}"


@dataclass(frozen=True, slots=True)
class StrangerQuery:
    """Which strangers. An empty field does not narrow."""

    endpoint: str | None = None
    limit: int = 100


class StrangerStore(Protocol):
    """Keeps strangers.

    Every method raises `SpoolUnavailable` when the store cannot do its work.
    """

    async def add(self, seen: Sequence[Stranger], bounds: StrangerLimits) -> None:
        """Add these to what is known of their networks, all or none; then keep to the bounds."""

    async def find(self, query: StrangerQuery) -> tuple[Stranger, ...]:
        """Return those whose signature fitted, then the others, each the last seen first.

        Raises:
            ValueError: the limit is not positive.
        """

    async def prune(self, before: datetime, limit: int) -> int:
        """Remove up to `limit` that were last seen before this time; return how many."""
