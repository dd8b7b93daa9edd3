"""aiohttp's low-level server as a factory of connections, with one sweep for their deadlines."""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any, Final

from aiohttp.web import Server
from aiohttp.web_protocol import RequestHandler

from relay.core.clock import Clock
from relay.edge.connections import ConnectionErrors, Connections, PeerInfo, Sweep
from relay.edge.fast_lane import FastLane
from relay.edge.framing import MAX_FIELDS, MAX_LINE
from relay.edge.protocol import EdgeProtocol

#: aiohttp's parser stops at these sizes, which bound what one request head may cost. Bodies stay
#: as they came, and the log is ours.
_OPTIONS: Final = {
    "max_line_size": MAX_LINE,
    "max_field_size": MAX_LINE,
    "max_headers": MAX_FIELDS,
    "auto_decompress": False,
    "access_log": None,
}

#: Seconds until aiohttp would close an idle connection: longer than any lives. The sweep does.
_NO_KEEPALIVE_TIMER: Final = 10 * 365 * 86_400.0


class EdgeServer(Server):
    """aiohttp's low-level server as a factory of `EdgeProtocol`."""

    def __init__(
        self,
        handler: Any,  # noqa: ANN401 - aiohttp keeps the type private
        *,
        connections: Connections,
        errors: ConnectionErrors,
        clock: Clock,
        header_timeout: float,
        drain_limit: int,
        keepalive: float,
        linger: float,
        lane: FastLane | None = None,
    ) -> None:
        """Take the parts.

        clock: of all deadlines.
        keepalive: for how many seconds an idle connection is kept.
        linger: for how many seconds unread bytes of an answered request are drained.
        lane: takes whole requests; None for aiohttp alone.
        """
        options: dict[str, Any] = {
            **_OPTIONS,
            "keepalive_timeout": _NO_KEEPALIVE_TIMER,
            "lingering_time": linger,
        }
        super().__init__(handler, **options)
        self._all_closed: asyncio.Future[None] | None = None
        self._lane = lane
        sweep = Sweep(clock, keepalive)
        self._sweeping = self._loop.create_task(sweep.run())
        self._protocol = partial(
            EdgeProtocol,
            self,
            connections=connections,
            errors=errors,
            sweep=sweep,
            lane=lane,
            header_timeout=header_timeout,
            drain_limit=drain_limit,
            loop=self._loop,
            **options,
        )

    async def drained(self, seconds: float) -> None:
        """Return when all connections are closed, at most after this many seconds."""
        self._all_closed = self._loop.create_future()
        if not self._connections:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._all_closed

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        if self._all_closed is None or self._all_closed.done():
            return
        # aiohttp forgets a connection when its task has ended, which may be a little later.
        if not self._connections.keys() - {handler}:
            self._all_closed.set_result(None)

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - aiohttp's own
        began = self._loop.time()
        if self._lane is not None:
            await self._lane.drain(timeout or 0.0)
        left = None if timeout is None else max(0.0, timeout - (self._loop.time() - began))
        await super().shutdown(left)
        self._sweeping.cancel()

    def reconfigure(self, *, header_timeout: float, drain_limit: int) -> None:
        """Set other limits, for new connections."""
        self._protocol = partial(
            self._protocol, header_timeout=header_timeout, drain_limit=drain_limit
        )

    def __call__(self, peer_info: PeerInfo | None = None) -> EdgeProtocol:
        return self._protocol(peer_info=peer_info)
