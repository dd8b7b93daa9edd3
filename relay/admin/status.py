"""The status as JSON: nodes, endpoints, upstreams, what needs a person, and the spool.

It is read from the spool, the settings, and what the process knows besides. A command line without
a running relay knows less, and says the same of the rest.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from relay import __version__
from relay.admin.attention import REFUSED_FOR, SIGNED_FOR, Attention, Facts, attention
from relay.admin.serializers import rfc3339
from relay.admin.upstream_rows import read_configured, upstream_rows
from relay.allowlist import Allowlist, Mode, SourceStatus
from relay.config import Endpoint, Settings, provider_name
from relay.core.errors import SpoolUnavailable
from relay.core.request import Verdict
from relay.spool import Spool
from relay.spool.activity import Activity, hour_of
from relay.spool.overview import Overview
from relay.spool.pauses import Pause

#: Hours that are told of, the present one included.
HOURS: Final = 24

#: Endpoints whose rows are made before the event loop may run other tasks, and rows of activity.
_AT_ONCE: Final = 50
_ROWS_AT_ONCE: Final = 2000

#: What counts in the hours of an endpoint: deliveries that were not turned away.
_TAKEN: Final = frozenset(Verdict) - {Verdict.REFUSED, Verdict.UNAVAILABLE}


@dataclass(frozen=True, slots=True)
class Node:
    """A running process. configuration: the digest of its settings."""

    name: str
    role: str
    since: datetime
    configuration: str


@dataclass(frozen=True, slots=True)
class Process:
    """What a process knows besides its spool and settings; a command line knows some of it.

    allowlists: mode and list, by endpoint. hosts: the DNS sources.
    breakers: whether each is open, by upstream. certificates: end of validity, by listener.
    reload_refused_at: when a reload was refused, unless one was taken since.
    """

    nodes: Sequence[Node] = ()
    allowlists: Mapping[str, tuple[Mode, Allowlist]] = field(default_factory=dict)
    hosts: Sequence[SourceStatus] = ()
    breakers: Mapping[str, bool] = field(default_factory=dict)
    certificates: Mapping[str, datetime] = field(default_factory=dict)
    reload_refused_at: datetime | None = None


class ActivityReader(Protocol):
    """Tells of deliveries by hour: a `relay.spool.activity.ActivityStore`, or what writes to it."""

    async def since(self, hour: datetime) -> tuple[Activity, ...]: ...

    async def last_deliveries(self) -> Mapping[str, datetime]: ...


@dataclass(frozen=True, slots=True)
class _Read:
    """What the spool said, or why it did not; then all but `problem` is empty."""

    overview: Overview | None = None
    activity: Sequence[Activity] = ()
    last_deliveries: Mapping[str, datetime] = field(default_factory=dict)
    pauses: Mapping[str, Pause] = field(default_factory=dict)
    problem: str = ""


async def read_status(
    spool: Spool, activity: ActivityReader, settings: Settings, process: Process, now: datetime
) -> dict[str, object]:
    """Return the status. While the spool cannot be read, what it would tell is null or empty."""
    read = await _read(spool, activity, now)
    overview = read.overview
    configured = await read_configured(settings.upstreams, settings.endpoints)
    facts = Facts(
        now=now,
        overview=overview,
        problem=read.problem,
        configured=settings.upstreams.keys(),
        open_breakers=[name for name, is_open in process.breakers.items() if is_open],
        paused=_paused(settings, read.pauses),
        rates={name: each.rate for name, each in settings.upstreams.items() if each.rate},
        hosts=process.hosts,
        reporting=_reporting(settings, process),
        certificates=process.certificates,
        client_certificates=configured.certificates,
        reload_refused_at=process.reload_refused_at,
        last_delivery=max(read.last_deliveries.values(), default=None),
    )
    backlog = {} if overview is None else overview.backlog
    return {
        "version": __version__,
        "nodes": [_node(each) for each in process.nodes],
        "endpoints": await _endpoints(settings.endpoints, read, process, now),
        "upstreams": upstream_rows(configured, backlog, read.pauses, process.breakers),
        "attention": [_matter(each) for each in attention(facts)],
        "spool": {
            "bytes": None if overview is None else overview.size,
            "free_bytes": None if overview is None else overview.free,
        },
    }


async def _read(spool: Spool, activity: ActivityReader, now: datetime) -> _Read:
    try:
        return _Read(
            await spool.overview.read(now - REFUSED_FOR, now - SIGNED_FOR),
            await activity.since(_first_hour(now)),
            await activity.last_deliveries(),
            await spool.pauses.all(),
        )
    except SpoolUnavailable as error:
        return _Read(problem=str(error))


def _first_hour(now: datetime) -> datetime:
    return hour_of(now) - timedelta(hours=HOURS - 1)


def _paused(settings: Settings, pauses: Mapping[str, Pause]) -> dict[str, datetime | None]:
    """Return since when upstreams are paused; None for those that the configuration pauses."""
    by_file = {name: None for name, each in settings.upstreams.items() if each.paused}
    return by_file | {name: pause.at for name, pause in pauses.items()}


def _reporting(settings: Settings, process: Process) -> list[str]:
    """Return the endpoints that only report, in as much as this process receives for them."""
    return [
        each.name
        for each in settings.endpoints
        if each.name in process.allowlists and process.allowlists[each.name][0] is Mode.REPORT
    ]


# ---- rows -----------------------------------------------------------------------------------


def _node(node: Node) -> dict[str, object]:
    return {
        "name": node.name,
        "version": __version__,
        "role": node.role,
        "since": rfc3339(node.since),
        "configuration": node.configuration,
    }


def _matter(matter: Attention) -> dict[str, object]:
    return {
        "kind": matter.kind.value,
        "number": matter.number,
        "detail": matter.detail,
        "since": None if matter.since is None else rfc3339(matter.since),
    }


async def _endpoints(
    endpoints: Iterable[Endpoint], read: _Read, process: Process, now: datetime
) -> list[dict[str, object]]:
    counted = await _by_endpoint(read.activity)
    rows = []
    for number, endpoint in enumerate(endpoints, 1):
        last = read.last_deliveries.get(endpoint.name)
        found = counted.get(endpoint.name, ())
        row: dict[str, object] = {
            "name": endpoint.name,
            "provider": provider_name(endpoint),
            "last_delivery_at": None if last is None else rfc3339(last),
            "verdicts_24h": _verdicts(found),
            "hours": _hours(found, now),
            "allowlist": _allowlist(process.allowlists.get(endpoint.name), now),
        }
        rows.append(row)
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
    return rows


async def _by_endpoint(activity: Sequence[Activity]) -> dict[str, list[Activity]]:
    """Return them by endpoint. Thousands of endpoints have hundreds of thousands."""
    found: dict[str, list[Activity]] = {}
    for first in range(0, len(activity), _ROWS_AT_ONCE):
        for each in activity[first : first + _ROWS_AT_ONCE]:
            found.setdefault(each.endpoint, []).append(each)
        await asyncio.sleep(0)
    return found


def _verdicts(counted: Collection[Activity]) -> dict[str, int]:
    numbers = {verdict.value: 0 for verdict in Verdict}
    for each in counted:
        numbers[each.verdict] = numbers.get(each.verdict, 0) + each.deliveries
    return numbers


def _hours(counted: Collection[Activity], now: datetime) -> list[int]:
    """Return how many deliveries were taken in each hour, the present one last."""
    numbers, first = [0] * HOURS, _first_hour(now)
    for each in counted:
        at = (each.hour - first) // timedelta(hours=1)
        if each.verdict in _TAKEN and 0 <= at < HOURS:
            numbers[at] += each.deliveries
    return numbers


def _allowlist(known: tuple[Mode, Allowlist] | None, now: datetime) -> dict[str, object]:
    """Return how many networks may send, and since when the oldest answer of a host stands."""
    if known is None:
        return {"addresses": None, "age_seconds": None}
    _, allowlist = known
    ages = [(now - at).total_seconds() for at in _refreshed(allowlist)]
    return {
        "addresses": len({entry.text for entry in allowlist.entries()}),
        "age_seconds": max(0, round(max(ages))) if ages else None,
    }


def _refreshed(allowlist: Allowlist) -> Iterator[datetime]:
    for source in allowlist.sources:
        at = source.status().refreshed_at
        if at is not None:
            yield at
