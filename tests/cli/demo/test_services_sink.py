"""The demo's service takes everything and knows what it got."""

import aiohttp

from relay.cli.demo.services import Sink


async def test_it_counts_what_arrives() -> None:
    async with Sink() as sink, aiohttp.ClientSession() as session:
        for body in (b"one", b"two", b"one"):
            async with session.post(sink.url, data=body) as response:
                assert response.status == 200
        await sink.wait_for(3, within=5)
        assert (sink.count(b"one"), sink.count(b"two"), sink.count(b"three")) == (2, 1, 0)


async def test_waiting_ends_when_nothing_comes() -> None:
    async with Sink() as sink:
        await sink.wait_for(1, within=0.01)
        assert sink.bodies == []
