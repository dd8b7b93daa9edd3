"""The internal service of the demo: takes every event and remembers it."""

import asyncio
from types import TracebackType
from typing import Self

from aiohttp import web


class Sink:
    """An HTTP server on a free loopback port that answers 200 to everything."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self._arrival = asyncio.Condition()
        self._runner = web.ServerRunner(web.Server(self._take, access_log=None))
        self.url = ""

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    def count(self, body: bytes) -> int:
        """Return how often exactly this body has arrived."""
        return self.bodies.count(body)

    async def wait_for(self, number: int, within: float) -> None:
        """Return when this many events have arrived, or the time is up."""
        try:
            async with asyncio.timeout(within), self._arrival:
                await self._arrival.wait_for(lambda: len(self.bodies) >= number)
        except TimeoutError:
            return

    async def _take(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        async with self._arrival:
            self.bodies.append(body)
            self._arrival.notify_all()
        return web.Response(text="thank you")
