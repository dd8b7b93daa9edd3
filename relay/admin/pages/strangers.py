"""Addresses that were refused because no list holds them: how often, when, and asking for what."""

from typing import Final

from aiohttp import web

from relay.admin.health import Health
from relay.admin.pages.access import PageAccess
from relay.admin.pages.filters import filters_of
from relay.admin.pages.rendering import Renderer
from relay.admin.serializers import parse_stranger_query, strangers_json
from relay.spool import Spool

#: The most that are shown; those whose signature fitted come first.
_MAX_SHOWN: Final = 200


class StrangersPage:
    """`/refusals/strangers`."""

    def __init__(
        self, access: PageAccess, renderer: Renderer, spool: Spool, health: Health
    ) -> None:
        self._access = access
        self._renderer = renderer
        self._spool = spool
        self._health = health

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/refusals/strangers", self._list)]

    async def _list(self, request: web.Request) -> web.StreamResponse:
        session = self._access.reader(request)
        filters = filters_of(request.query, ("endpoint",))
        found = await self._spool.strangers.find(
            parse_stranger_query(filters | {"limit": str(_MAX_SHOWN)})
        )
        return self._renderer.page(
            request,
            session,
            "strangers.html",
            strangers=strangers_json(found)["strangers"],
            endpoint=filters.get("endpoint", ""),
            endpoints=self._health.endpoint_names(),
            most=_MAX_SHOWN,
        )
