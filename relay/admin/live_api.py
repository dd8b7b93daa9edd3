"""What is going on, for the page and the terminal: status, stream, and what people did."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from aiohttp import web

from relay.admin.api import json_answer
from relay.admin.audit_json import audit_json, parse_audit_query
from relay.admin.stream import Stream
from relay.spool.audit import AuditStore

#: Returns the status as JSON.
ReadStatus = Callable[[], Awaitable[dict[str, object]]]


class LiveApi:
    """Routes of `/api/v1/` that change nothing."""

    def __init__(
        self,
        status: ReadStatus,
        stream: Stream,
        acts: AuditStore,
        now: Callable[[], datetime],
    ) -> None:
        self._status = status
        self._now = now
        self._acts = acts
        self._stream = stream

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/status", self._get_status),
            web.get("/api/v1/stream", self._stream.answer, allow_head=False),
            web.get("/api/v1/audit", self._get_audit),
        ]

    async def close(self, _: web.Application) -> None:
        """End every stream, now and from now on."""
        self._stream.close()

    async def _get_status(self, _: web.Request) -> web.StreamResponse:
        return json_answer(await self._status())

    async def _get_audit(self, request: web.Request) -> web.StreamResponse:
        asked = parse_audit_query(request.query, self._now())
        acts = await self._acts.newest(asked.limit, since=asked.since, actor=asked.actor)
        return json_answer(audit_json(acts))
