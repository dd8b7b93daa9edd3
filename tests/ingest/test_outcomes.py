from dataclasses import replace

import pytest

from relay.core.request import IngestResult, RequestHead, Verdict, VerifiedDelivery
from relay.ingest.admission import Admission
from relay.ingest.outcomes import note_unrouted, outcome_of
from relay.spool import Conflict, Duplicate, PutResult, Stored
from tests.harness.deliveries import verified
from tests.telemetry.test_telemetry import Watched

HOLD = verified(hold="status_contradicts_code")


def told(event: VerifiedDelivery, stored: PutResult) -> tuple[IngestResult, Admission, Watched]:
    watched = Watched()
    watched.telemetry.init_series({"midtrans": "midtrans"}, [])
    admission = Admission(_head(event), 0.0)
    return outcome_of(admission, event, stored, watched.telemetry), admission, watched


def _head(event: VerifiedDelivery) -> RequestHead:
    return event.delivery.head


@pytest.mark.parametrize(
    ("stored", "verdict", "counted"),
    [
        (Stored("a"), Verdict.ACCEPTED, {}),
        (Stored("a", conflicts_with="b"), Verdict.ACCEPTED, {"conflicts": 1}),
        (Stored("a", repeats="b"), Verdict.ACCEPTED, {"repeats": 1}),
        (Stored("a", "b", repeats="c"), Verdict.ACCEPTED, {"conflicts": 1, "repeats": 1}),
        (Duplicate("a"), Verdict.DUPLICATE, {}),
        (Duplicate("a", revived=True), Verdict.DUPLICATE, {"revived": 1}),
        (Conflict("a"), Verdict.CONFLICT, {"conflicts": 1}),
    ],
)
def test_each_outcome_is_answered_and_counted(
    stored: PutResult, verdict: Verdict, counted: dict[str, int]
) -> None:
    result, admission, watched = told(verified(), stored)
    assert result.verdict is verdict
    assert admission.revived is ("revived" in counted)
    for name in ("conflicts", "repeats", "revived"):
        value = watched.value(f'{name}_total{{endpoint="midtrans"}}')
        assert value == counted.get(name, 0), name
    assert watched.lines() == []


@pytest.mark.parametrize("test", [False, True])
def test_what_goes_nowhere_is_counted_unless_it_is_a_test(test: bool) -> None:
    watched = Watched()
    watched.telemetry.init_series({"midtrans": "midtrans"}, [])
    event = verified(upstreams=(), test=test)
    admission = Admission(_head(event), 0.0)
    note_unrouted(admission, event, watched.telemetry)
    assert admission.unrouted is not test
    assert watched.value('unrouted_total{endpoint="midtrans"}') == (not test)


def test_what_is_held_is_told_unless_it_is_known() -> None:
    _, _, watched = told(HOLD, Stored("a"))
    [line] = watched.lines()
    assert (line["event"], line["level"]) == ("event_held", "warning")
    assert (line["id"], line["reason"]) == ("a", "status_contradicts_code")
    _, _, watched = told(HOLD, Duplicate("a"))
    assert watched.lines() == []
    _, _, watched = told(replace(HOLD, upstreams=()), Stored("a"))
    assert watched.lines() == []
