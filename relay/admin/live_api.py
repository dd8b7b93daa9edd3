"""What is going on now, for the page and the terminal: the status."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from relay.admin.api import json_answer

#: Returns the status as JSON.
ReadStatus = Callable[[], Awaitable[dict[str, object]]]


class LiveApi:
    """The routes of `/api/v1/` that tell of this moment. They change nothing."""

    def __init__(self, status: ReadStatus) -> None:
        self._status = status

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/api/v1/status", self._get_status)]

    async def _get_status(self, _: web.Request) -> web.StreamResponse:
        return json_answer(await self._status())
