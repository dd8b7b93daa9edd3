"""Counting and logging: `Telemetry` has a method for each thing that happens; those of what is rare
are in `notices`.

Ingest, delivery and the allowlist call it; it increments the metrics, which `metrics` declares, and
writes one log line. The fields of a delivery's line are those of `DeliveryRecord`. Gauges are
pulled: a scrape passes in a `Snapshot` of the moment.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from orjson import dumps

from relay.core.concurrency import SwitchInterval
from relay.core.errors import Reason
from relay.core.event import AttemptRecord, Outcome
from relay.core.request import Verdict, VerifiedDelivery
from relay.telemetry.feed import Feed
from relay.telemetry.gauges import Snapshot
from relay.telemetry.log import Line, Log, as_json, spelled_time
from relay.telemetry.metrics import Count, Distribution, Metrics, add_values
from relay.telemetry.notices import Notices
from relay.telemetry.repetition import RepeatedState


class DeliveryRecord:
    """The fields of one delivery's log line and metrics: filled in step by step, reported once.

    peer: its address as text. received_at: wall-clock time of its head. started: the same moment by
    the monotonic clock. duration: seconds from there to the answer. client, client_via: its address
    as text, and where that was found. matched_entry: the network that holds it, as text.
    read_at, verified_at: monotonic times when the body was complete and when it was verified; 0.0
    when that was not so. revived: it is a copy that has made its event due again.
    upstreams: where its route leads; None where its endpoint has no routes, and until it is known.
    unrouted: its event was stored and goes nowhere.
    """

    endpoint = ""
    provider: str | None = None
    id: str | None = None
    client: str | None = None
    client_via: str | None = None
    verdict = Verdict.UNAVAILABLE
    reason: Reason | None = None
    detail: str | None = None
    would_refuse: Reason | None = None
    matched_entry: str | None = None
    matched_host: str | None = None
    secret: int | None = None
    status = 0
    read_at = verified_at = 0.0
    duration = 0.0
    body_bytes: int | None = None
    body_sha256: bytes | None = None
    event_key: str | None = None
    revived = False
    upstreams: tuple[str, ...] | None = None
    unrouted = False

    def __init__(self, peer: str, received_at: datetime, started: float = 0.0) -> None:
        # The rest keeps its value of the class until it is known: this is made for each request.
        self.peer = peer
        self.received_at = received_at
        self.started = started

    def wall_clock(self, monotonic: float) -> datetime:
        """Return the wall-clock time of a later monotonic time, counted from `received_at`."""
        return self.received_at + timedelta(seconds=monotonic - self.started)


def _delivery_fields(record: DeliveryRecord) -> dict[str, object]:
    """Return the fields of a delivery's log line."""
    digest = record.body_sha256
    return {
        "id": record.id,
        "endpoint": record.endpoint,
        "provider": record.provider,
        "peer": record.peer,
        "client": record.client,
        "client_via": record.client_via,
        "verdict": record.verdict,
        "reason": record.reason,
        "detail": record.detail or None,
        "would_refuse": record.would_refuse,
        "matched_entry": record.matched_entry,
        "matched_host": record.matched_host,
        "secret": record.secret,
        "status": record.status,
        "duration_ms": round(record.duration * 1000, 3),
        "body_bytes": record.body_bytes,
        "body_sha256": None if digest is None else digest.hex(),
        "event_key": record.event_key,
        "revived": record.revived or None,
        "unrouted": record.unrouted or None,
    }


# ---- usual lines ----------------------------------------------------------------------------
# Of most lines, a run of fields is the same as in many others: who sent to whom, and what became of
# it. It is spelled once, and kept with the series in which such a delivery or attempt is counted.

#: The fields that make a kind, in their order.
_DELIVERY_KIND: Final = (
    *("endpoint", "provider", "peer", "client", "client_via", "verdict", "reason"),
    *("would_refuse", "matched_entry", "matched_host", "secret", "status"),
)
_ATTEMPT_KIND: Final = (
    *("endpoint", "provider", "upstream", "attempt"),
    *("outcome", "status", "cause", "decision", "reason"),
)

_DAY: Final = 86_400.0

#: How many kinds of each are remembered. Addresses are part of them: senders decide how many come.
_KINDS: Final = 1024


class _Kind:
    """What many deliveries, or attempts, have in common.

    level: of their lines. fields: of their lines, as many as are there. counts: the series that
    count each of them. time, send, delay: those of their durations, and of their delays.
    is_good: their endpoint is seen to receive.
    before, behind: what JSON lines have before the id and behind it, once it is spelled.
    """

    __slots__ = (
        *("before", "behind", "counts", "delay", "fields", "is_good", "level", "send", "time"),
    )

    def __init__(self, level: str, fields: Mapping[str, object]) -> None:
        self.level = level
        self.fields = {name: value for name, value in fields.items() if value is not None}
        self.counts: list[Count] = []
        self.time: Distribution | None = None
        self.send: Distribution | None = None
        self.delay: Distribution | None = None
        self.is_good = False
        self.before = self.behind = ""

    def spell(self, event: str) -> bool:
        """Spell what is the same in their lines; return False if that needs the other way."""
        try:
            text = dumps(self.fields)
        except TypeError:
            return False
        self.before = f'","level":"{self.level}","event":"{event}","id":'
        self.behind = f'{text[1:-1].decode()},"duration_ms":'
        return True


