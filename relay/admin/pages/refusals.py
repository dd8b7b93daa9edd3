"""Refused deliveries that are kept: the list, one of them with the walk of explain, its release."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from aiohttp import web

from relay.admin.api import Explain
from relay.admin.health import Health
from relay.admin.pages.access import PageAccess
from relay.admin.pages.errors import PageProblem
from relay.admin.pages.filters import chips, filters_of
from relay.admin.pages.rendering import Renderer
from relay.admin.readable_body import ReadableBody, readable_body
from relay.admin.serializers import (
    parse_refusal_query,
    refusal_detail,
    refusal_summary,
    release_json,
)
from relay.core.errors import Reason, RelayError
from relay.ingest.refusals import RefusalReleaser
from relay.spool.refusals import RELEASABLE, StillRefused, StoredRefusal

_FILTERS: Final = ("find", "endpoint", "reason", "released", "after")

#: Rows of one page.
_ROWS: Final = "50"

_BACK: Final = ("/refusals", "All refusals")
_GONE: Final = "Its id is mistyped, or it is older than spool.retain_keys."

#: The reasons that a kept refusal may have.
_REASONS: Final = sorted({*RELEASABLE, Reason.SOURCE_NOT_ALLOWED})


class RefusalsPage:
    """`/refusals`, `/refusals/{id}`, and the question and the act of `/refusals/{id}/release`."""

    def __init__(
        self,
        access: PageAccess,
        renderer: Renderer,
        releaser: RefusalReleaser,
        health: Health,
        explain: Explain | None,
    ) -> None:
        self._access = access
        self._renderer = renderer
        self._releaser = releaser
        self._store = releaser.store
        self._health = health
        self._explain = explain

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/refusals", self._list),
            web.get("/refusals/{id}", self._show),
            web.get("/refusals/{id}/release", self._ask),
            web.post("/refusals/{id}/release", self._release),
        ]

    async def _list(self, request: web.Request) -> web.StreamResponse:
        session = self._access.reader(request)
        filters = filters_of(request.query, _FILTERS)
        page = await self._store.page(parse_refusal_query(filters | {"limit": _ROWS}))
        shown = {name: text for name, text in filters.items() if name != "after"}
        return self._renderer.page(
            request,
            session,
            "refusals.html",
            refusals=[refusal_summary(stored) for stored in page.refusals],
            filters=shown,
            chips=chips(shown),
            first="after" not in filters,
            reasons=[reason.value for reason in _REASONS],
            endpoints=self._health.endpoint_names(),
            older=urlencode(shown | {"after": page.next}) if page.next else None,
            newest=urlencode(shown),
        )

    async def _show(self, request: web.Request) -> web.StreamResponse:
        return await self._page(request, await self._stored(request))

    async def _page(
        self, request: web.Request, stored: StoredRefusal, problem: str | None = None
    ) -> web.Response:
        session = self._access.reader(request)
        walk, untold = None, None
        if self._explain is not None and stored.released_as is None:
            try:
                walk = await self._explain(stored)
            except RelayError as error:
                untold = str(error)
        redaction = self._health.redaction(stored.refused.endpoint)
        secrets = self._releaser.secrets()
        detail = await asyncio.to_thread(refusal_detail, stored, secrets, redaction)
        return await self._renderer.long_page(
            request,
            session,
            "refusal.html",
            refusal=detail,
            body=await asyncio.to_thread(_readable, detail),
            walk=walk,
            untold=untold,
            problem=problem,
        )

    async def _stored(self, request: web.Request) -> StoredRefusal:
        self._access.reader(request)
        refusal_id = request.match_info["id"]
        stored = await self._store.get(refusal_id)
        if stored is None:
            raise PageProblem(404, f"There is no refusal {refusal_id}", _GONE, _BACK)
        return stored

    # ---- releasing --------------------------------------------------------------------------

    async def _ask(self, request: web.Request) -> web.StreamResponse:
        session = self._access.actor(request)
        stored = await self._stored(request)
        refused = stored.refused
        path = f"/refusals/{quote(refused.id)}"
        if stored.released_as is not None:
            raise web.HTTPSeeOther(path)
        warnings = []
        if refused.signature_fits:
            warnings.append(
                f"{refused.client.address} is on no list of {refused.endpoint}. Its signature is"
                " right. Release it only if you know that this address is the provider's."
            )
        return self._renderer.page(
            request,
            session,
            "confirm.html",
            title="Release this refusal?",
            sentences=[
                "It is verified again by the present configuration.",
                "If it passes, it is stored as an event and delivered; if not, it stays here.",
            ],
            warnings=warnings,
            action=f"{path}/release",
            hidden={},
            button="Release",
            back=path,
        )

    async def _release(self, request: web.Request) -> web.StreamResponse:
        await self._access.form(request)
        refusal_id = request.match_info["id"]
        result = await self._releaser.release(refusal_id)
        if result is None:
            raise PageProblem(404, f"There is no refusal {refusal_id}", _GONE, _BACK)
        said = release_json(refusal_id, result)
        await self._access.record(request, "release", refusal=refusal_id, result=said["result"])
        if not isinstance(result, StillRefused):
            raise web.HTTPSeeOther(f"/events/{quote(result.event_id)}")
        detail = f", {result.detail}" if result.detail else ""
        problem = f"It is refused again: {result.reason}{detail}"
        page = await self._page(request, await self._stored(request), problem)
        page.set_status(web.HTTPConflict.status_code)
        return page


def _readable(detail: Mapping[str, Any]) -> ReadableBody | None:
    """Return the body of a refusal for people, its secrets masked; None where it is gone."""
    content = detail["content"]
    if content is None:
        return None
    types = [value for name, value in content["headers"] if name.lower() == "content-type"]
    return readable_body(content["body"].encode(), next(iter(types), ""))
