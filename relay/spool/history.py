"""What is asked of stored events, and what is told of them: the types of history."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from relay.core.event import Event, Status


@dataclass(frozen=True, slots=True)
class Query:
    """Which events. Empty fields do not narrow; `since` is inclusive, `until` exclusive.

    key: a whole event key. find: what a person has in hand: a whole key, or an event id or a
        reference, whole or by its beginning.
    upstream: of one of their destinations; with `status`, of one that has this status.
    after: the `next` of the page before.
    """

    ids: tuple[str, ...] = ()
    status: Status | None = None
    endpoint: str | None = None
    key: str | None = None
    find: str | None = None
    upstream: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 100
    after: str | None = None


#: The longest time that events can be spread over as they are requeued.
LONGEST_SPREAD: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Spread:
    """When requeued events are due: the first after `delay`, each later one `interval` after."""

    delay: timedelta = timedelta()
    interval: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class Requeueable:
    """What a call of `requeue` would do.

    events: how many it would make due. destinations: of these, by upstream and status; with `to`,
        that upstream alone, with the status that each has there, or None.
    overtaken: of events that were asked for by their ids, those that a later event of the same
        subject has overtaken at an upstream that they go to, or anywhere where they go to another
        one than before: they go out marked as out of order.
    """

    events: int
    destinations: Mapping[tuple[str, Status | None], int]
    overtaken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Requeued:
    """What became of the events that `requeue` was asked for; those that it skips are in none.

    ids: due again, the oldest first. damaged: left as they are, since a copy alone replaces them.
    unserved: id and upstream of what is left since nobody serves that upstream.
    removed: of those that were named, the ones whose content was removed for good.
    next: as `after` of the next call it spares looking at these events again; None at the end, and
        where looking takes no time.
    """

    ids: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    unserved: tuple[tuple[str, str], ...] = ()
    removed: tuple[str, ...] = ()
    next: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Destination:
    """What has become of an event at one of its upstreams.

    last_outcome, reason, settled_at: as in `Record`.
    """

    upstream: str
    status: Status
    attempts: int
    due_at: datetime | None = None
    settled_at: datetime | None = None
    last_outcome: str | None = None
    reason: str | None = None


_URGENCY: Final = (
    Status.DEAD,
    Status.HELD,
    Status.LEASED,
    Status.PENDING,
    Status.DELIVERED,
    Status.PASSED,
    Status.TEST,
)


def most_urgent(destinations: Sequence[Destination]) -> Destination | None:
    """Return the one that most needs a person, of equals the first; None of none."""
    return min(destinations, key=lambda each: _URGENCY.index(each.status), default=None)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try that is kept.

    number: from 1, for each destination. outcome, status, cause: as in `AttemptRecord`.
    duration: None where it is not known. answer: the beginning of what the upstream said.
    """

    number: int
    at: datetime
    upstream: str
    outcome: str
    status: int | None
    cause: str | None
    duration: timedelta | None
    answer: bytes | None


@dataclass(frozen=True, slots=True)
class Record:
    """The history of one event, without its body.

    What `destinations` says of one, the fields above say of the one that most needs a person;
    `attempts` is their sum, `upstream` that of the first. One whose routes lead nowhere has neither
    destinations nor an upstream, and counts as delivered.
    references: names and values of the ids that people hold.
    removed: why its content was removed for good: `headers` or `none`, which is what its endpoint
        keeps of what is delivered, or `erased`; None where it was not.
    remainder: what is left of it then, with an empty body; of one event alone (`Spool.get`).
    settled_at: when it became delivered, dead or held, or was passed on; None before.
    last_outcome: `delivered 200`, `rejected 503`, `unreachable refused`, `unconfirmed not found`,
        or `corrupt`; None before any attempt.
    damaged: it is not what was stored any more.
    reason: why it is dead or held, where the outcome does not tell.
    query_dropped: its caller's query is not part of it.
    """

    id: str
    endpoint: str
    provider: str
    status: Status
    key: str
    subject: str | None
    received_at: datetime
    attempts: int
    upstream: str | None
    due_at: datetime | None
    settled_at: datetime | None
    last_outcome: str | None
    conflicts_with: str | None
    out_of_order: bool
    client: str
    reconciled: bool = False
    damaged: bool = False
    reason: str | None = None
    repeats: str | None = None
    query_dropped: bool = False
    destinations: tuple[Destination, ...] = ()
    references: tuple[tuple[str, str], ...] = ()
    removed: str | None = None
    remainder: Event | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Events, newest first. `next` continues behind the last one; None at the end."""

    records: tuple[Record, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class SpoolStats:
    """Counts and sizes for metrics.

    events: number by (endpoint, status).
    oldest_pending: time of receipt of the oldest pending or leased event, by upstream.
    size: bytes the store occupies. free: bytes left on its volume.
    """

    events: Mapping[tuple[str, Status], int]
    oldest_pending: Mapping[str, datetime]
    size: int
    free: int


# ---- the index of references ----------------------------------------------------------------

#: The events that one filling of the index takes in, at most. A search reads as many that are in
#: no part yet, and asks each part; a filling holds the ids of all of them at once.
FILLING: Final = 4_096


class ReferenceIndex(Protocol):
    """The references of stored events, in an order in which they are found.

    An event is found whether it is in the index or not: without, it only takes longer. Every method
    raises `SpoolUnavailable` when the store cannot do its work.
    """

    async def fill(self, least: int) -> bool:
        """Take the references in of up to `FILLING` events, if so many are not in it.

        Returns whether it has. What breaks off is done again; of several processes one does it.
        """

    async def prune(self) -> bool:
        """Remove what belongs to events that are gone, a part of it; return whether it has."""
