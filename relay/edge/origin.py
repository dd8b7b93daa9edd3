"""Whose connection it is, as far as the connection itself tells."""

import asyncio
from dataclasses import dataclass
from ipaddress import ip_address

from relay.clientip import plain
from relay.model import Address, Via


@dataclass(frozen=True, slots=True)
class Origin:
    """The other end of a connection. The fields mean what they mean in `RequestHead`."""

    address: Address
    via: Via = Via.PEER
    forwards: bool = True


def origin_of(transport: asyncio.BaseTransport) -> Origin:
    """Return the socket's other end."""
    return Origin(plain(ip_address(transport.get_extra_info("peername")[0].partition("%")[0])))
