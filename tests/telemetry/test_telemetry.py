"""Every decision is one line and one count, and the counts are there before the first."""

import io
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import orjson
import pytest

from relay.core.errors import Reason, SpoolUnavailable
from relay.core.event import AttemptRecord
from relay.core.request import Verdict
from relay.telemetry import DeliveryRecord, Telemetry
from relay.telemetry.log import Log, LogWriter
from relay.telemetry.metrics import Snapshot
from tests.harness.clock import ManualClock

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)


class Watched:
    """A `Telemetry` and what it said."""

    def __init__(self) -> None:
        self._stream = io.BytesIO()
        self._writer = LogWriter(self._stream)
        self.telemetry = Telemetry(Log(self._writer, ManualClock()))

    def lines(self) -> list[dict[str, Any]]:
        self._writer.close()
        return [orjson.loads(line) for line in self._stream.getvalue().splitlines()]

    def value(self, sample: str) -> float:
        text = self.telemetry.expose(Snapshot()).decode()
        (found,) = [line for line in text.splitlines() if line.startswith(f"relay_{sample} ")]
        return float(found.rpartition(" ")[2])


@pytest.fixture
def watched() -> Watched:
    return Watched()


def record(verdict: Verdict, **changes: Any) -> DeliveryRecord:
    made = DeliveryRecord("192.0.2.1", AT)
    made.endpoint = made.provider = "midtrans"
    made.verdict, made.status = verdict, 200
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def attempted(**changes: Any) -> AttemptRecord:
    usual: dict[str, Any] = {
        "event_id": "evt_1",
        "endpoint": "midtrans",
        "provider": "midtrans",
        "upstream": "billing",
        "attempt": 1,
        "outcome": "delivered",
        "status": 200,
        "cause": None,
        "decision": "done",
        "due": None,
        "duration": 0.02,
        "delay": 0.5,
    }
    return AttemptRecord(**(usual | changes))


def test_an_accepted_delivery_is_counted_and_told(watched: Watched) -> None:
    watched.telemetry.received(record(Verdict.ACCEPTED, secret=1, duration=0.004))
    labels = '{endpoint="midtrans",provider="midtrans",verdict="accepted"}'
    assert watched.value(f"deliveries_total{labels}") == 1
    assert watched.value('secret_used_total{endpoint="midtrans",secret="1"}') == 1
    assert watched.value('last_delivery_timestamp_seconds{endpoint="midtrans"}') == AT.timestamp()
    assert watched.value('request_duration_seconds_bucket{endpoint="midtrans",le="0.005"}') == 1
    (line,) = watched.lines()
    assert (line["event"], line["level"], line["duration_ms"]) == ("delivery", "info", 4.0)


def stages(watched: Watched) -> dict[str, tuple[float | None, float | None]]:
    return {
        stage: (
            watched.value(f'stage_seconds_count{{stage="{stage}"}}'),
            watched.value(f'stage_seconds_sum{{stage="{stage}"}}'),
        )
        for stage in ("read", "verify", "store", "queue", "send", "settle")
    }


def test_the_time_of_a_stored_delivery_is_told_by_stage(watched: Watched) -> None:
    taken = record(Verdict.ACCEPTED, started=100.0, read_at=100.5, verified_at=100.75, duration=2.0)
    watched.telemetry.received(taken)
    assert stages(watched) == {
        "read": (1, 0.5),
        "verify": (1, 0.25),
        "store": (1, 1.25),
        **dict.fromkeys(("queue", "send", "settle"), (0, 0)),
    }


def test_what_is_passed_on_is_not_stored_and_what_is_not_verified_has_no_stages(
    watched: Watched,
) -> None:
    watched.telemetry.received(record(Verdict.PASSED, started=1.0, read_at=1.5, verified_at=2.0))
    watched.telemetry.received(record(Verdict.REFUSED, started=1.0, read_at=1.5))
    assert {name: count for name, (count, _) in stages(watched).items() if count} == {
        "read": 1,
        "verify": 1,
    }


def test_the_time_of_an_attempt_is_told_by_stage(watched: Watched) -> None:
    watched.telemetry.attempted(attempted(duration=0.5, queued=0.25, settling=0.125))
    watched.telemetry.attempted(attempted(duration=1.5, settling=0.5))
    watched.telemetry.attempted(attempted(outcome="unconfirmed", decision="held", delay=None))
    assert {name: told for name, told in stages(watched).items() if told[0]} == {
        "queue": (1, 0.25),
        "send": (2, 2.0),
        "settle": (2, 0.625),
    }


