"""Requeueing from the page: a question first, then the act."""

from typing import Final

from aiohttp import web

from relay.admin.health import Health
from relay.admin.pages.access import PageAccess
from relay.admin.pages.errors import PageProblem
from relay.admin.pages.event import event_path, find_event
from relay.admin.pages.rendering import Renderer
from relay.admin.serializers import requeue_problem
from relay.core.event import Status
from relay.spool import Spool
from relay.spool.history import Query, Record, Requeued

_REQUEUED: Final = (Status.DEAD, Status.HELD, Status.DELIVERED)


class RequeuePage:
    """`/events/{id}/requeue`."""

    def __init__(
        self, access: PageAccess, renderer: Renderer, spool: Spool, health: Health
    ) -> None:
        self._access = access
        self._renderer = renderer
        self._spool = spool
        self._health = health

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/events/{id}/requeue", self._question),
            web.post("/events/{id}/requeue", self._requeue),
        ]

    async def _question(self, request: web.Request) -> web.StreamResponse:
        session = self._access.actor(request)
        record, event = await find_event(self._spool, request.match_info["id"])
        if event is None or record.status not in _REQUEUED:
            said = requeue_problem(record.id, Requeued())
            raise _refused(record, said)
        return self._renderer.page(
            request,
            session,
            "confirm.html",
            title=f"Requeue {_name(record)}?",
            sentences=_sentences(record),
            warnings=[],
            action=event_path(record.id) + "/requeue",
            hidden={},
            button="Requeue",
            back=event_path(record.id),
        )

    async def _requeue(self, request: web.Request) -> web.StreamResponse:
        await self._access.form(request)
        record, _ = await find_event(self._spool, request.match_info["id"])
        done = await self._spool.requeue(Query(ids=(record.id,)), self._health.upstreams())
        if not done.ids:
            raise _refused(record, requeue_problem(record.id, done))
        await self._access.record(request, "requeue", events=list(done.ids))
        raise web.HTTPSeeOther(f"{event_path(record.id)}?requeued")


def _refused(record: Record, said: str) -> PageProblem:
    title = f"{record.id} was not requeued"
    return PageProblem(
        409, title, f"{said[0].upper()}{said[1:]}.", (event_path(record.id), "The event")
    )


def _name(record: Record) -> str:
    """Return what people call an event: its first reference, else its id."""
    return next((text for _, text in record.references), record.id)


def _sentences(record: Record) -> list[str]:
    names = [each.upstream for each in record.destinations] or [record.upstream]
    attempts = "one attempt" if record.attempts == 1 else f"{record.attempts} attempts"
    again = " The upstream gets it a second time." if record.status is Status.DELIVERED else ""
    return [
        f"{record.id} goes out again to {', '.join(names)}, with a fresh retry schedule.",
        f"It is {record.status.value} now, after {attempts}.{again}",
    ]
