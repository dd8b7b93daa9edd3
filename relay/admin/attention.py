"""What needs a person now: decided from the facts of a moment, without I/O.

Each matter has one of a closed list of kinds, a number, and a sentence that says what to do.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from relay.allowlist import SourceStatus
from relay.core.rate_limit import Rate
from relay.spool.overview import Overview, Waiting

#: For how long a kept refusal needs somebody, and one whose address alone was unknown.
REFUSED_FOR: Final = timedelta(hours=24)
SIGNED_FOR: Final = timedelta(days=7)

# The limits are those of the alerts in deploy/.
_BACKLOG_AGE: Final = timedelta(minutes=15)
_STALE: Final = timedelta(hours=1)
_CERTIFICATE_LEFT: Final = timedelta(days=14)
_FREE_BYTES: Final = 1_000_000_000
_CLOCK_AHEAD: Final = timedelta(seconds=60)

#: Endpoints that a sentence names.
_NAMED: Final = 3


class Kind(StrEnum):
    """What a matter is about, the most urgent first."""

    SPOOL_UNAVAILABLE = "spool_unavailable"
    DISK_LOW = "disk_low"
    CLOCK_OFF = "clock_off"
    UPSTREAM_MISSING = "upstream_missing"
    UPSTREAM_DOWN = "upstream_down"
    UPSTREAM_PAUSED = "upstream_paused"
    BACKLOG_OLD = "backlog_old"
    DEAD = "dead"
    HELD = "held"
    DAMAGED = "damaged"
    UNKNOWN_BUT_SIGNED = "unknown_but_signed"
    REFUSED = "refused"
    HOST_UNANSWERED = "host_unanswered"
    ALLOWLIST_STALE = "allowlist_stale"
    REPORT_MODE = "report_mode"
    CERTIFICATE_ENDS = "certificate_ends"
    RELOAD_REFUSED = "reload_refused"


@dataclass(frozen=True, slots=True)
class Attention:
    """One matter. number: how many of what it is about. since: None where it is not known."""

    kind: Kind
    number: int
    detail: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at one moment; what is not known is left empty.

    overview: None while the spool cannot be read; `problem` says why. Its refusals are those of
        `REFUSED_FOR` and `SIGNED_FOR`.
    configured: upstreams. open_breakers: upstreams that are left alone after failures in a row.
    paused: since when, by upstream; None for one that the configuration pauses.
    rates: of the upstreams that have one.
    hosts: the DNS sources. reporting: endpoints whose allowlist only reports.
    certificates: end of validity, by listener. client_certificates: of those that are shown, by
        upstream.
    reload_refused_at: when a reload was refused, unless one was taken since.
    last_delivery: of all endpoints.
    """

    now: datetime
    overview: Overview | None = None
    problem: str = ""
    configured: Collection[str] = ()
    open_breakers: Collection[str] = ()
    paused: Mapping[str, datetime | None] = field(default_factory=dict)
    rates: Mapping[str, Rate] = field(default_factory=dict)
    hosts: Sequence[SourceStatus] = ()
    reporting: Sequence[str] = ()
    certificates: Mapping[str, datetime] = field(default_factory=dict)
    client_certificates: Mapping[str, datetime] = field(default_factory=dict)
    reload_refused_at: datetime | None = None
    last_delivery: datetime | None = None


def attention(facts: Facts) -> list[Attention]:
    """Return what needs a person, the most urgent first."""
    order = list(Kind)
    found = [*_of_the_spool(facts), *_of_upstreams(facts), *_of_senders(facts), *_of_relay(facts)]
    return sorted(found, key=lambda each: order.index(each.kind))


# ---- events and refusals --------------------------------------------------------------------


def _of_the_spool(facts: Facts) -> Iterator[Attention]:
    overview = facts.overview
    if overview is None:
        yield Attention(Kind.SPOOL_UNAVAILABLE, 1, facts.problem)
        return
    if overview.free < _FREE_BYTES:
        megabytes = overview.free // 1_000_000
        yield Attention(
            Kind.DISK_LOW, megabytes, f"{megabytes} MB are left on the volume of the spool"
        )
    damaged = overview.damaged.number
    dead = overview.dead_events - damaged
    if dead > 0:
        where = _endpoints(overview.dead, overview.dead_events)
        what = f"{_events(dead)} dead{where}: mend the cause, then requeue"
        yield Attention(Kind.DEAD, dead, what, overview.dead_since)
    if damaged:
        what = f"{_events(damaged)} damaged; the provider's next copy replaces it"
        yield Attention(Kind.DAMAGED, damaged, what, overview.damaged.since)
    if held := overview.held_events:
        where = _endpoints(overview.held, held)
        what = f"{_events(held)} held{where}: look, then requeue what is right"
        yield Attention(Kind.HELD, held, what, overview.held_since)
    signed, refused = overview.unknown_but_signed, overview.refused
    if signed.number:
        what = (
            f"{_deliveries(signed.number)} whose signature fits came from unknown addresses in"
            f" {SIGNED_FOR.days} days: release what is the provider's"
        )
        yield Attention(Kind.UNKNOWN_BUT_SIGNED, signed.number, what, signed.since)
    if refused.number:
        what = f"{_deliveries(refused.number)} of the last 24 h refused, and kept: see why"
        yield Attention(Kind.REFUSED, refused.number, what, refused.since)


