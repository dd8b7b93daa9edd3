"""Every decision is one line and one count, and the counts are there before the first."""

import io
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from weakref import ref

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core.errors import Reason
from relay.core.event import AttemptRecord, Delivered, Unreachable
from relay.core.request import Verdict, Via
from relay.telemetry import DeliveryRecord, Telemetry
from relay.telemetry.gauges import Snapshot
from relay.telemetry.log import Log, LogWriter
from tests.harness.clock import ManualClock
from tests.harness.deliveries import verified

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)


class Watched:
    """A `Telemetry` and what it said."""

    def __init__(self) -> None:
        self._stream = io.BytesIO()
        self._writer = LogWriter(self._stream)
        self.telemetry = Telemetry(Log(self._writer, ManualClock()))

    def text(self) -> str:
        self._writer.close()
        return self._stream.getvalue().decode()

    def lines(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.text().splitlines()]

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


# ---- usual lines and the others -------------------------------------------------------------
# A line whose fields are usual is put together of pieces; any other is made of its fields.


def both_ways(records: Sequence[DeliveryRecord | AttemptRecord]) -> list[bytes]:
    """Return the log of these, in which each line is the same in both ways."""
    logs = []
    for usual in (True, False):
        stream = io.BytesIO()
        writer = LogWriter(stream)
        log = Log(writer, ManualClock())
        log.is_json = usual
        telemetry = Telemetry(log)
        for each in records:
            if isinstance(each, AttemptRecord):
                telemetry.attempted(each, AT)
            else:
                telemetry.received(each)
        writer.close()
        logs.append(stream.getvalue())
    assert logs[0] == logs[1]
    return logs[0].splitlines()


ODD = ('a"b', "a\\b", "\x00\x1f\x7f", "\r\n", "\u2028", "\xe9", "\U0001f600", "\ud800", "")
texts = st.sampled_from(ODD) | st.text(st.characters(exclude_categories=()), max_size=5)
seconds = st.one_of(
    st.floats(0, 20),
    st.integers(0, 10**7).map(lambda each: each / 2_000_000),
    st.sampled_from((-1.0, -0.0, 86_399.9999999, 86_400.0, 1e16, 5e-324, math.inf, math.nan)),
)


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


deliveries = st.fixed_dictionaries(
    {
        "endpoint": st.just("midtrans") | texts,
        "provider": maybe(st.just("midtrans") | texts),
        "id": maybe(st.just("evt_1") | texts),
        "client": maybe(st.just("192.0.2.7") | texts),
        "client_via": maybe(st.sampled_from(Via)),
        "verdict": st.sampled_from(Verdict),
        "reason": maybe(st.sampled_from(Reason)),
        "detail": maybe(texts),
        "would_refuse": maybe(st.sampled_from(Reason)),
        "matched_entry": maybe(st.just("192.0.2.0/24") | texts),
        "matched_host": maybe(texts),
        "secret": maybe(st.integers(0, 3)),
        "status": st.sampled_from((0, 200, 422)),
        "duration": seconds,
        "body_bytes": maybe(st.integers(0, 70_000)),
        "body_sha256": maybe(st.binary(min_size=32, max_size=32)),
        "event_key": maybe(st.just("1:settlement:200") | texts),
        "revived": st.booleans(),
        "unrouted": st.booleans(),
    }
)
attempts = st.fixed_dictionaries(
    {
        "event_id": st.just("evt_1") | texts,
        "endpoint": st.just("midtrans") | texts,
        "provider": st.just("midtrans") | texts,
        "upstream": st.just("billing") | texts,
        "attempt": st.integers(1, 3),
        "outcome": st.sampled_from(("delivered", "rejected", "unreachable", "unconfirmed")),
        "status": maybe(st.sampled_from((200, 500))),
        "cause": maybe(texts),
        "decision": st.sampled_from(("done", "retry", "dead", "held", "lost", "passed")),
        "due": maybe(st.just(AT)),
        "duration": seconds,
        "delay": maybe(seconds),
        "queued": maybe(seconds),
        "settling": maybe(seconds),
    }
)


