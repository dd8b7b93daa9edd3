"""Requeueing from the page: a question first, with the number of events, then the act."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from relay.admin import requeueing
from relay.admin.health import Health
from relay.admin.pages.access import PageAccess
from relay.admin.pages.errors import PageProblem
from relay.admin.pages.event import event_path, find_event
from relay.admin.pages.filters import EVENT_FILTERS, filters_of
from relay.admin.pages.rendering import Renderer
from relay.admin.requeueing import Done, Order
from relay.admin.upstreams import UnknownUpstream
from relay.core.event import Status
from relay.spool import Spool
from relay.spool.history import Destination, Record, Requeueable, Requeued

_ENDED: Final = (Status.DEAD, Status.HELD, Status.DELIVERED)
_OVERTAKEN: Final = (
    "A later event about the same was delivered since. This one goes out marked"
    " Relay-Out-Of-Order: true; its upstream must not take it for the newest."
)


class RequeuePage:
    """`/events/{id}/requeue`, and `/events/requeue` for what the filters of the list find."""

    def __init__(
        self, access: PageAccess, renderer: Renderer, spool: Spool, health: Health
    ) -> None:
        self._access = access
        self._renderer = renderer
        self._spool = spool
        self._health = health

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/events/requeue", self._ask_for_many),
            web.post("/events/requeue", self._requeue_many),
            web.get("/events/{id}/requeue", self._ask_for_one),
            web.post("/events/{id}/requeue", self._requeue_one),
        ]

    # ---- one event --------------------------------------------------------------------------

    async def _ask_for_one(self, request: web.Request) -> web.StreamResponse:
        session = self._access.actor(request)
        record, event = await find_event(self._spool, request.match_info["id"])
        # One of its destinations, or all that have ended.
        alone = request.query.get("upstream")
        order = requeueing.order_for(record.id, alone, None)
        counted = await self._count(order)
        going = [upstream for upstream, _ in counted.destinations]
        there = {*going, *(e.upstream for e in record.destinations if e.status not in _ENDED)}
        others = sorted(set(self._health.upstreams()) - there) if alone is None else []
        is_stuck = record.status in {Status.PASSED, Status.TEST} or event is None
        if is_stuck or not (going or others):
            raise _refused(record, requeueing.problem(record.id, Requeued(), order))
        sent = [each for each in record.destinations if each.upstream in going]
        return self._renderer.page(
            request,
            session,
            "requeue.html",
            title=f"Requeue {_name(record)}{'' if alone is None else f' to {alone}'}?",
            sentences=_sentences(record, sent),
            warnings=[_OVERTAKEN] if counted.overtaken else [],
            action=event_path(record.id) + "/requeue",
            hidden={} if alone is None else {"upstream": alone},
            button="Requeue",
            back=event_path(record.id),
            going=", ".join(going),
            others=others,
            counted=None,
            chosen=request.query,
        )

    async def _requeue_one(self, request: web.Request) -> web.StreamResponse:
        fields = await self._access.form(request)
        record, _ = await find_event(self._spool, request.match_info["id"])
        upstream, to = fields.get("upstream") or None, fields.get("to") or None
        order = requeueing.order_for(record.id, upstream, to)
        await self._count(order)
        done = await self._spool.requeue(order.query, self._health.upstreams(), to=order.to)
        if not done.ids:
            raise _refused(record, requeueing.problem(record.id, done, order))
        await self._access.record(request, "requeue", **order.touched(1, done.ids))
        raise web.HTTPSeeOther(f"{event_path(record.id)}?requeued")

    # ---- what the filters find --------------------------------------------------------------

    async def _ask_for_many(self, request: web.Request) -> web.StreamResponse:
        session = self._access.actor(request)
        filters = filters_of(request.query, EVENT_FILTERS)
        counted = await self._count(requeueing.parse_order(filters, self._health.now()))
        back = "/events?" + urlencode(filters)
        if not counted.events:
            raise PageProblem(
                409,
                "There is nothing to requeue",
                "No dead, held or delivered event with a body has these filters.",
                (back, "The events"),
            )
        return self._renderer.page(
            request,
            session,
            "requeue.html",
            title=f"Requeue {counted.events:,} event{'' if counted.events == 1 else 's'}?",
            sentences=["Each goes out again, with a fresh retry schedule, the oldest first."],
            warnings=_many_warnings(counted),
            action="/events/requeue",
            hidden={**filters, "number": str(counted.events)},
            button="Requeue them",
            back=back,
            going=", ".join(sorted({upstream for upstream, _ in counted.destinations})),
            others=sorted(self._health.upstreams()),
            counted=requeueing.counted_json(counted)["destinations"],
            chosen=request.query,
        )

    async def _requeue_many(self, request: web.Request) -> web.StreamResponse:
        fields = await self._access.form(request)
        asked = fields.get("number", "")
        if not (asked.isascii() and asked.isdigit() and len(asked) < _MAX_DIGITS):
            raise ValueError("number: say how many were asked for")
        filters = filters_of(fields, EVENT_FILTERS)
        chosen = {name: text for name in ("to", "rate") if (text := fields.get(name, "").strip())}
        # Never more than the person was asked about.
        order = requeueing.parse_order(filters | chosen, self._health.now())
        order = replace(order, most=int(asked))
        await self._count(order)
        done, began, upstreams = Done(), self._health.now(), self._health.upstreams()
        try:
            await requeueing.requeue(self._spool, order, upstreams, began, done.add)
        finally:
            # Also where it breaks off: what has been done is on record.
            if done.number:
                touched = order.touched(done.number, done.ids)
                await self._access.record(request, "requeue", **touched)
        # Of their status there are none left: they are to be seen where they went.
        filters.pop("status", None)
        raise web.HTTPSeeOther("/events?" + urlencode(filters | {"requeued": done.number}))

    async def _count(self, order: Order) -> Requeueable:
        """Return what an order would do.

        Raises:
            ValueError: it cannot be done; the message says why.
        """
        try:
            return await requeueing.count(self._spool, order, self._health.upstreams())
        except UnknownUpstream as unknown:
            raise ValueError(str(unknown)) from None


#: Digits of a number of events.
_MAX_DIGITS: Final = 12


def _many_warnings(counted: Requeueable) -> list[str]:
    again = sum(
        number for (_, status), number in counted.destinations.items() if status is Status.DELIVERED
    )
    if not again:
        return []
    return [f"{again:,} of them were delivered: their upstream gets them a second time."]


def _refused(record: Record, said: str) -> PageProblem:
    title = f"{record.id} was not requeued"
    return PageProblem(
        409, title, f"{said[0].upper()}{said[1:]}.", (event_path(record.id), "The event")
    )


def _name(record: Record) -> str:
    """Return what people call an event: its first reference, else its id."""
    return next((text for _, text in record.references), record.id)


def _sentences(record: Record, sent: Sequence[Destination]) -> list[str]:
    """Return what a person is told before an event goes to these of its destinations."""
    if not record.destinations:
        return [f"{record.id} goes nowhere by its route. It is sent where you say."]
    told = [f"{record.id} goes out again, with a fresh retry schedule."]
    is_one = len(record.destinations) == 1
    for each in sent:
        attempts = "one attempt" if each.attempts == 1 else f"{each.attempts} attempts"
        where = "It" if is_one else f"At {each.upstream} it"
        who = "The upstream" if is_one else "That upstream"
        again = f" {who} gets it a second time." if each.status is Status.DELIVERED else ""
        told.append(f"{where} is {each.status.value} now, after {attempts}.{again}")
    return told
