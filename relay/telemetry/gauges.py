"""The gauges: what is true at one moment, which a scrape reads just before it asks for them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The gauges of one moment, named as in the metrics."""

    spool_events: Mapping[tuple[str, str], int] = field(default_factory=dict)
    spool_oldest_pending_seconds: Mapping[str, float] = field(default_factory=dict)
    upstream_missing: frozenset[str] = frozenset()
    spool_bytes: int | None = None
    spool_free_bytes: int | None = None
    breaker_open: Mapping[str, bool] = field(default_factory=dict)
    upstream_paused: Mapping[str, bool] = field(default_factory=dict)
    allowlist_addresses: Mapping[str, int] = field(default_factory=dict)
    allowlist_age_seconds: Mapping[str, float] = field(default_factory=dict)
    allowlist_mode: Mapping[str, str] = field(default_factory=dict)
    certificate_expiry: Mapping[str, datetime] = field(default_factory=dict)
    upstream_certificate_expiry: Mapping[str, datetime] = field(default_factory=dict)
    connections: int = 0


class Gauges(Collector):
    """Collects the gauges of `snapshot`, which a scrape sets before."""

    def __init__(self) -> None:
        self.snapshot = Snapshot()

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        now = self.snapshot
        yield _gauge(
            "spool_events",
            "Events in the spool, once for each of their upstreams",
            ("endpoint", "status"),
            {labels: float(number) for labels, number in now.spool_events.items()},
        )
        yield _gauge(
            "spool_oldest_pending_seconds",
            "Age of the oldest event that waits for delivery",
            ("upstream",),
            {(name,): age for name, age in now.spool_oldest_pending_seconds.items()},
        )
        yield _gauge(
            "upstream_missing",
            "1 for an upstream that is not configured and has events that wait for it",
            ("upstream",),
            {(name,): 1.0 for name in sorted(now.upstream_missing)},
        )
        if now.spool_bytes is not None:
            yield _gauge("spool_bytes", "Size of the spool", (), {(): float(now.spool_bytes)})
        if now.spool_free_bytes is not None:
            yield _gauge(
                "spool_free_bytes",
                "Room left on the volume of the spool",
                (),
                {(): float(now.spool_free_bytes)},
            )
        yield _gauge(
            "breaker_open",
            "1 while an upstream is left alone after failures in a row",
            ("upstream",),
            {(name,): float(is_open) for name, is_open in now.breaker_open.items()},
        )
        yield _gauge(
            "upstream_paused",
            "1 while an upstream is delivered nothing, because a person or the file says so",
            ("upstream",),
            {(name,): float(paused) for name, paused in now.upstream_paused.items()},
        )
        yield _gauge(
            "allowlist_addresses",
            "Networks that may send now",
            ("endpoint",),
            {(name,): float(number) for name, number in now.allowlist_addresses.items()},
        )
        yield _gauge(
            "allowlist_age_seconds",
            "Time since the last good DNS answer; +Inf while there was none",
            ("host",),
            {(host,): age for host, age in now.allowlist_age_seconds.items()},
        )
        yield _gauge(
            "allowlist_mode",
            "1 for the mode in force",
            ("endpoint", "mode"),
            {
                (name, mode): float(mode == current)
                for name, current in now.allowlist_mode.items()
                for mode in ("enforce", "report", "off")
            },
        )
        yield _gauge(
            "certificate_expiry_timestamp_seconds",
            "When the certificate of a listener ends",
            ("listener",),
            {(name,): end.timestamp() for name, end in now.certificate_expiry.items()},
        )
        yield _gauge(
            "upstream_certificate_expiry_timestamp_seconds",
            "When the certificate that an upstream is shown ends",
            ("upstream",),
            {(name,): end.timestamp() for name, end in now.upstream_certificate_expiry.items()},
        )
        yield _gauge("connections", "Open connections", (), {(): float(now.connections)})


def _gauge(
    name: str, text: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"relay_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family