class _Kinds(dict[tuple[object, ...], _Kind]):
    """Kinds by the values that they have in common; a kind that is looked up exists then."""

    def __init__(self, make: Callable[[tuple[Any, ...]], _Kind]) -> None:
        self._make = make

    def __missing__(self, values: tuple[object, ...]) -> _Kind:
        if len(self) >= _KINDS:
            self.clear()
        self[values] = kind = self._make(values)
        return kind


# Called in the thread of the log. A value in JSON is the same alone as among others; only one that
# is no text for JSON has an effect on all, and what `as_json` does then is not repeated here.


def _usual_delivery(line: Line) -> str:
    _, at, kind, event_id, duration, body_bytes, digest, key = line
    try:
        return (
            f'{{"time":"{spelled_time(at)}{kind.before}{dumps(event_id).decode()},{kind.behind}'
            f'{_milliseconds(duration)},"body_bytes":{body_bytes},"body_sha256":"{digest.hex()}"'
            f',"event_key":{dumps(key).decode()}}}\n'
        )
    except TypeError:
        body = {"body_bytes": body_bytes, "body_sha256": digest.hex(), "event_key": key}
        return _by_fields("delivery", line, body)


def _usual_attempt(line: Line) -> str:
    _, at, kind, event_id, duration = line
    try:
        return (
            f'{{"time":"{spelled_time(at)}{kind.before}{dumps(event_id).decode()},{kind.behind}'
            f"{_milliseconds(duration)}}}\n"
        )
    except TypeError:
        return _by_fields("attempt", line, {})


def _by_fields(event: str, line: Line, behind: dict[str, object]) -> str:
    """Return a line whose id or event key is no text for JSON."""
    at, kind, event_id, duration = line[1:5]
    known = {"time": spelled_time(at), "level": kind.level, "event": event, "id": event_id}
    took = {"duration_ms": round(duration * 1000, 3)}
    return as_json(known | kind.fields | took | behind)


def _milliseconds(seconds: float) -> str:
    """Return seconds as milliseconds in JSON, rounded to three places."""
    text = f"{seconds * 1000:.3f}"
    # Such a zero is not written, and so large a number not with all these places.
    if text[-1] == "0" or not 0 <= seconds < _DAY:
        return dumps(round(seconds * 1000, 3)).decode()
    return text


#: Verdicts by which an endpoint is seen to receive.
_GOOD: Final = frozenset({Verdict.ACCEPTED, Verdict.DUPLICATE, Verdict.PASSED})


