"""The list of events: what the search box and the filters find, newest first."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from relay.admin.health import Health
from relay.admin.pages.access import PageAccess
from relay.admin.pages.filters import EVENT_FILTERS, chips, filters_of
from relay.admin.pages.rendering import Renderer
from relay.admin.serializers import event_summary, parse_event_query, parse_refusal_query
from relay.core.event import Status
from relay.spool import Spool

#: Digits of a number of events.
_MAX_DIGITS: Final = 12

#: Refusals that are counted beside the events that are found.
_MOST_REFUSED: Final = 10

#: Rows of one page.
_ROWS: Final = "50"


class EventsPage:
    """`/events`."""

    def __init__(
        self, access: PageAccess, renderer: Renderer, spool: Spool, health: Health
    ) -> None:
        self._access = access
        self._renderer = renderer
        self._spool = spool
        self._health = health

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/events", self._list)]

    async def _list(self, request: web.Request) -> web.StreamResponse:
        session = self._access.reader(request)
        filters = filters_of(request.query, (*EVENT_FILTERS, "after"))
        query = parse_event_query(filters | {"limit": _ROWS}, self._health.now())
        page = await self._spool.page(query)
        shown = {name: text for name, text in filters.items() if name != "after"}
        return self._renderer.page(
            request,
            session,
            "events.html",
            events=[event_summary(record) for record in page.records],
            filters=shown,
            chips=chips(shown),
            requeued=_number(request.query.get("requeued", "")),
            first="after" not in filters,
            refused=await self._refused(filters),
            most_refused=_MOST_REFUSED,
            statuses=[status.value for status in Status],
            endpoints=self._health.endpoint_names(),
            upstreams=sorted(self._health.upstreams()),
            older=urlencode(shown | {"after": page.next}) if page.next else None,
            newest=urlencode(shown),
        )

    async def _refused(self, filters: Mapping[str, str]) -> int:
        """Return how many kept refusals have what is looked for, up to a few."""
        if "find" not in filters or "after" in filters:
            return 0
        query = parse_refusal_query({"find": filters["find"], "limit": str(_MOST_REFUSED)})
        return len((await self._spool.refusals.page(query)).refusals)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < _MAX_DIGITS else None
