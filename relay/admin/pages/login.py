"""Signing in and out."""

from aiohttp import web

from relay.admin.auth import Authenticator, Session
from relay.admin.pages.access import (
    COOKIE,
    ENDED,
    PageAccess,
    WrongToken,
    local_path,
    posted_fields,
    same_origin,
)
from relay.admin.pages.errors import PageProblem
from relay.admin.pages.rendering import Renderer


class LoginPage:
    """`/login` and `/logout`."""

    def __init__(
        self, access: PageAccess, renderer: Renderer, authenticator: Authenticator
    ) -> None:
        self._access = access
        self._renderer = renderer
        self._authenticator = authenticator

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/login", self._form),
            web.post("/login", self._login),
            web.post("/logout", self._logout),
        ]

    async def _form(self, request: web.Request) -> web.StreamResponse:
        wanted = local_path(request.query.get("next", "/"))
        if self._access.session(request) is not None:
            raise web.HTTPSeeOther(wanted)
        ended = None
        if ENDED in request.query:
            ended = "Your session has ended, and nothing was changed. Sign in to go on."
        elif COOKIE in request.cookies:
            ended = "Your session has ended. Sign in to go on."
        return self._page(request, wanted, ended=ended)

    async def _login(self, request: web.Request) -> web.StreamResponse:
        if not same_origin(request):
            raise PageProblem(403, "This form came from elsewhere", "Open the page and sign in.")
        fields = await posted_fields(request)
        token, wanted = fields.get("token", ""), local_path(fields.get("next", "/"))
        actor = self._authenticator.token(token.strip())
        if actor is None:
            page = self._page(request, wanted, wrong=True)
            page.set_status(web.HTTPUnauthorized.status_code)
            raise WrongToken(page)
        await self._access.record_login(request, actor)
        answer = web.Response(status=web.HTTPSeeOther.status_code, headers={"Location": wanted})
        session = self._authenticator.open_session(actor)
        _set_cookie(request, answer, session)
        return answer

    async def _logout(self, request: web.Request) -> web.StreamResponse:
        session = self._access.session(request)
        if session is not None:
            await self._access.checked_form(request, session)
            self._authenticator.close_session(session.name)
        answer = web.Response(status=web.HTTPSeeOther.status_code, headers={"Location": "/login"})
        answer.del_cookie(COOKIE, path="/")
        return answer

    def _page(
        self, request: web.Request, wanted: str, *, wrong: bool = False, ended: str | None = None
    ) -> web.Response:
        """Return the form. ended: what is told of a session that has ended."""
        return self._renderer.page(
            request,
            None,
            "login.html",
            closed=self._authenticator.closed,
            wrong=wrong,
            ended=ended,
            next=wanted,
        )


def _set_cookie(request: web.Request, answer: web.Response, session: Session) -> None:
    # What a front says of TLS only makes the cookie narrower.
    secure = request.secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
    answer.set_cookie(
        COOKIE, session.name, httponly=True, samesite="Strict", secure=secure, path="/"
    )
