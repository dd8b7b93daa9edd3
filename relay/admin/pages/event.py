"""One event: what arrived, what became of it, every attempt, and what can be done."""

import asyncio
from typing import Final
from urllib.parse import quote

from aiohttp import web

from relay.admin.auth import Session
from relay.admin.health import Health
from relay.admin.pages.access import PageAccess
from relay.admin.pages.errors import PageProblem
from relay.admin.pages.rendering import Renderer
from relay.admin.readable_body import MAX_SHOWN, ReadableBody, readable_body
from relay.admin.serializers import event_detail, shown_body
from relay.core.event import Event
from relay.core.redaction import Redaction
from relay.core.request import Headers
from relay.spool import Spool
from relay.spool.history import Record

_UNKNOWN: Final = "Its id is mistyped, or it came longer ago than spool.retain_keys."


async def find_event(spool: Spool, event_id: str) -> tuple[Record, Event | None]:
    """Return one event.

    Raises:
        PageProblem: there is none of this id.
    """
    found = await spool.get(event_id)
    if found is None:
        raise PageProblem(404, f"There is no event {event_id}", _UNKNOWN)
    return found


def event_path(event_id: str) -> str:
    """Return the path of an event's page."""
    return "/events/" + quote(event_id, safe="")


class EventPage:
    """`/events/{id}` and the body as a file."""

    def __init__(
        self, access: PageAccess, renderer: Renderer, spool: Spool, health: Health
    ) -> None:
        self._access = access
        self._renderer = renderer
        self._spool = spool
        self._health = health

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/events/{id}", self._event),
            web.get("/events/{id}/body", self._body),
        ]

    async def _event(self, request: web.Request) -> web.StreamResponse:
        session = self._access.reader(request)
        return await self._page(request, session, request.match_info["id"])

    async def _page(
        self, request: web.Request, session: Session | None, event_id: str
    ) -> web.Response:
        record, event = await find_event(self._spool, event_id)
        attempts = await self._spool.attempts(event_id)
        redaction = self._health.redaction(record.endpoint)
        body = None if event is None else await asyncio.to_thread(_readable, event, redaction)
        return await self._renderer.long_page(
            request,
            session,
            "event.html",
            # The body is shown by its beginning, which is read apart.
            event=await asyncio.to_thread(event_detail, record, event, attempts, redaction, 0),
            body=body,
            max_shown=MAX_SHOWN,
            known_as=self._health.known_as(record.endpoint, record.client),
            requeued="requeued" in request.query,
        )

    async def _body(self, request: web.Request) -> web.StreamResponse:
        """Send the body as a file that no browser shows or runs, masked as on the page."""
        self._access.reader(request)
        record, event = await find_event(self._spool, request.match_info["id"])
        if event is None:
            raise PageProblem(
                404,
                f"There is no body of {record.id}",
                "It is damaged or has been removed.",
                (event_path(record.id), "The event"),
            )
        answer = web.Response(
            body=await asyncio.to_thread(
                shown_body, event, self._health.redaction(record.endpoint)
            ),
            content_type="text/plain",
            charset="utf-8",
        )
        name = quote(record.id, safe="")
        answer.headers["Content-Disposition"] = f'attachment; filename="{name}.txt"'
        return answer


def _readable(event: Event, redaction: Redaction) -> ReadableBody:
    return readable_body(shown_body(event, redaction), _media_type(event.headers))


def _media_type(headers: Headers) -> str:
    return next((value for name, value in headers if name.lower() == "content-type"), "")
