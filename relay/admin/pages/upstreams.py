"""Upstreams: what waits for each, whether it is called, and pausing it."""

from typing import Final
from urllib.parse import quote

from aiohttp import web

from relay.admin.pages.access import PageAccess
from relay.admin.pages.errors import PageProblem
from relay.admin.pages.rendering import Renderer
from relay.admin.serializers import event_summary, rfc3339
from relay.admin.upstream_rows import called_with, works_for
from relay.admin.upstreams import PAUSED_BY_FILE, UnknownUpstream, Upstreams
from relay.spool import Spool
from relay.spool.audit import Actor
from relay.spool.history import Query

_BACK: Final = ("/upstreams", "All upstreams")


class UpstreamsPage:
    """`/upstreams`, and the question and the acts of `/upstreams/{name}/pause` and `/resume`."""

    def __init__(
        self, access: PageAccess, renderer: Renderer, spool: Spool, upstreams: Upstreams
    ) -> None:
        self._access = access
        self._renderer = renderer
        self._spool = spool
        self._upstreams = upstreams

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/upstreams", self._show),
            web.get("/upstreams/{name}/pause", self._ask),
            web.post("/upstreams/{name}/pause", self._pause),
            web.post("/upstreams/{name}/resume", self._resume),
        ]

    async def _show(self, request: web.Request) -> web.StreamResponse:
        session = self._access.reader(request)
        pauses = await self._spool.pauses.all()
        rows = []
        for row in await self._upstreams.rows():
            name = str(row["name"])
            pause = pauses.get(name)
            told = None if pause is None else (rfc3339(pause.at), pause.actor.value)
            texts = {"called_with": called_with(row), "works_for": works_for(row)}
            rows.append(row | texts | {"pause": told, "last": await self._last_outcome(name)})
        return self._renderer.page(request, session, "upstreams.html", upstreams=rows)

    async def _last_outcome(self, upstream: str) -> dict[str, object] | None:
        """Return the newest event of an upstream as in a list, with its last outcome there."""
        page = await self._spool.page(Query(upstream=upstream, limit=1))
        for record in page.records:
            for destination in record.destinations:
                if destination.upstream == upstream:
                    return event_summary(record) | {"outcome": destination.last_outcome}
        return None

    async def _ask(self, request: web.Request) -> web.StreamResponse:
        session = self._access.actor(request)
        name = request.match_info["name"]
        known = sorted(str(row["name"]) for row in await self._upstreams.rows())
        if name not in known:
            told = str(UnknownUpstream(name, known))
            raise PageProblem(404, "There is no such upstream", told, _BACK)
        return self._renderer.page(
            request,
            session,
            "confirm.html",
            title=f"Pause {name}?",
            sentences=[
                "Nothing is delivered to it until it is resumed, whatever restarts meanwhile.",
                "Deliveries are taken and stored as before; they wait, and count as no attempt.",
            ],
            warnings=[],
            action=f"/upstreams/{quote(name, safe='')}/pause",
            hidden={},
            button="Pause",
            back="/upstreams",
        )

    async def _pause(self, request: web.Request) -> web.StreamResponse:
        await self._access.form(request)
        try:
            done = await self._upstreams.pause(request.match_info["name"], Actor.SESSION)
        except UnknownUpstream as unknown:
            raise PageProblem(404, "There is no such upstream", str(unknown), _BACK) from None
        await self._access.record(request, "pause", upstream=done.upstream)
        raise web.HTTPSeeOther("/upstreams")

    async def _resume(self, request: web.Request) -> web.StreamResponse:
        await self._access.form(request, "/upstreams")
        try:
            done = await self._upstreams.resume(request.match_info["name"])
        except UnknownUpstream as unknown:
            raise PageProblem(404, "There is no such upstream", str(unknown), _BACK) from None
        await self._access.record(request, "resume", upstream=done.upstream)
        if done.by_file:
            detail = PAUSED_BY_FILE[0].upper() + PAUSED_BY_FILE[1:] + "."
            raise PageProblem(409, f"{done.upstream} stays paused", detail, _BACK)
        raise web.HTTPSeeOther("/upstreams")
