"""What is going on now, for the page and the terminal: the status, and the stream of events."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from relay.admin.api import json_answer
from relay.admin.stream import Stream

#: Returns the status as JSON.
ReadStatus = Callable[[], Awaitable[dict[str, object]]]


class LiveApi:
    """The routes of `/api/v1/` that tell of this moment. They change nothing."""

    def __init__(self, status: ReadStatus, stream: Stream) -> None:
        self._status = status
        self._stream = stream

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/status", self._get_status),
            web.get("/api/v1/stream", self._stream.answer),
        ]

    async def close(self, _: web.Application) -> None:
        """End every stream, now and from now on."""
        self._stream.close()

    async def _get_status(self, _: web.Request) -> web.StreamResponse:
        return json_answer(await self._status())
