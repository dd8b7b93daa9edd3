"""Counting and logging: `Telemetry` has a method for each thing that happens.

Ingest, delivery and the allowlist call it; it increments the metrics, which `metrics` declares, and
writes one log line. The fields of a delivery's line are those of `DeliveryRecord`. Gauges are
pulled: a scrape passes in a `Snapshot` of the moment.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from relay.core.concurrency import SwitchInterval
from relay.core.errors import Problem, Reason, RelayError
from relay.core.event import AttemptRecord
from relay.core.request import Address, Verdict
from relay.telemetry.log import Log
from relay.telemetry.metrics import Metrics, Snapshot, count_stages


class DeliveryRecord:
    """The fields of one delivery's log line and metrics: filled in step by step, reported once.

    peer: its address as text. received_at: wall-clock time of its head. started: the same moment by
    the monotonic clock. duration: seconds from there to the answer. client, client_via: its address
    as text, and where that was found. matched_entry: the network that holds it, as text.
    read_at, verified_at: monotonic times when the body was complete and when it was verified; 0.0
    when that was not so.
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

    def __init__(self, peer: str, received_at: datetime, started: float = 0.0) -> None:
        # The rest keeps its value of the class until it is known: this is made for each request.
        self.peer = peer
        self.received_at = received_at
        self.started = started

    def wall_clock(self, monotonic: float) -> datetime:
        """Return the wall-clock time of a later monotonic time, counted from `received_at`."""
        return self.received_at + timedelta(seconds=monotonic - self.started)


def _delivery_fields(record: DeliveryRecord) -> dict[str, object]:
    """Return the fields of a delivery's log line. Called where lines are rendered."""
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
    }


def _attempt_fields(attempted: AttemptRecord) -> dict[str, object]:
    """Return the fields of the log line of one attempt."""
    return {
        "id": attempted.event_id,
        "endpoint": attempted.endpoint,
        "provider": attempted.provider,
        "upstream": attempted.upstream,
        "attempt": attempted.attempt,
        "outcome": attempted.outcome,
        "status": attempted.status,
        "cause": attempted.cause,
        "decision": attempted.decision,
        "due": None if attempted.due is None else attempted.due.isoformat(),
        "duration_ms": round(attempted.duration * 1000, 3),
    }


#: Verdicts by which an endpoint is seen to receive.
_GOOD: Final = frozenset({Verdict.ACCEPTED, Verdict.DUPLICATE, Verdict.PASSED})


