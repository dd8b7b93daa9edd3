"""The admin API: events, refusals and allowlists as JSON, and reloading the configuration."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from types import MappingProxyType
from typing import Final

import orjson
from aiohttp import web

from relay.admin import requeueing
from relay.admin.audit import AuditTrail
from relay.admin.health import Health
from relay.admin.requeueing import Done, Order
from relay.admin.serializers import (
    event_detail,
    events_json,
    parse_event_query,
    parse_refusal_query,
    parse_stranger_query,
    refusal_detail,
    refusals_json,
    release_json,
    strangers_json,
)
from relay.admin.short_ids import whole_id
from relay.admin.upstreams import PAUSED_BY_FILE, UnknownUpstream, Upstreams
from relay.core.errors import Obstacle, Problem, RelayError
from relay.core.visible_text import visible_json
from relay.ingest.refusals import RefusalReleaser
from relay.spool import Spool
from relay.spool.audit import Actor
from relay.spool.history import Requeueable
from relay.spool.refusals import StillRefused, StoredRefusal

#: Reads the configuration again; returns why it was not taken, nothing when it was.
Reload = Callable[[], Awaitable[tuple[Problem, ...]]]


#: Explains a kept refusal by the present configuration; returns what is answered in JSON.
Explain = Callable[[StoredRefusal], Awaitable[dict[str, object]]]


def json_answer(content: object, status: int = 200) -> web.Response:
    """Return an answer in JSON."""
    body = orjson.dumps(content)
    if not body.isascii() or b"\x7f" in body:
        body = visible_json(body.decode()).encode()
    return web.Response(body=body, status=status, content_type="application/json")


#: The parameters of those acts that are of one thing; the lists know their own filters.
_PARAMETERS: Final = MappingProxyType(
    {
        "/api/v1/events/{id}/requeue": frozenset({"to", "upstream"}),
        "/api/v1/refusals/{id}/release": frozenset(),
        "/api/v1/upstreams/{name}/pause": frozenset(),
        "/api/v1/upstreams/{name}/resume": frozenset(),
        "/-/reload": frozenset(),
    }
)


def check_parameters(request: web.Request) -> None:
    """Return if each parameter stands once in the query of an API request, and means something.

    A mistyped one may be what was to narrow an act.

    Raises:
        ValueError: one does not; the message says which.
    """
    resource = request.match_info.route.resource
    path = "" if resource is None else resource.canonical
    if not path.startswith(("/api/", "/-/")):
        return
    known = _PARAMETERS.get(path)
    for name in request.query:
        if len(request.query.getall(name)) > 1:
            raise ValueError(f"{name}: is there more than once; write it once")
        if known is not None and name not in known:
            there = f'there is "{", ".join(sorted(known))}"' if known else "there are none"
            raise ValueError(f'no parameter "{name}"; {there}')


class Api:
    """The routes of `/api/v1/` and `/-/`. Who may call them is up to the server's middleware."""

    def __init__(
        self,
        *,
        spool: Spool,
        releaser: RefusalReleaser,
        health: Health,
        trail: AuditTrail,
        reload: Reload | None,
        explain: Explain | None,
        upstreams: Upstreams,
    ) -> None:
        """Take the parts.

        reload: None where there is no file to read again. explain: None where nothing explains.
        """
        self._spool = spool
        self._releaser = releaser
        self._health = health
        self._trail = trail
        self._reload = reload
        self._explain = explain
        self._upstreams = upstreams

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/events", self._get_events),
            web.get("/api/v1/events/{id}", self._get_event),
            web.post("/api/v1/events/requeue", self._requeue_events),
            web.post("/api/v1/events/{id}/requeue", self._requeue_event),
            web.get("/api/v1/refusals", self._get_refusals),
            web.get("/api/v1/refusals/{id}", self._get_refusal),
            web.get("/api/v1/refusals/{id}/explain", self._explain_refusal),
            web.post("/api/v1/refusals/{id}/release", self._release_refusal),
            web.get("/api/v1/strangers", self._get_strangers),
            web.get("/api/v1/allowlist", self._get_allowlist),
            web.get("/api/v1/upstreams", self._get_upstreams),
            web.post("/api/v1/upstreams/{name}/pause", self._pause_upstream),
            web.post("/api/v1/upstreams/{name}/resume", self._resume_upstream),
            web.post("/-/reload", self._reload_configuration),
        ]

    async def _record(self, request: web.Request, act: str, **touched: object) -> None:
        """Record an act. Only the token that may act has come this far."""
        await self._trail.record(act, Actor.TOKEN, request.remote or "", **touched)

    # ---- events -----------------------------------------------------------------------------

    async def _get_events(self, request: web.Request) -> web.StreamResponse:
        query = parse_event_query(request.query, self._health.now())
        return json_answer(events_json(await self._spool.page(query)))

    async def _get_event(self, request: web.Request) -> web.StreamResponse:
        event_id = await whole_id(self._spool, request.match_info["id"])
        found = await self._spool.get(event_id)
        if found is None:
            raise web.HTTPNotFound
        record, event = found
        attempts = await self._spool.attempts(event_id)
        redaction = self._health.redaction(record.endpoint)
        return await asyncio.to_thread(
            lambda: json_answer(event_detail(record, event, attempts, redaction))
        )

    async def _requeue_event(self, request: web.Request) -> web.StreamResponse:
        event_id = await whole_id(self._spool, request.match_info["id"])
        if await self._spool.get(event_id) is None:
            raise web.HTTPNotFound
        upstream, to = request.query.get("upstream"), request.query.get("to")
        order = requeueing.order_for(event_id, upstream, to)
        configured = self._health.upstreams()
        await self._count(order)
        done = await self._spool.requeue(order.query, configured, to=order.to)
        if not done.ids:
            return json_answer({"error": requeueing.problem(event_id, done, order)}, 409)
        await self._record(request, "requeue", **order.touched(1, done.ids))
        said: dict[str, object] = {"requeued": list(done.ids)}
        if done.unserved:
            said["not_everywhere"] = requeueing.problem(event_id, done, order)
        return json_answer(said)

    async def _requeue_events(self, request: web.Request) -> web.StreamResponse:
        """Requeue by filters, or count with `dry_run=1`."""
        given = dict(request.query)
        dry_run = given.pop("dry_run", "0")
        if dry_run not in {"0", "1"}:
            raise ValueError(f'dry_run: "{dry_run}" is neither 0 nor 1')
        order = requeueing.parse_order(given, self._health.now())
        configured = self._health.upstreams()
        counted = await self._count(order)
        if dry_run == "1":
            return json_answer(requeueing.counted_json(counted))
        done, now = Done(), self._health.now()
        try:
            await requeueing.requeue(self._spool, order, configured, now, done.add)
        finally:
            # Also where it breaks off: what has been done is on record.
            if done.number:
                await self._record(request, "requeue", **order.touched(done.number, done.ids))
        return json_answer({"requeued": done.number})

    async def _count(self, order: Order) -> Requeueable:
        """Return what an order would do.

        Raises:
            ValueError: it cannot be done; the message says what to write.
        """
        try:
            return await requeueing.count(self._spool, order, self._health.upstreams())
        except UnknownUpstream as unknown:
            raise ValueError(str(unknown)) from None

    # ---- refusals ---------------------------------------------------------------------------

    async def _get_refusals(self, request: web.Request) -> web.StreamResponse:
        query = parse_refusal_query(request.query)
        return json_answer(refusals_json(await self._spool.refusals.page(query)))

    async def _refusal_id(self, request: web.Request) -> str:
        return await whole_id(self._spool.refusals, request.match_info["id"], "refusals")

    async def _get_refusal(self, request: web.Request) -> web.StreamResponse:
        stored = await self._spool.refusals.get(await self._refusal_id(request))
        if stored is None:
            raise web.HTTPNotFound
        redaction = self._health.redaction(stored.refused.endpoint)
        secrets = self._releaser.secrets()
        return await asyncio.to_thread(
            lambda: json_answer(refusal_detail(stored, secrets, redaction))
        )

    async def _explain_refusal(self, request: web.Request) -> web.StreamResponse:
        stored = await self._spool.refusals.get(await self._refusal_id(request))
        if stored is None or self._explain is None:
            raise web.HTTPNotFound
        try:
            return json_answer(await self._explain(stored))
        except RelayError as error:
            return json_answer({"error": str(error)}, 503)

    async def _release_refusal(self, request: web.Request) -> web.StreamResponse:
        refusal_id = await self._refusal_id(request)
        result = await self._releaser.release(refusal_id)
        if result is None:
            raise web.HTTPNotFound
        said = release_json(refusal_id, result)
        await self._record(request, "release", refusal=refusal_id, result=said["result"])
        return json_answer(said, 409 if isinstance(result, StillRefused) else 200)

    async def _get_strangers(self, request: web.Request) -> web.StreamResponse:
        query = parse_stranger_query(request.query)
        return json_answer(strangers_json(await self._spool.strangers.find(query)))

    # ---- upstreams --------------------------------------------------------------------------

    async def _get_upstreams(self, _: web.Request) -> web.StreamResponse:
        return json_answer({"upstreams": await self._upstreams.rows()})

    async def _pause_upstream(self, request: web.Request) -> web.StreamResponse:
        try:
            done = await self._upstreams.pause(request.match_info["name"], Actor.TOKEN)
        except UnknownUpstream as unknown:
            return json_answer({"error": str(unknown)}, 404)
        await self._record(request, "pause", upstream=done.upstream)
        return json_answer(done.json())

    async def _resume_upstream(self, request: web.Request) -> web.StreamResponse:
        try:
            done = await self._upstreams.resume(request.match_info["name"])
        except UnknownUpstream as unknown:
            return json_answer({"error": str(unknown)}, 404)
        await self._record(request, "resume", upstream=done.upstream)
        if done.by_file:
            return json_answer(done.json() | {"error": PAUSED_BY_FILE}, 409)
        return json_answer(done.json())

    # ---- configuration ----------------------------------------------------------------------

    async def _get_allowlist(self, _: web.Request) -> web.StreamResponse:
        return json_answer({"allowlist": self._health.allowlist()})

    async def _reload_configuration(self, request: web.Request) -> web.StreamResponse:
        if self._reload is None:
            return json_answer({"error": "this relay has no file to read again"}, 409)
        problems = await self._reload()
        await self._record(request, "reload", taken=not problems)
        if not problems:
            return json_answer({"reloaded": True})
        findings = [asdict(problem) for problem in problems]
        mistaken = any(not isinstance(problem, Obstacle) for problem in problems)
        refusal = {
            "error": "the configuration was not taken; the one before stays in force",
            "kind": "mistake" if mistaken else "refused",
            "findings": findings,
        }
        return json_answer(refusal, 422)
