"""The operator's pages: one module a family of pages, one renderer, one guard for all.

Every value is escaped by the templates. A page works without script; with it, it is livelier.
"""

from aiohttp import web

from relay.admin.api import Explain
from relay.admin.audit import AuditTrail
from relay.admin.auth import Authenticator
from relay.admin.health import Health
from relay.admin.pages.access import COOKIE, PageAccess, WrongToken
from relay.admin.pages.allowlist import AllowlistPage
from relay.admin.pages.errors import PageProblem, error_page, wants_page
from relay.admin.pages.event import EventPage
from relay.admin.pages.events import EventsPage
from relay.admin.pages.login import LoginPage
from relay.admin.pages.refusals import RefusalsPage
from relay.admin.pages.rendering import Renderer
from relay.admin.pages.requeue import RequeuePage
from relay.admin.pages.static_files import StaticFiles
from relay.ingest.refusals import RefusalReleaser
from relay.spool import Spool

__all__ = ["COOKIE", "PageProblem", "Pages", "WrongToken", "wants_page"]


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
    ) -> None:
        self._files = StaticFiles()
        self._renderer = Renderer(self._files)
        self._access = PageAccess(authenticator, trail)
        self._families = (
            self._files,
            LoginPage(self._access, self._renderer, authenticator),
            EventsPage(self._access, self._renderer, spool, health),
            RequeuePage(self._access, self._renderer, spool, health),
            EventPage(self._access, self._renderer, spool, health),
            RefusalsPage(self._access, self._renderer, releaser, health, explain),
            AllowlistPage(self._access, self._renderer, health),
        )

    def routes(self) -> list[web.RouteDef]:
        return [route for family in self._families for route in family.routes()]

    def compile(self) -> None:
        """Compile the templates ahead of the first page; may run in a thread."""
        self._renderer.compile()

    def admits(self, request: web.Request) -> bool:
        """Return whether the request may read: it has a token, or an open session."""
        return self._access.admits(request)

    def error(self, request: web.Request, problem: PageProblem) -> web.Response:
        """Return the page that tells of a problem."""
        return error_page(self._renderer, request, self._access.session(request), problem)
