"""Who may send: endpoint by endpoint, where each address is known from, and what has changed."""

from ipaddress import ip_address

from aiohttp import web

from relay.admin.health import Health
from relay.admin.pages.access import PageAccess
from relay.admin.pages.rendering import Renderer


class AllowlistPage:
    """`/allowlist`, and with `?address=` whether that one may send."""

    def __init__(self, access: PageAccess, renderer: Renderer, health: Health) -> None:
        self._access = access
        self._renderer = renderer
        self._health = health

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/allowlist", self._show)]

    async def _show(self, request: web.Request) -> web.StreamResponse:
        session = self._access.reader(request)
        given = request.query.get("address", "").strip()
        checked, problem = None, None
        if given:
            try:
                checked = self._health.may_send(ip_address(given))
            except ValueError:
                problem = f"{given} is no IP address. Write one as 203.0.113.7 or 2001:db8::7."
        return self._renderer.page(
            request,
            session,
            "allowlist.html",
            endpoints=self._health.allowlist(),
            address=given,
            checked=checked,
            problem=problem,
        )
