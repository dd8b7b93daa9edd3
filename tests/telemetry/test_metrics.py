"""Metrics are shown as the client library shows its own."""

import math
from datetime import UTC, datetime

import prometheus_client
from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from relay.telemetry.gauges import Snapshot
from relay.telemetry.metrics import (
    Counter,
    Histogram,
    Metrics,
    Timestamp,
    add_values,
)

BOUNDS = (0.005, 0.5, 1.0, 86400.0)
VALUES = (0.0, 0.005, 0.00501, 0.75, 1.0, 86400.0, 86400.5)


def shown(collector: Collector) -> bytes:
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry)


def test_counts_read_like_the_librarys() -> None:
    ours = Counter("refusals", "Deliveries refused, by reason", ("endpoint", "reason"))
    theirs = prometheus_client.Counter(
        "relay_refusals_total",
        "Deliveries refused, by reason",
        ("endpoint", "reason"),
        registry=None,
    )
    disable_created_metrics()  # type: ignore[no-untyped-call] # it has no annotations
    for labels in (("a", "x"), ("a", 'quote "and\nline'), ("a", "x"), ("", "x")):
        ours.inc(*labels)
        theirs.labels(*labels).inc()
    assert shown(ours) == shown(theirs)
    assert b'relay_refusals_total{endpoint="a",reason="x"} 2.0\n' in shown(ours)


def test_spreads_read_like_the_librarys_at_every_bound() -> None:
    ours = Histogram("delay_seconds", "Time from receipt", ("upstream",), BOUNDS)
    theirs = prometheus_client.Histogram(
        "relay_delay_seconds", "Time from receipt", ("upstream",), buckets=BOUNDS, registry=None
    )
    disable_created_metrics()  # type: ignore[no-untyped-call] # it has no annotations
    for value in VALUES:
        add_values((ours.init("billing"), value))
        theirs.labels("billing").observe(value)
    assert shown(ours) == shown(theirs)
    assert b'relay_delay_seconds_bucket{le="+Inf",upstream="billing"} 7.0\n' in shown(ours)


def test_a_series_that_begins_shows_zero_and_is_not_begun_again() -> None:
    counts = Counter("refusals", "Deliveries refused", ("endpoint",))
    spreads = Histogram("delay_seconds", "Time from receipt", ("upstream",), BOUNDS)
    for _ in range(2):
        counts.init("midtrans")
        spreads.init("billing")
        assert b'relay_refusals_total{endpoint="midtrans"}' in shown(counts)
    assert b'relay_refusals_total{endpoint="midtrans"} 0.0\n' in shown(counts)
    assert b'relay_delay_seconds_count{upstream="billing"} 0.0\n' in shown(spreads)
    counts.inc("midtrans")
    counts.init("midtrans")
    add_values((spreads.init("billing"), 1.0))
    spreads.init("billing")
    assert b'relay_refusals_total{endpoint="midtrans"} 1.0\n' in shown(counts)
    assert b'relay_delay_seconds_count{upstream="billing"} 1.0\n' in shown(spreads)


def test_the_latest_is_a_time_in_seconds() -> None:
    latest = Timestamp("last_delivery_timestamp_seconds", "When", "endpoint")
    for hour in (3, 4):
        latest.series["midtrans"] = datetime(1970, 1, 1, hour, tzinfo=UTC)
    assert b'relay_last_delivery_timestamp_seconds{endpoint="midtrans"} 14400.0\n' in shown(latest)


def test_numbers_may_be_labels() -> None:
    counts = Counter("secret_used", "By position", ("endpoint", "secret"))
    counts.inc("midtrans", 0)
    assert b'relay_secret_used_total{endpoint="midtrans",secret="0"} 1.0\n' in shown(counts)


# ---- the process ----------------------------------------------------------------------------


def test_what_the_process_takes_is_shown() -> None:
    text = Metrics().exposition(Snapshot(allowlist_age_seconds={"a.example": math.inf})).decode()
    for name in (
        *("cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds"),
        "start_time_seconds",
    ):
        assert f"\nprocess_{name} " in text
    assert 'relay_allowlist_age_seconds{host="a.example"} +Inf' in text
