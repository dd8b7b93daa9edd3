"""The overview: what needs a person, each endpoint and its day, each upstream, and relay itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from relay.admin.attention import Kind
from relay.admin.health import Health
from relay.admin.live_api import ReadStatus
from relay.admin.pages.access import PageAccess
from relay.admin.pages.rendering import Renderer
from relay.admin.serializers import rfc3339
from relay.core.request import Verdict

#: Where each kind of matter is looked into: path and words of the link.
_LEADS: Final[Mapping[Kind, tuple[str, str]]] = {
    Kind.UPSTREAM_MISSING: ("/upstreams", "Upstreams"),
    Kind.UPSTREAM_DOWN: ("/upstreams", "Upstreams"),
    Kind.UPSTREAM_PAUSED: ("/upstreams", "Upstreams"),
    Kind.BACKLOG_OLD: ("/events?status=pending", "Pending events"),
    Kind.DEAD: ("/events?status=dead", "Dead events"),
    Kind.HELD: ("/events?status=held", "Held events"),
    Kind.DAMAGED: ("/events?status=dead", "Dead events"),
    Kind.UNKNOWN_BUT_SIGNED: ("/refusals?reason=source_not_allowed", "Refusals"),
    Kind.REFUSED: ("/refusals", "Refusals"),
    Kind.HOST_UNANSWERED: ("/allowlist", "Who may send"),
    Kind.ALLOWLIST_STALE: ("/allowlist", "Who may send"),
    Kind.REPORT_MODE: ("/allowlist", "Who may send"),
}

#: Matters by which payments stand still, or are about to; the others can wait until morning.
_URGENT: Final = frozenset(
    {
        *(Kind.SPOOL_UNAVAILABLE, Kind.DISK_LOW, Kind.CLOCK_OFF, Kind.UPSTREAM_MISSING),
        *(Kind.UPSTREAM_DOWN, Kind.DEAD, Kind.DAMAGED, Kind.HOST_UNANSWERED),
    }
)

#: The verdicts that have a column, in their order.
_VERDICTS: Final = (
    *(Verdict.ACCEPTED, Verdict.DUPLICATE, Verdict.CONFLICT, Verdict.PASSED),
    *(Verdict.CHALLENGED, Verdict.REFUSED, Verdict.UNAVAILABLE),
)

#: Endpoints that are shown: a page of thousands would hold up deliveries.
_ENDPOINTS: Final = 50

# The picture of a day, in units of its own.
_HEIGHT: Final = 24
_STEP: Final = 5


@dataclass(frozen=True, slots=True)
class Sparkline:
    """The deliveries of each hour as bars, in a path of SVG. label: the same in words."""

    width: int
    height: int
    bars: str
    label: str


def sparkline(hours: Sequence[int]) -> Sparkline:
    """Return the picture of so many hours; an hour with anything in it is never empty."""
    most = max(hours, default=0)
    bars = "".join(
        f"M{at * _STEP} {_HEIGHT}v-{max(2, round(_HEIGHT * number / most))}h{_STEP - 1}V{_HEIGHT}z"
        for at, number in enumerate(hours)
        if number
    )
    label = (
        f"{sum(hours)} deliveries in {len(hours)} hours, {most} in the busiest"
        if most
        else f"no delivery in {len(hours)} hours"
    )
    return Sparkline(len(hours) * _STEP, _HEIGHT, bars, label)


class OverviewPage:
    """`/`."""

    def __init__(
        self, access: PageAccess, renderer: Renderer, health: Health, status: ReadStatus
    ) -> None:
        self._access = access
        self._renderer = renderer
        self._health = health
        self._status = status

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/", self._show)]

    async def _show(self, request: web.Request) -> web.StreamResponse:
        session = self._access.reader(request)
        status: Mapping[str, Any] = await self._status()
        shown = _busiest(status["endpoints"])
        return self._renderer.page(
            request,
            session,
            "overview.html",
            status=status,
            matters=[_matter(each) for each in status["attention"]],
            endpoints=[each | {"day": sparkline(each["hours"])} for each in shown],
            more=len(status["endpoints"]) - len(shown),
            verdicts=[verdict.value for verdict in _columns(shown)],
            hosts=self._health.hosts(),
            certificates=[
                (listener, rfc3339(end)) for listener, end in self._health.certificates().items()
            ],
        )


def _matter(told: Mapping[str, Any]) -> dict[str, object]:
    kind = Kind(told["kind"])
    href, label = _LEADS.get(kind, (None, None))
    return {**told, "urgent": kind in _URGENT, "href": href, "label": label}


def _busiest(endpoints: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Return the endpoints in their order; of too many, those with the most deliveries."""
    if len(endpoints) <= _ENDPOINTS:
        return endpoints
    ranked = sorted(endpoints, key=lambda each: sum(each["verdicts_24h"].values()), reverse=True)
    return ranked[:_ENDPOINTS]


def _columns(endpoints: Sequence[Mapping[str, Any]]) -> list[Verdict]:
    """Return the verdicts to show: what is usual, and what there was besides."""
    usual = {Verdict.ACCEPTED, Verdict.DUPLICATE, Verdict.REFUSED}
    return [
        verdict
        for verdict in _VERDICTS
        if verdict in usual or any(each["verdicts_24h"].get(verdict) for each in endpoints)
    ]
