"""Gauges are named and labelled as published; what is not known has no series."""

from datetime import UTC, datetime

from relay.telemetry.gauges import Gauges, Snapshot


def gauged(snapshot: Snapshot) -> dict[tuple[str, tuple[str, ...]], float]:
    gauges = Gauges()
    gauges.snapshot = snapshot
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in gauges.collect()
        for sample in family.samples
    }


def test_a_snapshot_is_shown_whole() -> None:
    end = datetime(2027, 1, 1, tzinfo=UTC)
    values = gauged(
        Snapshot(
            spool_events={("midtrans", "dead"): 3},
            spool_oldest_pending_seconds={"billing": 1.5},
            spool_bytes=4096,
            spool_free_bytes=10,
            breaker_open={"billing": True},
            allowlist_addresses={"midtrans": 7},
            allowlist_age_seconds={"a.example": 2.0},
            allowlist_mode={"midtrans": "report"},
            certificate_expiry={"0.0.0.0:8443": end},
            upstream_certificate_expiry={"billing": end},
            connections=2,
        )
    )
    assert values["relay_spool_events", ("midtrans", "dead")] == 3
    assert values["relay_spool_oldest_pending_seconds", ("billing",)] == 1.5
    assert values["relay_spool_bytes", ()] == 4096
    assert values["relay_spool_free_bytes", ()] == 10
    assert values["relay_breaker_open", ("billing",)] == 1
    assert values["relay_allowlist_addresses", ("midtrans",)] == 7
    assert values["relay_allowlist_age_seconds", ("a.example",)] == 2
    assert values["relay_allowlist_mode", ("midtrans", "report")] == 1
    assert values["relay_allowlist_mode", ("midtrans", "enforce")] == 0
    assert values["relay_certificate_expiry_timestamp_seconds", ("0.0.0.0:8443",)] == (
        end.timestamp()
    )
    ends = values["relay_upstream_certificate_expiry_timestamp_seconds", ("billing",)]
    assert ends == end.timestamp()
    assert values["relay_connections", ()] == 2


def test_what_cannot_be_told_is_left_out_rather_than_shown_as_zero() -> None:
    names = {name for name, _ in gauged(Snapshot())}
    assert names == {"relay_connections"}
