"""What happens, told while it happens: deliveries, attempts, acts and reloads, to who listens.

Mostly nobody does, and then nothing of this is called. A subscriber has a bounded queue; one that
does not keep up is dropped, and holds up nothing.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final

from relay.core.errors import RelayError
from relay.core.event import AttemptRecord, Outcome, Status
from relay.core.request import VerifiedDelivery
from relay.core.visible_text import visible_json
from relay.telemetry.log import as_json, spelled_time

if TYPE_CHECKING:
    from relay.telemetry import DeliveryRecord

#: How many may listen, and how many happenings may wait for one of them.
MAX_SUBSCRIBERS: Final = 32
MAX_WAITING: Final = 1000
#: Characters of an event key that are told: senders choose it.
MAX_KEY: Final = 256

_STATUSES: Final = {"done": Status.DELIVERED, "retry": Status.PENDING, "lost": None}


class TooManySubscribers(RelayError):
    """No more may listen now."""


class Happening:
    """One thing that has happened.

    kind: `delivery`, `attempt`, `act` or `reload`. fields: what is told of it.
    json: the fields on one line, without anything that steers or hides.
    """

    __slots__ = ("fields", "json", "kind")

    def __init__(self, kind: str, fields: Mapping[str, object]) -> None:
        self.kind = kind
        self.fields = fields
        self.json = visible_json(as_json(fields).rstrip("\n"))


class Subscriber:
    """Takes what happens, as far as it is wanted, until it is dropped or the feed is closed.

    ended: set when it takes nothing more. dropped: that is so because it has not kept up.
    """

    def __init__(self, wants: Callable[[str, Mapping[str, object]], bool]) -> None:
        """wants: whether to take a happening of this kind with these fields."""
        self.wants = wants
        self.ended = asyncio.Event()
        self.dropped = False
        self._waiting: list[Happening] = []
        self._news = asyncio.Event()

    def put(self, happening: Happening) -> bool:
        """Take one; return False if there was no room for it, and this subscriber is dropped."""
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.clear()
            self.dropped = True
            self.end()
            return False
        self._waiting.append(happening)
        self._news.set()
        return True

    def end(self) -> None:
        """Take nothing more; what waits can still be fetched."""
        self.ended.set()
        self._news.set()

    async def wait(self) -> None:
        """Return when something has happened, or nothing more will."""
        await self._news.wait()

    def fetch(self) -> list[Happening]:
        """Return what has happened since the last call."""
        waiting, self._waiting = self._waiting, []
        if not self.ended.is_set():
            self._news.clear()
        return waiting


class Feed:
    """Hands what happens to its subscribers.

    subscribers: empty while nobody listens; always the same list.
    """

    def __init__(self) -> None:
        self.subscribers: list[Subscriber] = []
        self._closed = False

    def subscribe(self, wants: Callable[[str, Mapping[str, object]], bool]) -> Subscriber:
        """Return a new subscriber; `unsubscribe` ends it.

        Raises:
            TooManySubscribers: there are `MAX_SUBSCRIBERS`.
        """
        if len(self.subscribers) >= MAX_SUBSCRIBERS:
            raise TooManySubscribers(f"{MAX_SUBSCRIBERS} listen already; close a page or a `tail`")
        subscriber = Subscriber(wants)
        if self._closed:
            subscriber.end()
        else:
            self.subscribers.append(subscriber)
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Tell this one nothing more."""
        if subscriber in self.subscribers:
            self.subscribers.remove(subscriber)

    def close(self) -> None:
        """End every subscriber, now and from now on."""
        self._closed = True
        for subscriber in self.subscribers:
            subscriber.end()
        self.subscribers.clear()

    def tell(self, kind: str, fields: Mapping[str, object]) -> None:
        """Hand one happening to those that want it. Raises nothing and waits for nothing."""
        happening: Happening | None = None
        for subscriber in tuple(self.subscribers):
            if subscriber.wants(kind, fields):
                happening = happening or Happening(kind, fields)
                if not subscriber.put(happening):
                    self.unsubscribe(subscriber)

    # ---- what is told of ----------------------------------------------------------------------

    def received(self, record: "DeliveryRecord", at: datetime) -> None:
        """Tell of a delivery that has been answered at this time.

        Its `status` is null: what becomes of the event is told by its attempts. `upstreams` is
        where its route leads, and null where its endpoint has no routes.
        """
        fields = {
            "at": spelled_time(at),
            "id": record.id,
            "endpoint": record.endpoint,
            "provider": record.provider,
            "client": record.client or record.peer,
            "verdict": record.verdict,
            "reason": record.reason,
            "would_refuse": record.would_refuse,
            "status": None,
            "code": record.status,
            "key": None if record.event_key is None else record.event_key[:MAX_KEY],
            "revived": record.revived,
            "upstreams": record.upstreams,
            "duration_ms": round(record.duration * 1000, 3),
        }
        self.tell("delivery", fields)

    def attempted(self, attempted: AttemptRecord, at: datetime) -> None:
        """Tell of an attempt that has ended; `status` is what its event is at this upstream now.

        That is null where another process has taken the event over.
        """
        due = attempted.due
        fields = {
            "at": spelled_time(at),
            "id": attempted.event_id,
            "endpoint": attempted.endpoint,
            "provider": attempted.provider,
            "upstream": attempted.upstream,
            "number": attempted.attempt,
            "outcome": attempted.outcome,
            "status": _STATUSES.get(attempted.decision, attempted.decision),
            "code": attempted.status,
            "cause": attempted.cause,
            "due_at": None if due is None else spelled_time(due),
            "duration_ms": round(attempted.duration * 1000, 3),
        }
        self.tell("attempt", fields)

    def forwarded(
        self, delivery: VerifiedDelivery, outcome: Outcome, at: datetime, duration: float
    ) -> None:
        """Tell of the one attempt of a delivery that was passed on."""
        fields = {
            "at": spelled_time(at),
            "id": delivery.event_id,
            "endpoint": delivery.delivery.endpoint,
            "provider": delivery.provider,
            "upstream": delivery.upstreams[0],
            "number": 1,
            "outcome": outcome.name,
            "status": Status.PASSED,
            "code": outcome.status,
            "cause": outcome.cause,
            "due_at": None,
            "duration_ms": round(duration * 1000, 3),
        }
        self.tell("attempt", fields)

    def acted(
        self, act: str, actor: str, address: str, touched: Mapping[str, object], at: datetime
    ) -> None:
        """Tell of what a person has done by page or API."""
        fields = {"at": spelled_time(at), "act": act, "actor": actor, "address": address}
        self.tell("act", fields | {"touched": dict(touched)})

    def reloaded(self, at: datetime, *, taken: bool) -> None:
        """Tell of a reload: whether the new configuration is in force."""
        self.tell("reload", {"at": spelled_time(at), "taken": taken})
