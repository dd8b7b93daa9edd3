"""One connection is passed on behind a PROXY header, byte for byte."""

import asyncio

import pytest

from relay.cli.send import Unsent, post
from relay.cli.send_proxy import passing_on
from relay.core.request import Headers
from relay.providers import Sample
from tests.harness.upstream import RefusingPort


@pytest.mark.parametrize(
    ("client", "header"),
    [
        ("192.0.2.1", b"PROXY TCP4 192.0.2.1 127.0.0.1 1024 %d\r\n"),
        ("2001:db8::1", b"PROXY TCP6 2001:db8::1 ::1 1024 %d\r\n"),
    ],
)
async def test_bytes_go_both_ways_behind_the_header(client: str, header: bytes) -> None:
    got: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await got.put(await reader.readline())
        writer.write(await reader.readexactly(100_000))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with passing_on("127.0.0.1", port, client) as here:
            reader, writer = await asyncio.open_connection("127.0.0.1", here)
            writer.write(b"x" * 100_000)
            assert await reader.read(-1) == b"x" * 100_000
            writer.close()
    assert await got.get() == header % port


async def test_nobody_there_is_told_before_anything_is_sent() -> None:
    sample = Sample("POST", "", Headers(()), b"{}")
    with RefusingPort() as url, pytest.raises(Unsent, match=f"no answer from {url}: Connection"):
        await post(url, sample, "192.0.2.1", proxy_protocol=True)
