"""The admin API: refused deliveries as JSON."""

import orjson
from aiohttp import web

from relay.admin.serializers import parse_refusal_query, refusal_detail, refusals_json, result_json
from relay.ingest.refusals import RefusalReleaser
from relay.spool.refusals import StillRefused


def json_answer(content: object, status: int = 200) -> web.Response:
    """Return an answer in JSON."""
    return web.Response(body=orjson.dumps(content), status=status, content_type="application/json")


class RefusalRoutes:
    """The routes of `/api/v1/refusals`."""

    def __init__(self, releaser: RefusalReleaser) -> None:
        self._desk = releaser

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/refusals", self._refusals),
            web.get("/api/v1/refusals/{id}", self._refusal),
            web.post("/api/v1/refusals/{id}/release", self._release),
        ]

    async def _refusals(self, request: web.Request) -> web.StreamResponse:
        return json_answer(
            refusals_json(await self._desk.store.page(parse_refusal_query(request.query)))
        )

    async def _refusal(self, request: web.Request) -> web.StreamResponse:
        kept = await self._desk.store.get(request.match_info["id"])
        if kept is None:
            raise web.HTTPNotFound
        return json_answer(refusal_detail(kept, self._desk.secrets()))

    async def _release(self, request: web.Request) -> web.StreamResponse:
        refusal_id = request.match_info["id"]
        result = await self._desk.release(refusal_id)
        if result is None:
            raise web.HTTPNotFound
        status = 409 if isinstance(result, StillRefused) else 200
        return json_answer(result_json(refusal_id, result), status)
