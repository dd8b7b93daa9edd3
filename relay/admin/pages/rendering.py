"""Templates to pages. Whatever a template inserts is made visible and escaped."""

import asyncio
from functools import cache
from typing import Final

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from relay.admin.auth import Session
from relay.admin.pages.static_files import StaticFiles
from relay.core.visible_text import visible

#: The pages that every page leads to: path and name.
NAVIGATION: Final = (
    ("/", "Overview"),
    ("/events", "Events"),
    ("/refusals", "Refusals"),
    ("/upstreams", "Upstreams"),
    ("/allowlist", "Who may send"),
)

#: How many upstreams are paused, as it stands in a request.
PAUSED: Final = web.RequestKey("paused", int)


def _visible(value: object) -> object:
    """Make what a template inserts visible; what is markup already stays."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _lines(text: str) -> Markup:
    """Make text visible whose lines are shown as such."""
    return escape(visible(text, lines=True))


def _exact(text: str) -> Markup:
    """Return text for an attribute whose value is sent back as it is.

    What cannot be seen is a character reference: the page itself holds none of it. (HTML has
    none for NUL and C1 controls, which come back as others.)
    """
    return Markup("".join(_reference(each) for each in text))  # noqa: S704 - each is escaped


def _reference(character: str) -> str:
    return escape(character) if visible(character) == character else f"&#{ord(character)};"


@cache
def _environment() -> Environment:
    """Return what holds the compiled templates; compiling them takes a tenth of a second."""
    environment = Environment(
        loader=PackageLoader("relay.admin"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.filters["lines"] = _lines
    environment.filters["exact"] = _exact
    environment.globals["navigation"] = NAVIGATION
    return environment


class Renderer:
    """Renders every page."""

    def __init__(self, files: StaticFiles) -> None:
        self._files = files
        self._templates = _environment()
        self._is_compiled = False

    async def compiled(self) -> None:
        """Return once every template is compiled: before the first page, in a thread."""
        if not self._is_compiled:
            await asyncio.to_thread(self._compile)
            self._is_compiled = True

    def _compile(self) -> None:
        for name in self._templates.list_templates():
            self._templates.get_template(name)

    async def long_page(
        self, request: web.Request, session: Session | None, name: str, **values: object
    ) -> web.Response:
        """Do as `page` in a thread: to make a long text visible takes its time."""
        return await asyncio.to_thread(self.page, request, session, name, **values)

    def page(
        self, request: web.Request, session: Session | None, name: str, **values: object
    ) -> web.Response:
        """Return a page. `session`: None before the login, and for what came with a token."""
        text = self._templates.get_template(name).render(
            session=session,
            static=self._files.path,
            may_act=session is not None and session.may_act,
            path=request.path,
            paused=request.get(PAUSED, 0),
            find=request.query.get("find", ""),
            **values,
        )
        return web.Response(text=text, content_type="text/html", charset="utf-8")