class Telemetry(Notices):
    """Counts and logs decisions. One object for each process, with a registry of its own."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self._write, self._now, self._is_json = log.write, log.now, log.is_json
        self.feed = Feed()
        # The same list always: a look at it is all that a delivery costs while nobody listens.
        self._subscribers = self.feed.subscribers
        self.switch_interval = SwitchInterval()
        self._metrics = Metrics()
        self._lookups = RepeatedState(log.now, good="ok")
        self._guesses = RepeatedState(log.now, good="few")
        self._evictions = RepeatedState(log.now, good="none")
        self._activity = RepeatedState(log.now, good="written")
        self._tokens = RepeatedState(log.now, good="fetched")
        self._deliveries = _Kinds(self._delivery_kind)
        self._attempts = _Kinds(self._attempt_kind)

    # ---- ingest -----------------------------------------------------------------------------

    def received(self, record: DeliveryRecord) -> None:
        """One delivery has been answered."""
        metrics, verdict, duration = self._metrics, record.verdict, record.duration
        kind = self._deliveries[
            record.endpoint,
            record.provider,
            record.peer,
            record.client,
            record.client_via,
            verdict,
            record.reason,
            record.would_refuse,
            record.matched_entry,
            record.matched_host,
            record.secret,
            record.status,
        ]
        for count in kind.counts:
            count.number += 1
        if record.verified_at:
            store = record.started + duration - record.verified_at
            add_values(
                (kind.time, duration),
                (metrics.read, record.read_at - record.started),
                (metrics.verify, record.verified_at - record.read_at),
                (metrics.store, None if verdict is Verdict.PASSED else store),
            )
        else:
            add_values((kind.time, duration))
        if kind.is_good:
            metrics.last_delivery.series[record.endpoint] = record.received_at
        event_id, key = record.id, record.event_key
        size, digest = record.body_bytes, record.body_sha256
        if (
            self._is_json
            and size is not None
            and digest is not None
            and key is not None
            and event_id is not None
            and not record.detail
            and not record.revived
            and not record.unrouted
            and (kind.before or kind.spell("delivery"))
        ):
            now = self._now()
            self._write((_usual_delivery, now, kind, event_id, duration, size, digest, key))
        else:
            self.log.line(kind.level, "delivery", _delivery_fields(record))
        if self._subscribers:
            self.feed.received(record, record.wall_clock(record.started + duration))

    def _delivery_kind(self, values: tuple[Any, ...]) -> _Kind:
        metrics, fields = self._metrics, dict(zip(_DELIVERY_KIND, values, strict=True))
        endpoint, verdict = fields["endpoint"], fields["verdict"]
        kind = _Kind("info" if verdict is not Verdict.UNAVAILABLE else "error", fields)
        kind.counts.append(metrics.deliveries.init(endpoint, fields["provider"] or "", verdict))
        for counter, name in (
            (metrics.refusals, "reason"),
            (metrics.would_refuse, "would_refuse"),
            (metrics.secret_used, "secret"),
        ):
            if fields[name] is not None:
                kind.counts.append(counter.init(endpoint, fields[name]))
        if endpoint:
            kind.time = metrics.request_time.init(endpoint)
        kind.is_good = verdict in _GOOD
        return kind

    # ---- delivery ---------------------------------------------------------------------------

    def attempted(self, attempted: AttemptRecord, at: datetime) -> None:
        """One attempt has ended, or its event was not confirmed and nothing was sent.

        at: the present time.
        """
        duration = attempted.duration
        kind = self._attempts[
            attempted.endpoint,
            attempted.provider,
            attempted.upstream,
            attempted.attempt,
            attempted.outcome,
            attempted.status,
            attempted.cause,
            attempted.decision,
            attempted.reason,
        ]
        for count in kind.counts:
            count.number += 1
        metrics = self._metrics
        add_values(
            (kind.time, duration),
            (kind.send, duration),
            (metrics.queue, attempted.queued),
            (metrics.settle, attempted.settling),
            (kind.delay, attempted.delay),
        )
        if self._is_json and attempted.due is None and (kind.before or kind.spell("attempt")):
            self._write((_usual_attempt, at, kind, attempted.event_id, duration))
        else:
            self._log_attempt(kind, at, attempted.event_id, duration, attempted.due)
        if self._subscribers:
            self.feed.attempted(attempted, at)

    def forwarded(
        self, delivery: VerifiedDelivery, outcome: Outcome, at: datetime, duration: float
    ) -> None:
        """A delivery was sent on in proxy mode, once; `at` is the present time."""
        received = delivery.delivery
        kind = self._attempts[
            received.endpoint,
            delivery.provider,
            delivery.upstreams[0],
            1,
            outcome.name,
            outcome.status,
            outcome.cause,
            "passed",
            None,
        ]
        for count in kind.counts:
            count.number += 1
        # The wall clock may have been set back meanwhile.
        delay = max(0.0, (at - received.head.received_at).total_seconds())
        add_values((kind.time, duration), (kind.send, duration), (kind.delay, delay))
        if self._is_json and (kind.before or kind.spell("attempt")):
            self._write((_usual_attempt, at, kind, delivery.event_id, duration))
        else:
            self._log_attempt(kind, at, delivery.event_id, duration)
        if self._subscribers:
            self.feed.forwarded(delivery, outcome, at, duration)

    def _log_attempt(
        self, kind: _Kind, at: datetime, event_id: str, duration: float, due: datetime | None = None
    ) -> None:
        took = {
            "due": None if due is None else due.isoformat(),
            "duration_ms": round(duration * 1000, 3),
        }
        self.log.line(kind.level, "attempt", {"id": event_id} | kind.fields | took, at)

    def _attempt_kind(self, values: tuple[Any, ...]) -> _Kind:
        metrics, fields = self._metrics, dict(zip(_ATTEMPT_KIND, values, strict=True))
        upstream, outcome, decision = fields["upstream"], fields["outcome"], fields["decision"]
        # A person has to look at what is dead or held.
        kind = _Kind("warning" if decision in {"dead", "held"} else "info", fields)
        if outcome != "unconfirmed":
            kind.counts.append(metrics.attempts.init(upstream, outcome))
            kind.time, kind.send = metrics.attempt_time.init(upstream), metrics.send
        if outcome == "delivered":
            kind.delay = metrics.delivery_delay.init(upstream)
        if decision == "dead":
            kind.counts.append(metrics.dead_letters.init(upstream))
        return kind

    # ---- scraping ---------------------------------------------------------------------------

    def deliveries(self) -> list[tuple[str, str, int]]:
        """Return the deliveries since the start, by endpoint and verdict; of known paths only."""
        series = self._metrics.deliveries.series
        return [
            (str(endpoint), str(verdict), count.number)
            for (endpoint, _, verdict), count in series.items()
            if endpoint and count.number
        ]

    def last_deliveries(self) -> dict[str, datetime]:
        """Return when each endpoint has last received what was taken, since the start."""
        return self._metrics.last_delivery.series.copy()

    def expose(self, snapshot: Snapshot) -> bytes:
        """Return every metric in the Prometheus text format, with these gauges.

        Called in a thread of its own: with many series it takes a while.
        """
        with self.switch_interval.shortened():
            return self._metrics.exposition(snapshot)
