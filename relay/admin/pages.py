"""The events pages: a list with filters, and everything about one event, as HTML.

They only read. Every value is escaped by the templates; there is no script.
"""

from urllib.parse import urlencode

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from relay.admin.audit import AuditTrail
from relay.admin.auth import Authenticator
from relay.admin.serializers import event_detail, event_summary, parse_event_query
from relay.core.event import Status
from relay.core.visible_text import visible
from relay.spool import Spool

#: The cookie that names a session.
COOKIE = "relay_session"

_PAGE_FILTERS = ("status", "endpoint", "key", "after")


def _visible(value: object) -> object:
    """Make what a template inserts visible; what is markup already stays."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _lines(text: str) -> Markup:
    """Make text visible whose lines are shown as such."""
    return escape(visible(text, lines=True))


class WrongToken(Exception):
    """A token that is none of ours has come; `answer` is said to it, after a while."""

    def __init__(self, answer: web.StreamResponse) -> None:
        super().__init__()
        self.answer = answer


class Pages:
    """The routes of the pages."""

    def __init__(self, spool: Spool, authenticator: Authenticator, trail: AuditTrail) -> None:
        self._spool = spool
        self._trail = trail
        self._authenticator = authenticator
        self._templates = Environment(
            loader=PackageLoader("relay.admin"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_visible,
        )
        self._templates.filters["lines"] = _lines

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self._events),
            web.get("/events/{id}", self._event),
            web.get("/style.css", self._style),
            web.get("/login", self._login_form),
            web.post("/login", self._login),
            web.post("/logout", self._logout),
        ]

    async def _events(self, request: web.Request) -> web.StreamResponse:
        self._require_login(request)
        filters = {name: value for name in _PAGE_FILTERS if (value := request.query.get(name, ""))}
        page = await self._spool.page(parse_event_query(filters))
        older = urlencode(filters | {"after": page.next}) if page.next else None
        return self._render(
            "events.html",
            events=[event_summary(record) for record in page.records],
            filters=filters,
            statuses=list(Status),
            older=older,
        )

    async def _event(self, request: web.Request) -> web.StreamResponse:
        self._require_login(request)
        event_id = request.match_info["id"]
        found = await self._spool.get(event_id)
        if found is None:
            raise web.HTTPNotFound
        detail = event_detail(*found, await self._spool.attempts(event_id))
        return self._render("event.html", event=detail)

    async def _style(self, _: web.Request) -> web.StreamResponse:
        return self._render("style.css", content_type="text/css")

    async def _login_form(self, _: web.Request) -> web.StreamResponse:
        return self._render("login.html", closed=self._authenticator.closed, wrong=False)

    async def _login(self, request: web.Request) -> web.StreamResponse:
        token = (await request.post()).get("token", "")
        actor = self._authenticator.token(token.strip()) if isinstance(token, str) else None
        if actor is None:
            page = self._render("login.html", closed=self._authenticator.closed, wrong=True)
            page.set_status(web.HTTPUnauthorized.status_code)
            raise WrongToken(page)
        await self._trail.record("login", actor, request.remote or "")
        answer = web.Response(status=web.HTTPSeeOther.status_code, headers={"Location": "/"})
        answer.set_cookie(
            COOKIE, self._authenticator.open_session(), httponly=True, samesite="Strict", path="/"
        )
        return answer

    async def _logout(self, request: web.Request) -> web.StreamResponse:
        self._authenticator.close_session(request.cookies.get(COOKIE, ""))
        answer = web.Response(status=web.HTTPSeeOther.status_code, headers={"Location": "/login"})
        answer.del_cookie(COOKIE, path="/")
        return answer

    def admits(self, request: web.Request) -> bool:
        """Return whether the request may read: it has the token, or an open session."""
        authorization = request.headers.get("Authorization", "")
        return self._authenticator.bearer(authorization) is not None or (
            self._authenticator.session(request.cookies.get(COOKIE, ""))
        )

    def _require_login(self, request: web.Request) -> None:
        """Redirect a request without token and session to the login form."""
        if not self.admits(request):
            raise web.HTTPSeeOther("/login")

    def _render(
        self, name: str, *, content_type: str = "text/html", **values: object
    ) -> web.Response:
        text = self._templates.get_template(name).render(**values)
        return web.Response(text=text, content_type=content_type, charset="utf-8")
