"""A proxy on loopback that passes bytes on behind a PROXY header, for one sample of `relay send`.

It stands in for the balancer in front of a listener with `proxy_protocol`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any, Final

_CHUNK: Final = 65536
_IPV6: Final = 6


@asynccontextmanager
async def passing_on(host: str, port: int, client: str) -> AsyncIterator[int]:
    """Yield a port of 127.0.0.1 whose first connection is passed on to `host` and `port`.

    client: the address that the PROXY header names.

    Raises:
        OSError: nothing listens there.
    """
    # Before there is a port to connect to: what is wrong is told as it is.
    reader, writer = await asyncio.open_connection(host, port)
    copying: list[asyncio.Future[Any]] = []
    writers = [writer]

    def take(asking: asyncio.StreamReader, answering: asyncio.StreamWriter) -> None:
        writers.append(answering)
        ways = (_copy(asking, writer), _copy(reader, answering))
        copying.append(asyncio.gather(*ways, return_exceptions=True))

    writer.write(_header(client, port))
    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for both in copying:
            both.cancel()
        await asyncio.gather(*copying, return_exceptions=True)
        for each in writers:
            # Whatever is still to be written, nobody reads it any more.
            each.transport.abort()
        closed = (each.wait_closed() for each in writers)
        await asyncio.gather(*closed, return_exceptions=True)


def _header(client: str, port: int) -> bytes:
    """Return a header of version 1. The address of the proxy itself means nothing to the relay."""
    family, proxy = "TCP4", "127.0.0.1"
    if ip_address(client).version == _IPV6:
        family, proxy = "TCP6", "::1"
    return f"PROXY {family} {client} {proxy} 1024 {port}\r\n".encode("ascii")


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(_CHUNK):
            target.write(data)
            await target.drain()
    except OSError:
        # The other side tells of it: its connection ends.
        pass
    finally:
        target.close()
