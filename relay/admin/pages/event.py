"""One event: what arrived, what became of it, every attempt, and what can be done."""

from aiohttp import web

from relay.admin.health import Health
from relay.admin.pages.access import PageAccess
from relay.admin.pages.errors import PageProblem
from relay.admin.pages.rendering import Renderer
from relay.admin.serializers import event_detail
from relay.spool import Spool


class EventPage:
    """`/events/{id}`."""

    def __init__(
        self, access: PageAccess, renderer: Renderer, spool: Spool, health: Health
    ) -> None:
        self._access = access
        self._renderer = renderer
        self._spool = spool
        self._health = health

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/events/{id}", self._event)]

    async def _event(self, request: web.Request) -> web.StreamResponse:
        session = self._access.reader(request)
        event_id = request.match_info["id"]
        found = await self._spool.get(event_id)
        if found is None:
            raise PageProblem(404, f"There is no event {event_id}", _GONE)
        detail = event_detail(*found, await self._spool.attempts(event_id))
        return self._renderer.page(request, session, "event.html", event=detail)


_GONE = "Its id is mistyped, or it is older than spool.retain_keys."
