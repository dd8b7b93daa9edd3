"""Errors as pages: what is wrong in a sentence, and a way back."""

import re
from typing import Final
from urllib.parse import quote

from aiohttp import web

from relay.admin.auth import Session
from relay.admin.pages.rendering import Renderer

#: What a status means to a person, where nothing better is known.
_SENTENCES: Final = {
    400: "The address of this page cannot be read.",
    401: "Sign in first.",
    403: "This is not allowed.",
    404: "There is no page of this name.",
    405: "This page cannot be asked for in this way.",
    413: "This form is too large. Nothing was changed.",
    421: "This relay is not asked under this name.",
    429: "There were too many wrong tokens. Try again in a few seconds.",
    500: "Something went wrong inside relay. The log has the details.",
    503: "The spool cannot be read at the moment. Deliveries are taken again once it can.",
}


_TITLES: Final = {
    400: "This cannot be read",
    401: "Sign in first",
    403: "Not allowed",
    404: "Not found",
    405: "Not possible in this way",
    413: "Too large",
    421: "Not under this name",
    429: "Too many wrong tokens",
    500: "Something went wrong",
    503: "The spool is not available",
}


#: The lists that pages lead back to; the first is for all others.
_LISTS: Final = (
    ("/events", "All events"),
    ("/refusals", "All refusals"),
    ("/upstreams", "All upstreams"),
    ("/allowlist", "Who may send"),
)

#: The paths where a page asks about one thing, and a form of it is posted.
_QUESTION: Final = re.compile(r"/[a-z]+/[^/]+/(requeue|release|pause)")

#: Characters of a title or a sentence that are shown.
_MAX_SHOWN: Final = 300


class PageProblem(Exception):
    """Something that a person is told in place of the page, with a way back.

    back: path and label of a link; None: to the list of what the page is about.
    said: the same in short, for who reads JSON.
    """

    def __init__(
        self,
        status: int,
        title: str | None = None,
        detail: str | None = None,
        back: tuple[str, str] | None = None,
        said: str | None = None,
    ) -> None:
        self.status = status
        self.title = title or _TITLES.get(status, "That did not work")
        self.detail = _sentence(detail or _SENTENCES.get(status, ""))
        self.back = back
        self.said = said or f"{self.title}. {self.detail}".rstrip()
        super().__init__(self.said)


def wants_page(request: web.Request) -> bool:
    """Return whether an error is shown to a person: a browser asks for a page, not for the API."""
    if request.path.startswith(("/api/", "/-/")):
        return False
    return "text/html" in request.headers.get("Accept", "") or "HX-Request" in request.headers


def error_page(
    renderer: Renderer, request: web.Request, session: Session | None, problem: PageProblem
) -> web.Response:
    """Return the page that tells of a problem."""
    page = renderer.page(
        request,
        session,
        "error.html",
        status=problem.status,
        # Somebody else may have written what was asked for.
        title=_short(problem.title),
        detail=_short(problem.detail),
        back=problem.back or _back(request),
    )
    page.set_status(problem.status)
    return page


def _back(request: web.Request) -> tuple[str, str]:
    """Return where to go from a page that did not come: to its question, or to its list."""
    question = _QUESTION.fullmatch(request.path)
    if request.method == "POST" and question is not None:
        return quote(question[0]), "Back to the question"
    return next((each for each in _LISTS if request.path.startswith(each[0])), _LISTS[0])


def _sentence(text: str) -> str:
    """Return a message as a sentence; what it names in quotation marks stays as it is."""
    return text if not text or text[-1] in ".?!" else f"{text[0].upper()}{text[1:]}."


def _short(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"
