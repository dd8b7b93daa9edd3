"""The operator's pages: one module a family of pages, one renderer, one guard for all.

Every value is escaped by the templates. A page works without script; with it, it is livelier.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol, cast

from aiohttp import web

from relay.admin.api import Explain
from relay.admin.audit import AuditTrail
from relay.admin.auth import Authenticator
from relay.admin.health import Health
from relay.admin.live_api import ReadStatus
from relay.admin.pages.access import COOKIE, PageAccess, WrongToken
from relay.admin.pages.allowlist import AllowlistPage
from relay.admin.pages.errors import PageProblem, error_page, wants_page
from relay.admin.pages.event import EventPage
from relay.admin.pages.events import EventsPage
from relay.admin.pages.login import LoginPage
from relay.admin.pages.overview import OverviewPage
from relay.admin.pages.refusals import RefusalsPage
from relay.admin.pages.rendering import PAUSED, Renderer
from relay.admin.pages.requeue import RequeuePage
from relay.admin.pages.static_files import StaticFiles
from relay.admin.pages.strangers import StrangersPage
from relay.admin.pages.upstreams import UpstreamsPage
from relay.admin.upstreams import Upstreams
from relay.core.errors import SpoolUnavailable
from relay.ingest.refusals import RefusalReleaser
from relay.spool import Spool

__all__ = ["COOKIE", "PageProblem", "Pages", "WrongToken", "wants_page"]


class _Family(Protocol):
    def routes(self) -> list[web.RouteDef]: ...


class Pages:
    """The routes of the pages, and the errors that browsers are shown."""

    def __init__(
        self,
        *,
        spool: Spool,
        authenticator: Authenticator,
        trail: AuditTrail,
        health: Health,
        releaser: RefusalReleaser,
        explain: Explain | None,
        status: ReadStatus,
        upstreams: Upstreams,
    ) -> None:
        self._upstreams = upstreams
        self._files = StaticFiles()
        self._renderer = Renderer(self._files)
        self._access = PageAccess(authenticator, trail)
        self._families: tuple[_Family, ...] = (
            LoginPage(self._access, self._renderer, authenticator),
            OverviewPage(self._access, self._renderer, health, status),
            EventsPage(self._access, self._renderer, spool, health),
            RequeuePage(self._access, self._renderer, spool, health),
            EventPage(self._access, self._renderer, spool, health),
            StrangersPage(self._access, self._renderer, spool, health),
            RefusalsPage(self._access, self._renderer, releaser, health, explain),
            AllowlistPage(self._access, self._renderer, health),
            UpstreamsPage(self._access, self._renderer, spool, upstreams),
        )

    def routes(self) -> list[web.RouteDef]:
        pages = (route for family in self._families for route in family.routes())
        return [*self._files.routes(), *(self._prepared(route) for route in pages)]

    def _prepared(self, route: web.RouteDef) -> web.RouteDef:
        """Compile the templates before a page, and let it know how many upstreams are paused."""
        show = cast("Callable[[web.Request], Awaitable[web.StreamResponse]]", route.handler)

        async def handler(request: web.Request) -> web.StreamResponse:
            await self._renderer.compiled()
            await self._count_pauses(request)
            return await show(request)

        return web.RouteDef(route.method, route.path, handler, route.kwargs)

    async def _count_pauses(self, request: web.Request) -> None:
        with suppress(SpoolUnavailable):
            request[PAUSED] = sum((await self._upstreams.paused()).values())

    def admits(self, request: web.Request) -> bool:
        """Return whether the request may read: it has a token, or an open session."""
        return self._access.admits(request)

    async def error(self, request: web.Request, problem: PageProblem) -> web.Response:
        """Return the page that tells of a problem."""
        await self._renderer.compiled()
        session = self._access.session(request)
        if session is not None and PAUSED not in request:
            await self._count_pauses(request)
        return error_page(self._renderer, request, session, problem)
