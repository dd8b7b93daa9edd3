"""Metrics and one canonical log line for each decision.

Ingest, delivery and the allowlist call a method of `Telemetry` for each decision, which counts and
logs it. Gauges are pulled: a scrape passes in a `Snapshot` of the moment. Label values come from
the configuration or from a closed list, never from a request.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from typing import TypeVar

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from relay import __version__
from relay.core.concurrency import SwitchInterval
from relay.core.errors import Problem, Reason, RelayError
from relay.core.event import AttemptRecord
from relay.core.request import Address, Verdict
from relay.telemetry.log import Log
from relay.telemetry.metrics import Counter, Gauges, Histogram, Snapshot, Timestamp

_REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 4.0, 10.0)
_ATTEMPT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_DELAY_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 21600.0, 86400.0)

_CONFIRMATIONS = ("confirmed", "contradicted", "not_found", "limited", "error")


C = TypeVar("C", bound=Collector)


@dataclass(slots=True)
class DeliveryRecord:
    """The fields of one delivery's log line and metrics: filled in step by step, reported once.

    received_at: wall-clock time of its head. started: the same moment by the monotonic clock.
    duration: seconds from there to the answer.
    """

    peer: Address
    received_at: datetime
    started: float = 0.0
    endpoint: str = ""
    provider: str | None = None
    id: str | None = None
    client: Address | None = None
    client_via: str | None = None
    verdict: Verdict = Verdict.UNAVAILABLE
    reason: Reason | None = None
    detail: str | None = None
    would_refuse: Reason | None = None
    matched_entry: str | None = None
    matched_host: str | None = None
    secret: int | None = None
    status: int = 0
    duration: float = 0.0
    body_bytes: int | None = None
    body_sha256: str | None = None
    event_key: str | None = None

    def at(self, monotonic: float) -> datetime:
        """Return the wall-clock time of a later monotonic time, counted from `received_at`."""
        return self.received_at + timedelta(seconds=monotonic - self.started)


class Telemetry:
    """Counts and logs decisions. One object for each process, with a registry of its own."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self._switch_interval = SwitchInterval()
        self._registry = CollectorRegistry()
        self._gauges = self._registered(Gauges())
        self._deliveries = self._counter(
            "deliveries", "Deliveries by what became of them", "endpoint", "provider", "verdict"
        )
        self._refusals = self._counter(
            "refusals", "Deliveries refused, by reason", "endpoint", "reason"
        )
        self._would_refuse = self._counter(
            "would_refuse", "Deliveries an enforcing allowlist would refuse", "endpoint", "reason"
        )
        self._conflicts = self._counter(
            "conflicts", "Deliveries whose event key was known with other content", "endpoint"
        )
        self._secrets = self._counter(
            "secret_used", "Deliveries by position of the secret that matched", "endpoint", "secret"
        )
        self._requests = self._histogram(
            "request_duration_seconds", "Time to the answer", _REQUEST_BUCKETS, "endpoint"
        )
        self._last = self._registered(
            Timestamp(
                "last_delivery_timestamp_seconds",
                "When the last delivery was accepted or recognised as a duplicate",
                ("endpoint",),
            )
        )
        self._attempts = self._counter("attempts", "Tries upstream", "upstream", "outcome")
        self._attempt_time = self._histogram(
            "attempt_duration_seconds", "Time of one try upstream", _ATTEMPT_BUCKETS, "upstream"
        )
        self._delay = self._histogram(
            "delivery_delay_seconds", "Time from receipt to delivery", _DELAY_BUCKETS, "upstream"
        )
        self._confirmations = self._counter(
            "confirmations", "Events asked about before delivery, by result", "endpoint", "result"
        )
        self._dead = self._counter("dead_letters", "Events whose attempts are used up", "upstream")
        self._history_lost = self._counter(
            "history_lost", "Deliveries passed on whose history could not be kept", "endpoint"
        )
        self._lookups = self._counter("dns_lookups", "DNS look-ups by result", "host", "result")
        self._changes = self._counter(
            "allowlist_changes", "Addresses added and removed", "host", "change"
        )
        self._knocks = self._counter(
            "allowlist_knocks", "Early look-ups caused by a refused address", "endpoint", "result"
        )
        self._reload = Gauge(
            "relay_config_reload_success",
            "0 while the last reload was refused",
            registry=self._registry,
        )
        self._reload_time = Gauge(
            "relay_config_reload_timestamp_seconds",
            "When the configuration in force was read",
            registry=self._registry,
        )
        build = Gauge(
            "relay_build_info", "The running version", ("version",), registry=self._registry
        )
        build.labels(__version__).set(1)

    # ---- configuration ----------------------------------------------------------------------

    def init_series(self, endpoints: Mapping[str, str], upstreams: Iterable[str]) -> None:
        """Initialise every series to zero, so that the first refusal is seen as an increase.

        endpoints: provider by endpoint name.
        """
        for (endpoint, provider), verdict in product(endpoints.items(), Verdict):
            self._deliveries.init(endpoint, provider, verdict)
        self._deliveries.init("", "", Verdict.REFUSED)
        for endpoint, reason in product((*endpoints, ""), Reason):
            self._refusals.init(endpoint, reason)
        for endpoint in endpoints:
            self._conflicts.init(endpoint)
            self._history_lost.init(endpoint)
            for result in _CONFIRMATIONS:
                self._confirmations.init(endpoint, result)
            self._requests.init(endpoint)
        for upstream in upstreams:
            for outcome in ("delivered", "rejected", "unreachable"):
                self._attempts.init(upstream, outcome)
            self._dead.init(upstream)

    def configured(self, at: datetime) -> None:
        """A configuration is in force."""
        self._reload.set(1)
        self._reload_time.set(at.timestamp())

    def reloaded(self, at: datetime, changed: Iterable[str]) -> None:
        """A reload was applied; these keys have changed."""
        self.configured(at)
        self.log.info("reloaded", changed=list(changed))

    def reload_refused(self, problems: Iterable[Problem]) -> None:
        """A reload was refused: the configuration before stays in force."""
        self._reload.set(0)
        for problem in problems:
            self.log.error("reload_refused", detail=str(problem))

    # ---- ingest -----------------------------------------------------------------------------

    def received(self, record: DeliveryRecord) -> None:
        """One delivery has been answered."""
        self._count(record)
        line = self.log.info if record.verdict is not Verdict.UNAVAILABLE else self.log.error
        line(
            "delivery",
            id=record.id,
            endpoint=record.endpoint,
            provider=record.provider,
            peer=str(record.peer),
            client=None if record.client is None else str(record.client),
            client_via=record.client_via,
            verdict=record.verdict,
            reason=record.reason,
            detail=record.detail or None,
            would_refuse=record.would_refuse,
            matched_entry=record.matched_entry,
            matched_host=record.matched_host,
            secret=record.secret,
            status=record.status,
            duration_ms=round(record.duration * 1000, 3),
            body_bytes=record.body_bytes,
            body_sha256=record.body_sha256,
            event_key=record.event_key,
        )

    def conflicted(self, endpoint: str) -> None:
        """A delivery carried a known event key with other content."""
        self._conflicts.inc(endpoint)

    # ---- delivery ---------------------------------------------------------------------------

    def attempted(self, attempted: AttemptRecord) -> None:
        """One attempt has ended, or its event was not confirmed and nothing was sent."""
        if attempted.outcome != "unconfirmed":
            self._attempts.inc(attempted.upstream, attempted.outcome)
            self._attempt_time.observe(attempted.duration, attempted.upstream)
        if attempted.delay is not None:
            self._delay.observe(attempted.delay, attempted.upstream)
        if attempted.decision == "dead":
            self._dead.inc(attempted.upstream)
        # A person has to look at what is held.
        line = self.log.error if attempted.decision == "held" else self.log.info
        line(
            "attempt",
            id=attempted.event_id,
            endpoint=attempted.endpoint,
            provider=attempted.provider,
            upstream=attempted.upstream,
            attempt=attempted.attempt,
            outcome=attempted.outcome,
            status=attempted.status,
            cause=attempted.cause,
            decision=attempted.decision,
            due=None if attempted.due is None else attempted.due.isoformat(),
            duration_ms=round(attempted.duration * 1000, 3),
        )

    def confirmed(self, endpoint: str, result: str) -> None:
        """A status API was asked about an event; the results are `_CONFIRMATIONS`."""
        self._confirmations.inc(endpoint, result)

    def event_corrupt(self, upstream: str, event_id: str) -> None:
        """An event's checksum was wrong; it is a dead letter now."""
        self._dead.inc(upstream)
        self.log.error("event_damaged", upstream=upstream, id=event_id)

    def integrity_checked(self, problems: Sequence[str]) -> None:
        """The integrity check of the spool has ended."""
        if problems:
            self.log.error("spool_damaged", detail="; ".join(problems))
        else:
            self.log.info("spool_sound")

    def history_lost(self, endpoint: str, event_id: str, why: str) -> None:
        """A delivery was passed on and answered, and is missing from history."""
        self._history_lost.inc(endpoint)
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
        self._lookups.inc(host, result)
        if result != "ok":
            self.log.warning("dns_lookup", host=host, result=result)

    def changed(self, host: str, change: str, address: Address) -> None:
        """A host has gained or lost an address."""
        self._changes.inc(host, change)
        self.log.info("allowlist_changed", host=host, change=change, address=str(address))

    def dns_cache_unsaved(self, problem: str) -> None:
        """The DNS cache could not be written: a restart without DNS would miss these addresses."""
        self.log.error("dns_memory_unsaved", detail=problem)

    def knocked(self, endpoint: str, result: str) -> None:
        """A refused address caused an early look-up: found, not_found or limited."""
        self._knocks.inc(endpoint, result)

    # ---- scraping ---------------------------------------------------------------------------

    def expose(self, snapshot: Snapshot) -> bytes:
        """Return every metric in the Prometheus text format, with these gauges.

        Called in a thread of its own: with many series it takes a while.
        """
        self._gauges.snapshot = snapshot
        with self._switch_interval.shortened():
            return generate_latest(self._registry)

    # ---- helpers ----------------------------------------------------------------------------

    def _count(self, record: DeliveryRecord) -> None:
        self._deliveries.inc(record.endpoint, record.provider or "", record.verdict)
        if record.reason is not None:
            self._refusals.inc(record.endpoint, record.reason)
        if record.would_refuse is not None:
            self._would_refuse.inc(record.endpoint, record.would_refuse)
        if record.secret is not None:
            self._secrets.inc(record.endpoint, record.secret)
        if record.endpoint:
            self._requests.observe(record.duration, record.endpoint)
        if record.verdict in {Verdict.ACCEPTED, Verdict.DUPLICATE, Verdict.PASSED}:
            self._last.set(record.received_at, record.endpoint)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return self._registered(Counter(name, text, labels))

    def _histogram(
        self, name: str, text: str, bounds: tuple[float, ...], *labels: str
    ) -> Histogram:
        return self._registered(Histogram(name, text, labels, bounds))

    def _registered(self, collector: C) -> C:
        self._registry.register(collector)
        return collector
