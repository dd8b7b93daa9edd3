"""Judge what a spool holds of the last days by a configuration, before that is put in force.

Stored events and kept refusals are judged one by one (`relay.explain.judge`). What would be taken
otherwise than it was is a change.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from relay.admin.serializers import rfc3339
from relay.config import Settings
from relay.core.clock import Clock
from relay.core.event import STATUS_CONTRADICTS_CODE, Event, Status
from relay.core.redaction import NOTHING
from relay.core.request import Headers
from relay.core.secret import Mask
from relay.explain.judge import Judge, Judgement, NotTaken, Taken, Unjudged
from relay.spool import Spool
from relay.spool.audit import MAX_ACTS
from relay.spool.history import Query, Record
from relay.spool.refusals import RefusalQuery, Refused

#: Rows of one page, and hosts that are tried at most.
_PAGE: Final = 500
_MAX_HOSTS: Final = 20

# An act is recorded when it has been done, which takes no longer.
_ACT: Final = timedelta(minutes=1)

#: Changes that are listed; the others are counted.
MAX_LISTED: Final = 1000

#: What stands in no event and no refusal, and so is judged of none.
NEVER_JUDGED: Final = ("listen", "trusted_proxies", "forwarded_header")


class Kind(StrEnum):
    """What a change is."""

    REFUSED = "refused"
    ADMITTED = "admitted"
    ROUTED = "routed"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Change:
    """One delivery that would be taken otherwise than it was."""

    id: str
    kind: Kind
    endpoint: str
    received_at: datetime
    was: str
    would_be: str
    why: str


@dataclass(slots=True)
class Replay:
    """What came of judging.

    changes: the first of them. kinds: the number of all. unjudged: of those not judged, by why.
    """

    since: datetime
    unchanged: int = 0
    changes: list[Change] = field(default_factory=list)
    kinds: Counter[Kind] = field(default_factory=Counter)
    unjudged: Counter[str] = field(default_factory=Counter)

    @property
    def judged(self) -> int:
        return self.unchanged + self.kinds.total()

    def add(self, outcome: Change | Unjudged | None) -> None:
        """Count what came of one delivery; None: it stays as it is."""
        if outcome is None:
            self.unchanged += 1
        elif isinstance(outcome, Unjudged):
            self.unjudged[outcome.why] += 1
        else:
            self.kinds[outcome.kind] += 1
            if len(self.changes) < MAX_LISTED:
                self.changes.append(outcome)


async def replay(
    settings: Settings,
    spool: Spool,
    *,
    since: datetime,
    clock: Clock,
    judged: Callable[[], None] = lambda: None,
) -> Replay:
    """Judge what came since then and is still in this spool, the last first.

    judged: called after each.

    Raises:
        SpoolUnavailable: the spool cannot be read.
        RelayError: the DNS cache cannot be read.
    """
    now = clock.now()
    refusals = await _refusals(spool, since)
    judge = Judge(settings, clock, _hosts(settings, refusals))
    shown = _Shown(settings)
    found = Replay(since)
    for each in refusals:
        stored = await spool.refusals.get(each.id)
        # It may have been released, or removed, meanwhile.
        if stored is not None and stored.released_as is None:
            refused = stored.refused
            found.add(_of_refusal(refused, judge.refusal(refused), shown))
            judged()
    added = await _added(spool, since)
    async for record, event in _events(spool, since, now):
        went = await _went(spool, record, added)
        found.add(_of_event(record, event, judge, shown, went))
        judged()
    return found


def replay_json(found: Replay) -> dict[str, object]:
    """Return what came of judging as the command line prints it."""
    return {
        "since": rfc3339(found.since),
        "judged": found.judged,
        "unchanged": found.unchanged,
        "summary": {kind.value: found.kinds[kind] for kind in Kind},
        "changes": [
            {
                "id": each.id,
                "change": each.kind.value,
                "endpoint": each.endpoint,
                "received_at": rfc3339(each.received_at),
                "was": each.was,
                "would_be": each.would_be,
                "why": each.why,
            }
            for each in found.changes
        ],
        "not_judged": [
            {"why": why, "deliveries": number} for why, number in found.unjudged.most_common()
        ],
        "never_judged": list(NEVER_JUDGED),
    }


# ---- what is there --------------------------------------------------------------------------


async def _refusals(spool: Spool, since: datetime) -> list[Refused]:
    """Return those that are no events, without their bodies."""
    found: list[Refused] = []
    query = RefusalQuery(limit=_PAGE)
    while True:
        page = await spool.refusals.page(query)
        found += [
            each.refused
            for each in page.refusals
            if each.released_as is None and each.refused.head.received_at >= since
        ]
        if page.next is None:
            return found
        query = RefusalQuery(limit=_PAGE, after=page.next)


async def _events(
    spool: Spool, since: datetime, until: datetime
) -> AsyncIterator[tuple[Record, Event | None]]:
    after = None
    while True:
        page = await spool.page(Query(since=since, until=until, limit=_PAGE, after=after))
        for record in page.records:
            if record.status is Status.PASSED:
                yield record, None
            elif (stored := await spool.get(record.id)) is not None:
                yield stored
        if page.next is None:
            return
        after = page.next


async def _added(spool: Spool, since: datetime) -> Mapping[tuple[str, str], datetime]:
    """Return when a person first sent which events to which upstream, by `requeue --to`.

    Of the acts that are kept with the ids of their events.
    """
    found: dict[tuple[str, str], datetime] = {}
    for act in await spool.audit.newest(MAX_ACTS, since=since):
        ids, to = act.detail.get("events"), act.detail.get("to")
        if act.name == "requeue" and isinstance(ids, list) and isinstance(to, str):
            found |= {(str(each), to): act.at for each in ids}
    return found


async def _went(
    spool: Spool, record: Record, added: Mapping[tuple[str, str], datetime]
) -> tuple[str, ...]:
    """Return the upstreams that an event has, without those that a person alone has sent it to.

    One that had been tried before had it already.
    """
    asked = {
        each.upstream: added[record.id, each.upstream]
        for each in record.destinations
        if (record.id, each.upstream) in added
    }
    if not asked:
        return tuple(each.upstream for each in record.destinations)
    new = {
        attempt.upstream
        for attempt in await spool.attempts(record.id)
        if attempt.number == 1
        and attempt.upstream in asked
        and attempt.at >= asked[attempt.upstream] - _ACT
    }
    new |= {each.upstream for each in record.destinations if not each.attempts} & {*asked}
    return tuple(each.upstream for each in record.destinations if each.upstream not in new)


def _hosts(settings: Settings, refusals: list[Refused]) -> list[str]:
    """Return hosts that deliveries may have come for: those of URLs, and those of refusals."""
    urls = [each.public_url for each in settings.endpoints if each.public_url is not None]
    hosts = dict.fromkeys(urlsplit(url).netloc for url in urls)
    hosts |= dict.fromkeys(host for each in refusals for host in each.head.headers.values("Host"))
    return [*hosts][:_MAX_HOSTS]


# ---- what changes ---------------------------------------------------------------------------


class _Shown:
    """Masks what people may not see: secrets, and what an endpoint redacts."""

    def __init__(self, settings: Settings) -> None:
        self._secrets = [*settings.every_secret()]
        self._redactions = settings.redactions()

    def text(self, text: str, endpoint: str, body: bytes) -> str:
        """Return a text about this body as it is shown."""
        redacted = self._redactions.get(endpoint, NOTHING).of(body)
        return Mask([*self._secrets, *redacted.secrets], Headers()).text(text)


def _of_refusal(refused: Refused, found: Judgement, shown: "_Shown") -> Change | Unjudged | None:
    if isinstance(found, Unjudged):
        return found
    if isinstance(found, NotTaken):
        return None
    why = "nothing speaks against it any more"
    if found.endpoint != refused.endpoint:
        why = f"{found.endpoint} takes it"
    return Change(
        refused.id,
        Kind.ADMITTED,
        refused.endpoint,
        refused.head.received_at,
        shown.text(
            f"refused, {refused.reason.value}: {refused.detail}".removesuffix(": "),
            refused.endpoint,
            refused.body,
        ),
        _says(found),
        why,
    )


def _of_event(
    record: Record,
    event: Event | None,
    judge: Judge,
    shown: "_Shown",
    went: tuple[str, ...],
) -> Change | Unjudged | None:
    if event is None:
        passed = record.status is Status.PASSED
        return Unjudged("it was passed on, and not stored" if passed else "its body is not kept")
    found = judge.event(event)
    if isinstance(found, Unjudged):
        return found
    hold = STATUS_CONTRADICTS_CODE if event.contradicts else None
    was = Taken(event.endpoint, went, False, hold)
    if isinstance(found, NotTaken):
        kind, why = Kind.REFUSED, found.detail or found.reason.value
    elif found.hold is not None and not event.contradicts:
        kind, why = Kind.HELD, found.hold
    # A message that tries the endpoint goes nowhere, whatever its route.
    elif found.passed or (record.status is not Status.TEST and {*found.upstreams} != {*went}):
        kind, why = Kind.ROUTED, f"the endpoint {found.endpoint} has it now"
        if found.by and found.endpoint == event.endpoint:
            why = found.by
    else:
        return None
    return Change(
        event.id,
        kind,
        event.endpoint,
        event.received_at,
        _says(was),
        _says(found),
        shown.text(why, event.endpoint, event.body),
    )


def _says(judgement: Taken | NotTaken) -> str:
    if isinstance(judgement, NotTaken):
        return f"refused, {judgement.reason.value}"
    if judgement.hold is not None:
        return "held"
    if not judgement.upstreams:
        return "taken, and delivered nowhere"
    how = "passed on to" if judgement.passed else "taken, to"
    return f"{how} {', '.join(judgement.upstreams)}"
