"""A connection that nobody has spoken for comes from the other end of its socket."""

import asyncio
import socket
from ipaddress import ip_address

import pytest

from relay.core.request import Via
from relay.edge.connections import PeerInfo, peer_info_of


@pytest.mark.parametrize(
    ("listens", "calls"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        # A socket for both families sees IPv4 as mapped.
        ("::", "127.0.0.1"),
    ],
)
async def test_it_is_the_plain_address_of_the_socket(listens: str, calls: str) -> None:
    seen: asyncio.Future[PeerInfo] = asyncio.get_running_loop().create_future()

    async def look(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set_result(peer_info_of(writer.transport))
        writer.close()

    family = socket.AF_INET6 if ":" in listens else socket.AF_INET
    both = socket.create_server((listens, 0), family=family, dualstack_ipv6=listens == "::")
    async with await asyncio.start_server(look, sock=both):
        _, writer = await asyncio.open_connection(calls, both.getsockname()[1])
        assert await seen == PeerInfo(ip_address(calls), Via.PEER, forwards=True)
        writer.close()