def test_a_refusal_is_counted_by_reason(watched: Watched) -> None:
    watched.telemetry.received(record(Verdict.REFUSED, reason=Reason.BODY_MALFORMED))
    assert watched.value('refusals_total{endpoint="midtrans",reason="body_malformed"}') == 1


def test_what_is_ours_is_an_error_in_the_log(watched: Watched) -> None:
    watched.telemetry.received(record(Verdict.UNAVAILABLE))
    assert watched.lines()[0]["level"] == "error"


def test_what_report_lets_in_is_counted_apart(watched: Watched) -> None:
    told = record(Verdict.ACCEPTED, would_refuse=Reason.SOURCE_NOT_ALLOWED)
    watched.telemetry.received(told)
    assert watched.value('would_refuse_total{endpoint="midtrans",reason="source_not_allowed"}') == 1


def test_attempts_are_counted_by_outcome_and_dead_letters_apart(watched: Watched) -> None:
    watched.telemetry.attempted(attempted())
    watched.telemetry.attempted(
        attempted(outcome="unreachable", status=None, cause="refused", decision="dead", delay=None)
    )
    assert watched.value('attempts_total{outcome="delivered",upstream="billing"}') == 1
    assert watched.value('attempts_total{outcome="unreachable",upstream="billing"}') == 1
    assert watched.value('dead_letters_total{upstream="billing"}') == 1
    assert watched.value('delivery_delay_seconds_count{upstream="billing"}') == 1
    assert [line["event"] for line in watched.lines()] == ["attempt", "attempt"]


def test_every_series_begins_at_zero(watched: Watched) -> None:
    watched.telemetry.init_series({"midtrans": "midtrans"}, ["billing"])
    assert watched.value('refusals_total{endpoint="midtrans",reason="overload"}') == 0
    assert watched.value('refusals_total{endpoint="",reason="unknown_endpoint"}') == 0
    assert watched.value('attempts_total{outcome="rejected",upstream="billing"}') == 0
    assert watched.value('dead_letters_total{upstream="billing"}') == 0


def test_history_that_is_lost_is_counted_and_told(watched: Watched) -> None:
    watched.telemetry.init_series({"midtrans": "midtrans", "vipps": "vipps"}, [])
    watched.telemetry.history_lost("midtrans", "evt_1", "too much waits to be written")
    assert watched.value('history_lost_total{endpoint="midtrans"}') == 1
    assert watched.value('history_lost_total{endpoint="vipps"}') == 0
    (line,) = watched.lines()
    assert (line["event"], line["level"], line["id"]) == ("history_lost", "error", "evt_1")


def test_dns_and_knocks_are_counted(watched: Watched) -> None:
    watched.telemetry.looked_up("a.example", "servfail")
    watched.telemetry.looked_up("a.example", "ok")
    watched.telemetry.changed("a.example", "added", ip_address("104.45.17.199"))
    watched.telemetry.knocked("vipps", "found")
    assert watched.value('dns_lookups_total{host="a.example",result="servfail"}') == 1
    assert watched.value('allowlist_changes_total{change="added",host="a.example"}') == 1
    assert watched.value('allowlist_knocks_total{endpoint="vipps",result="found"}') == 1
    assert [line["event"] for line in watched.lines()] == ["dns_lookup", "allowlist_changed"]


def test_expected_trouble_has_no_traceback_and_the_unexpected_has(watched: Watched) -> None:
    watched.telemetry.dispatch_error("billing", "evt_1", SpoolUnavailable("disk full"))
    watched.telemetry.dispatch_error("billing", None, KeyError("x"))
    expected, unexpected = watched.lines()
    assert "exception" not in expected
    assert "KeyError" in unexpected["exception"]


def test_a_damaged_event_is_a_dead_letter_and_an_error(watched: Watched) -> None:
    watched.telemetry.event_corrupt("billing", "evt_1")
    assert watched.value('dead_letters_total{upstream="billing"}') == 1
    (line,) = watched.lines()
    assert (line["event"], line["level"], line["id"]) == ("event_damaged", "error", "evt_1")


def test_what_could_not_be_remembered_is_an_error(watched: Watched) -> None:
    watched.telemetry.dns_cache_unsaved("dns.json: No such file or directory")
    assert watched.lines()[0]["level"] == "error"