@given(st.lists(deliveries, min_size=1, max_size=5), st.just("192.0.2.1") | texts)
@settings(max_examples=300)
def test_lines_of_deliveries_are_the_same_in_both_ways(
    changed: list[dict[str, Any]], peer: str
) -> None:
    records = [record(**{**each, "peer": peer}) for each in changed]
    assert len(both_ways(records)) == len(records)


@given(st.lists(attempts, min_size=1, max_size=5))
@settings(max_examples=300)
def test_lines_of_attempts_are_the_same_in_both_ways(changed: list[dict[str, Any]]) -> None:
    assert len(both_ways([attempted(**each) for each in changed])) == len(changed)


def test_what_is_there_and_what_is_not_may_be_any_of_all() -> None:
    optional = {
        "provider": "midtrans",
        "id": "evt_1",
        "client": "192.0.2.7",
        "client_via": Via.PEER,
        "reason": Reason.BODY_MALFORMED,
        "detail": "it says so",
        "would_refuse": Reason.SOURCE_NOT_ALLOWED,
        "matched_entry": "192.0.2.0/24",
        "matched_host": "a.example",
        "secret": 0,
        "body_bytes": 7,
        "body_sha256": b"\xff" * 32,
        "event_key": "1:settlement:200",
    }
    records = [
        record(
            Verdict.ACCEPTED,
            **{
                name: value if there else None
                for (name, value), there in zip(optional.items(), chosen, strict=True)
            },
        )
        for chosen in product((True, False), repeat=len(optional))
    ]
    assert len(both_ways(records)) == 2 ** len(optional)


@pytest.mark.parametrize("detail", [None, "why"])
def test_a_line_that_waits_keeps_nothing_of_its_record(detail: str | None) -> None:
    class Waiting(LogWriter):
        def __init__(self) -> None:
            self.lines: list[object] = []

        def write(self, line: object) -> None:
            self.lines.append(line)

    writer = Waiting()
    told = record(Verdict.ACCEPTED, id="evt_1", event_key="k", body_bytes=0, detail=detail)
    known = ref(told)
    Telemetry(Log(writer, ManualClock())).received(told)
    del told
    assert len(writer.lines) == 1
    assert known() is None


def test_a_usual_line_is_put_together_of_pieces(watched: Watched) -> None:
    changes = {"id": "evt_1", "event_key": "k", "body_bytes": 7, "body_sha256": b"\xff" * 32}
    watched.telemetry.received(record(Verdict.ACCEPTED, secret=0, duration=0.0123456, **changes))
    watched.telemetry.attempted(attempted(duration=0.5), AT)
    assert watched.text() == (
        '{"time":"2026-01-05T12:00:00.000Z","level":"info","event":"delivery","id":"evt_1"'
        ',"endpoint":"midtrans","provider":"midtrans","peer":"192.0.2.1","verdict":"accepted"'
        ',"secret":0,"status":200,"duration_ms":12.346,"body_bytes":7,"body_sha256":"'
        + "ff"
        * 32
        + '","event_key":"k"}\n'
        '{"time":"2026-01-05T12:00:00.000Z","level":"info","event":"attempt","id":"evt_1"'
        ',"endpoint":"midtrans","provider":"midtrans","upstream":"billing","attempt":1'
        ',"outcome":"delivered","status":200,"decision":"done","duration_ms":500.0}\n'
    )


# ---- what is counted ------------------------------------------------------------------------


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
    watched.telemetry.attempted(attempted(duration=0.5, queued=0.25, settling=0.125), AT)
    watched.telemetry.attempted(attempted(duration=1.5, settling=0.5), AT)
    watched.telemetry.attempted(attempted(outcome="unconfirmed", decision="held", delay=None), AT)
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


@pytest.mark.parametrize("decision", ["dead", "held"])
def test_what_waits_for_a_person_is_a_warning(watched: Watched, decision: str) -> None:
    watched.telemetry.attempted(attempted(outcome="rejected", decision=decision, delay=None), AT)
    assert watched.lines()[0]["level"] == "warning"