# ---- upstreams ------------------------------------------------------------------------------


def _of_upstreams(facts: Facts) -> Iterator[Attention]:
    backlog = facts.overview.backlog if facts.overview is not None else {}
    for name in sorted({*backlog, *facts.open_breakers, *facts.paused}):
        waiting = backlog.get(name, Waiting())
        behind = _behind(waiting)
        if name not in facts.configured:
            if waiting.number:
                what = f'upstream "{name}" is not configured, and {behind}: name it again'
                yield Attention(Kind.UPSTREAM_MISSING, waiting.number, what, waiting.since)
        elif name in facts.paused:
            what = f'upstream "{name}" is paused; {behind}'
            yield Attention(Kind.UPSTREAM_PAUSED, waiting.number, what, facts.paused[name])
        elif name in facts.open_breakers:
            what = f'upstream "{name}" has failed several times in a row; {behind}'
            yield Attention(Kind.UPSTREAM_DOWN, waiting.number, what, waiting.since)
        elif waiting.since is not None and facts.now - waiting.since > _BACKLOG_AGE:
            waited = _time(facts.now - waiting.since)
            what = f'{behind} for upstream "{name}"; the oldest came {waited} ago'
            if (rate := facts.rates.get(name)) is not None:
                last = _time(timedelta(seconds=waiting.number / rate.per_second))
                what += f"; at its rate of {rate} the last one goes in {last}"
            yield Attention(Kind.BACKLOG_OLD, waiting.number, what, waiting.since)


# ---- senders --------------------------------------------------------------------------------


def _of_senders(facts: Facts) -> Iterator[Attention]:
    for host in facts.hosts:
        if host.refreshed_at is None:
            if host.last_error is not None:
                what = f"host {host.name} was never answered: {host.last_error}"
                yield Attention(Kind.HOST_UNANSWERED, 1, what)
        elif (age := facts.now - host.refreshed_at) > _STALE:
            why = "" if host.last_error is None else f": {host.last_error}"
            what = f"the addresses of {host.name} were last confirmed {_time(age)} ago{why}"
            yield Attention(Kind.ALLOWLIST_STALE, host.addresses, what, host.refreshed_at)
    if facts.reporting:
        names, number = _named(facts.reporting), len(facts.reporting)
        what = f"mode: report; nobody is refused by address at {names}"
        yield Attention(Kind.REPORT_MODE, number, what)


# ---- this process ---------------------------------------------------------------------------


def _of_relay(facts: Facts) -> Iterator[Attention]:
    ends = {f"of {name}": end for name, end in sorted(facts.certificates.items())}
    ends |= {
        f"that {name} is shown": end for name, end in sorted(facts.client_certificates.items())
    }
    for which, end in ends.items():
        left = end - facts.now
        if left <= timedelta():
            yield Attention(Kind.CERTIFICATE_ENDS, 0, f"the certificate {which} has ended", end)
        elif left < _CERTIFICATE_LEFT:
            what = f"the certificate {which} ends in {_time(left)}"
            yield Attention(Kind.CERTIFICATE_ENDS, left.days, what)
    if facts.reload_refused_at is not None:
        what = "the file was not taken, the configuration before stays in force: `relay check`"
        yield Attention(Kind.RELOAD_REFUSED, 1, what, facts.reload_refused_at)
    if facts.last_delivery is not None and facts.last_delivery - facts.now > _CLOCK_AHEAD:
        ahead = facts.last_delivery - facts.now
        what = f"the last delivery is {_time(ahead)} ahead of the clock: it was set back"
        yield Attention(Kind.CLOCK_OFF, ahead // timedelta(seconds=1), what)


# ---- words ----------------------------------------------------------------------------------


def _events(number: int) -> str:
    return "1 event is" if number == 1 else f"{number} events are"


def _deliveries(number: int) -> str:
    return "1 delivery" if number == 1 else f"{number} deliveries"


def _behind(waiting: Waiting) -> str:
    if not waiting.number:
        return "nothing waits for it"
    return "1 event waits" if waiting.number == 1 else f"{waiting.number} events wait"


def _endpoints(numbers: Mapping[str, int], events: int) -> str:
    """Return where they are; that these are destinations, where an event has several."""
    most = sorted(numbers, key=lambda name: (-numbers[name], name))
    total = sum(numbers.values())
    at = f" at {total} destinations" if total != events else ""
    return f"{at} ({_named([f'{name} {numbers[name]}' for name in most])})"


def _named(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _time(length: timedelta) -> str:
    """Return a length of time in its largest unit."""
    for unit, name in ((timedelta(days=1), "d"), (timedelta(hours=1), "h")):
        if length >= 2 * unit:
            return f"{length // unit} {name}"
    minutes = length // timedelta(minutes=1)
    return f"{minutes} min" if minutes else f"{length // timedelta(seconds=1)} s"
