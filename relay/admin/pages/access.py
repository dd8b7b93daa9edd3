"""Who may see a page and who may act on it: session, form token, way to the login form."""

from collections.abc import Mapping
from hmac import compare_digest
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from aiohttp import web

from relay.admin.audit import AuditTrail
from relay.admin.auth import Authenticator, Session
from relay.admin.pages.errors import PageProblem
from relay.core.visible_text import visible
from relay.spool.audit import Actor

#: The cookie that names a session.
COOKIE = "relay_session"

#: Where a form and htmx put the form token.
FORM_TOKEN: Final = "form_token"  # noqa: S105 - the name of one
FORM_TOKEN_HEADER: Final = "X-Form-Token"  # noqa: S105 - likewise


#: Tells the login form that a session has ended in the middle of something.
ENDED: Final = "ended"


class WrongToken(Exception):
    """A token that is none of ours has come; `answer` is said to it, after a while."""

    def __init__(self, answer: web.StreamResponse) -> None:
        super().__init__()
        self.answer = answer


class PageAccess:
    """Admits requests to the pages, and records what is done there."""

    def __init__(self, authenticator: Authenticator, trail: AuditTrail) -> None:
        self._authenticator = authenticator
        self._trail = trail

    def session(self, request: web.Request) -> Session | None:
        """Return the open session that a request belongs to."""
        return self._authenticator.session(request.cookies.get(COOKIE, ""))

    def admits(self, request: web.Request) -> bool:
        """Return whether the request may read: it has a token, or an open session."""
        authorization = request.headers.get("Authorization", "")
        return (
            self._authenticator.bearer(authorization) is not None
            or self.session(request) is not None
        )

    def reader(self, request: web.Request) -> Session | None:
        """Return the session of a request that may read; None for one that came with a token.

        Raises:
            HTTPSeeOther: it may not; to the login form, and from there back.
        """
        session = self.session(request)
        if session is None and not self.admits(request):
            raise _to_login(request)
        return session

    def actor(self, request: web.Request) -> Session:
        """Return the session of a request that may act.

        Raises:
            HTTPSeeOther: there is no session; to the login form.
            PageProblem: the session may only read.
        """
        session = self.session(request)
        if session is None:
            raise _to_login(request)
        if not session.may_act:
            raise PageProblem(
                403,
                "You may read, and not act",
                "This session was opened with admin.read_token. Sign in with admin.token to act.",
            )
        return session

    async def form(self, request: web.Request, question: str | None = None) -> dict[str, str]:
        """Return the fields of a form whose session may act, and which came from our page.

        question: the path of the page that the form stands on; None where the form is posted to
        the path of that page.

        Raises:
            HTTPSeeOther: there is no session; to the login form, and from there to the question
                with what was chosen.
            PageProblem: the session may only read, or the form has not its token.
        """
        if self.session(request) is None:
            fields = await posted_fields(request)
            fields.pop(FORM_TOKEN, None)
            raise _to_login_again(question or request.path, fields)
        return await self.checked_form(request, self.actor(request))

    async def checked_form(self, request: web.Request, session: Session) -> dict[str, str]:
        """Return the fields of a form that has the token of this session.

        Raises:
            PageProblem: it has not.
        """
        fields = await posted_fields(request)
        given = request.headers.get(FORM_TOKEN_HEADER) or fields.pop(FORM_TOKEN, "")
        expected = session.form_token.encode()
        if not compare_digest(given.encode("utf-8", "surrogateescape"), expected):
            raise PageProblem(
                403,
                "This form is not one of this session's",
                "Nothing was changed. Open the page again and repeat what you wanted to do.",
            )
        return fields

    async def record(self, request: web.Request, act: str, **touched: object) -> None:
        """Record an act of a session."""
        await self._trail.record(act, Actor.SESSION, request.remote or "", **touched)

    async def record_login(self, request: web.Request, token: Actor) -> None:
        """Record that a token has opened a session."""
        await self._trail.record("login", token, request.remote or "")


async def posted_fields(request: web.Request) -> dict[str, str]:
    """Return the fields of a form, without files.

    Raises:
        PageProblem: it is none that can be read.
    """
    try:
        posted = await request.post()
    except (ValueError, LookupError):
        # In an encoding that it is not in, or that there is not.
        raise PageProblem(400, detail="This form cannot be read. Nothing was changed.") from None
    return {name: text for name, text in posted.items() if isinstance(text, str)}


def same_origin(request: web.Request) -> bool:
    """Return whether a form came from a page of ours, or from no page at all.

    For forms that come before a session, and so without a form token.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("Host", "")


def local_path(text: str) -> str:
    r"""Return a path of these pages, or `/` where the text is none.

    Browsers read `\` as `/` and drop controls, so that `/\evil.example` leads elsewhere.
    """
    is_local = text.startswith("/") and not text.startswith("//") and "\\" not in text
    return text if is_local and text.isascii() and visible(text) == text else "/"


def _to_login_again(question: str, fields: Mapping[str, str]) -> web.HTTPException:
    """Return the way of a form whose session has ended: to the login form, and back to it."""
    chosen = urlencode({name: text for name, text in fields.items() if text})
    wanted = local_path(f"{quote(question)}?{chosen}" if chosen else quote(question))
    return web.HTTPSeeOther("/login?" + urlencode({"next": wanted, ENDED: ""}))


def _to_login(request: web.Request) -> web.HTTPException:
    """Return the way to the login form; a request of htmx is told so that the page goes there."""
    if request.headers.get("HX-Request"):
        url = urlsplit(request.headers.get("HX-Current-URL", ""))
        path = local_path(f"{url.path}?{url.query}" if url.query else url.path)
        location = "/login?" + urlencode({"next": path})
        return web.HTTPUnauthorized(headers={"HX-Redirect": location})
    wanted = local_path(request.path_qs) if request.method == "GET" else "/"
    return web.HTTPSeeOther("/login" if wanted == "/" else "/login?" + urlencode({"next": wanted}))