def test_a_copy_that_revives_says_so_and_no_other_line_does(watched: Watched) -> None:
    usual = {"id": "evt_1", "body_bytes": 2, "body_sha256": bytes(32), "event_key": "1"}
    watched.telemetry.received(record(Verdict.DUPLICATE, **usual))
    watched.telemetry.received(record(Verdict.DUPLICATE, **usual, revived=True))
    plain, revived = watched.lines()
    assert revived == {**plain, "revived": True, "time": revived["time"]}


def test_what_goes_nowhere_says_so(watched: Watched) -> None:
    usual = {"id": "evt_1", "body_bytes": 2, "body_sha256": bytes(32), "event_key": "1"}
    watched.telemetry.received(record(Verdict.ACCEPTED, **usual))
    watched.telemetry.received(record(Verdict.ACCEPTED, **usual, upstreams=(), unrouted=True))
    plain, nowhere = watched.lines()
    assert nowhere == {**plain, "unrouted": True, "time": nowhere["time"]}


def test_what_report_lets_in_is_counted_apart(watched: Watched) -> None:
    told = record(Verdict.ACCEPTED, would_refuse=Reason.SOURCE_NOT_ALLOWED)
    watched.telemetry.received(told)
    assert watched.value('would_refuse_total{endpoint="midtrans",reason="source_not_allowed"}') == 1


def test_attempts_are_counted_by_outcome_and_dead_letters_apart(watched: Watched) -> None:
    watched.telemetry.attempted(attempted(), AT)
    watched.telemetry.attempted(
        attempted(outcome="unreachable", status=None, cause="refused", decision="dead", delay=None),
        AT,
    )
    assert watched.value('attempts_total{outcome="delivered",upstream="billing"}') == 1
    assert watched.value('attempts_total{outcome="unreachable",upstream="billing"}') == 1
    assert watched.value('dead_letters_total{upstream="billing"}') == 1
    assert watched.value('delivery_delay_seconds_count{upstream="billing"}') == 1
    assert [line["event"] for line in watched.lines()] == ["attempt", "attempt"]


def test_a_forwarded_delivery_is_an_attempt_that_passed(watched: Watched) -> None:
    delivery, received = verified(event_id="evt_1"), verified().delivery.head.received_at
    watched.telemetry.forwarded(delivery, Delivered(200), received + timedelta(seconds=2), 0.25)
    # The wall clock has been set back.
    watched.telemetry.forwarded(delivery, Delivered(200), received - timedelta(seconds=9), 0.25)
    watched.telemetry.forwarded(delivery, Unreachable("reset"), received, 0.5)
    assert watched.value('attempts_total{outcome="delivered",upstream="billing"}') == 2
    assert watched.value('attempts_total{outcome="unreachable",upstream="billing"}') == 1
    assert watched.value('attempt_duration_seconds_sum{upstream="billing"}') == 1.0
    assert watched.value('delivery_delay_seconds_count{upstream="billing"}') == 2
    assert watched.value('delivery_delay_seconds_sum{upstream="billing"}') == 2.0
    assert {name: told for name, told in stages(watched).items() if told[0]} == {"send": (3, 1.0)}
    told = [
        [line.get(name) for name in ("id", "attempt", "outcome", "status", "cause", "decision")]
        for line in watched.lines()
    ]
    assert told == [
        ["evt_1", 1, "delivered", 200, None, "passed"],
        ["evt_1", 1, "delivered", 200, None, "passed"],
        ["evt_1", 1, "unreachable", None, "reset", "passed"],
    ]


def test_every_series_begins_at_zero(watched: Watched) -> None:
    watched.telemetry.init_series({"midtrans": "midtrans"}, ["billing"])
    assert watched.value('refusals_total{endpoint="midtrans",reason="overload"}') == 0
    assert watched.value('refusals_total{endpoint="",reason="unknown_endpoint"}') == 0
    assert watched.value('attempts_total{outcome="rejected",upstream="billing"}') == 0
    assert watched.value('dead_letters_total{upstream="billing"}') == 0