class Telemetry:
    """Counts and logs decisions. One object for each process, with a registry of its own."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self._switch_interval = SwitchInterval()
        self._metrics = Metrics()

    # ---- configuration ----------------------------------------------------------------------

    def init_series(self, endpoints: Mapping[str, str], upstreams: Iterable[str]) -> None:
        """Initialise every series to zero, so that the first refusal is seen as an increase.

        endpoints: provider by endpoint name.
        """
        self._metrics.init_series(endpoints, upstreams)

    def configured(self, at: datetime) -> None:
        """A configuration is in force."""
        self._metrics.reload_success.set(1)
        self._metrics.reloaded_at.set(at.timestamp())

    def reloaded(self, at: datetime, changed: Iterable[str]) -> None:
        """A reload was applied; these keys have changed."""
        self.configured(at)
        self.log.info("reloaded", changed=list(changed))

    def reload_refused(self, problems: Iterable[Problem]) -> None:
        """A reload was refused: the configuration before stays in force."""
        self._metrics.reload_success.set(0)
        for problem in problems:
            self.log.error("reload_refused", detail=str(problem))

    # ---- ingest -----------------------------------------------------------------------------

    def received(self, record: DeliveryRecord) -> None:
        """One delivery has been answered."""
        metrics, endpoint, verdict = self._metrics, record.endpoint, record.verdict
        metrics.deliveries.series[endpoint, record.provider or "", verdict] += 1
        if record.reason is not None:
            metrics.refusals.inc(endpoint, record.reason)
        if record.would_refuse is not None:
            metrics.would_refuse.inc(endpoint, record.would_refuse)
        if record.secret is not None:
            metrics.secret_used.series[endpoint, record.secret] += 1
        if endpoint:
            metrics.request_time.observe(record.duration, endpoint)
        if record.verified_at:
            store = record.started + record.duration - record.verified_at
            count_stages(
                (metrics.read, record.read_at - record.started),
                (metrics.verify, record.verified_at - record.read_at),
                (metrics.store, None if verdict is Verdict.PASSED else store),
            )
        if verdict in _GOOD:
            metrics.last_delivery.series[endpoint] = record.received_at
        level = "info" if verdict is not Verdict.UNAVAILABLE else "error"
        self.log.defer(level, "delivery", _delivery_fields, record)

    def conflicted(self, endpoint: str) -> None:
        """A delivery carried a known event key with other content."""
        self._metrics.conflicts.inc(endpoint)

    # ---- delivery ---------------------------------------------------------------------------

    def attempted(self, attempted: AttemptRecord) -> None:
        """One attempt has ended, or its event was not confirmed and nothing was sent."""
        metrics, sent = self._metrics, attempted.outcome != "unconfirmed"
        if sent:
            metrics.attempts.series[attempted.upstream, attempted.outcome] += 1
            metrics.attempt_time.observe(attempted.duration, attempted.upstream)
        count_stages(
            (metrics.queue, attempted.queued),
            (metrics.send, attempted.duration if sent else None),
            (metrics.settle, attempted.settling),
        )
        if attempted.delay is not None:
            metrics.delivery_delay.observe(attempted.delay, attempted.upstream)
        if attempted.decision == "dead":
            metrics.dead_letters.inc(attempted.upstream)
        # A person has to look at what is held.
        level = "error" if attempted.decision == "held" else "info"
        self.log.defer(level, "attempt", _attempt_fields, attempted)

    def confirmed(self, endpoint: str, result: str) -> None:
        """A status API was asked about an event; the results are `metrics.CONFIRMATIONS`."""
        self._metrics.confirmations.inc(endpoint, result)

    def event_corrupt(self, upstream: str, event_id: str) -> None:
        """An event's checksum was wrong; it is a dead letter now."""
        self._metrics.dead_letters.inc(upstream)
        self.log.error("event_damaged", upstream=upstream, id=event_id)

    def integrity_checked(self, problems: Sequence[str]) -> None:
        """The integrity check of the spool has ended."""
        if problems:
            self.log.error("spool_damaged", detail="; ".join(problems))
        else:
            self.log.info("spool_sound")

    def history_lost(self, endpoint: str, event_id: str, why: str) -> None:
        """A delivery was passed on and answered, and is missing from history."""
        self._metrics.history_lost.inc(endpoint)
        self.log.error("history_lost", endpoint=endpoint, id=event_id, detail=why)

    def dispatch_error(self, upstream: str, event_id: str | None, fault: Exception) -> None:
        """An internal error interrupted an attempt; its event will be retried."""
        if isinstance(fault, RelayError):
            self.log.warning("dispatch_trouble", upstream=upstream, id=event_id, detail=str(fault))
        else:
            self.log.fault("dispatch_fault", fault, upstream=upstream, id=event_id)

    # ---- allowlist --------------------------------------------------------------------------

    def looked_up(self, host: str, result: str) -> None:
        """A DNS look-up has ended."""
        self._metrics.dns_lookups.inc(host, result)
        if result != "ok":
            self.log.warning("dns_lookup", host=host, result=result)

    def changed(self, host: str, change: str, address: Address) -> None:
        """A host has gained or lost an address."""
        self._metrics.allowlist_changes.inc(host, change)
        self.log.info("allowlist_changed", host=host, change=change, address=str(address))

    def dns_cache_unsaved(self, problem: str) -> None:
        """The DNS cache could not be written: a restart without DNS would miss these addresses."""
        self.log.error("dns_memory_unsaved", detail=problem)

    def knocked(self, endpoint: str, result: str) -> None:
        """A refused address caused an early look-up: found, not_found or limited."""
        self._metrics.knocks.inc(endpoint, result)

    # ---- scraping ---------------------------------------------------------------------------

    def expose(self, snapshot: Snapshot) -> bytes:
        """Return every metric in the Prometheus text format, with these gauges.

        Called in a thread of its own: with many series it takes a while.
        """
        with self._switch_interval.shortened():
            return self._metrics.exposition(snapshot)
