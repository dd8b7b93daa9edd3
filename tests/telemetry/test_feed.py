"""What happens is told to who listens, and costs nothing while nobody does."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import orjson
import pytest

from relay.core.errors import Problem, Reason
from relay.core.event import AttemptRecord, Delivered
from relay.core.request import Verdict
from relay.telemetry import DeliveryRecord, Telemetry
from relay.telemetry.feed import MAX_KEY, MAX_SUBSCRIBERS, MAX_WAITING, Feed, TooManySubscribers
from relay.telemetry.log import Log, LogWriter
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED, verified


class Nowhere:
    """A stream that keeps nothing."""

    def write(self, data: bytes) -> int:
        return len(data)

    def flush(self) -> None:
        """There is nothing."""


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry(Log(LogWriter(Nowhere()), ManualClock()))  # type: ignore[arg-type]


def everything(_: str, __: Mapping[str, object]) -> bool:
    return True


def record(**changes: Any) -> DeliveryRecord:
    made = DeliveryRecord("192.0.2.1", RECEIVED)
    made.endpoint = made.provider = "midtrans"
    made.verdict, made.status, made.id, made.duration = Verdict.ACCEPTED, 200, "evt_1", 0.0125
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def attempt(decision: str = "done", **changes: Any) -> AttemptRecord:
    values: dict[str, Any] = {
        "event_id": "evt_1",
        "endpoint": "midtrans",
        "provider": "midtrans",
        "upstream": "billing",
        "attempt": 2,
        "outcome": "rejected",
        "status": 503,
        "cause": None,
        "decision": decision,
        "due": None,
        "duration": 0.25,
        "delay": None,
    }
    return AttemptRecord(**(values | changes))


async def test_a_delivery_is_told_without_anything_that_it_held(telemetry: Telemetry) -> None:
    subscriber = telemetry.feed.subscribe(everything)
    telemetry.received(record(event_key="order-1", reason=Reason.SIGNATURE_MISMATCH, detail="x"))
    [told] = subscriber.fetch()
    assert told.kind == "delivery"
    assert orjson.loads(told.json) == {
        "at": "2026-01-05T12:00:00.012Z",
        "id": "evt_1",
        "endpoint": "midtrans",
        "provider": "midtrans",
        "client": "192.0.2.1",
        "verdict": "accepted",
        "reason": "signature_mismatch",
        "would_refuse": None,
        "status": None,
        "code": 200,
        "key": "order-1",
        "revived": False,
        "upstreams": None,
        "duration_ms": 12.5,
    }


@pytest.mark.parametrize(
    ("decision", "status"),
    [
        ("done", "delivered"),
        ("retry", "pending"),
        ("dead", "dead"),
        ("held", "held"),
        ("lost", None),
    ],
)
async def test_an_attempt_tells_what_its_event_is_now(
    telemetry: Telemetry, decision: str, status: str | None
) -> None:
    subscriber = telemetry.feed.subscribe(everything)
    due = RECEIVED + timedelta(seconds=30)
    telemetry.attempted(attempt(decision, due=due), RECEIVED)
    [told] = subscriber.fetch()
    assert told.kind == "attempt"
    assert orjson.loads(told.json) == {
        "at": "2026-01-05T12:00:00.000Z",
        "id": "evt_1",
        "endpoint": "midtrans",
        "provider": "midtrans",
        "upstream": "billing",
        "number": 2,
        "outcome": "rejected",
        "status": status,
        "code": 503,
        "cause": None,
        "due_at": "2026-01-05T12:00:30.000Z",
        "duration_ms": 250.0,
    }


async def test_what_is_passed_on_has_one_attempt(telemetry: Telemetry) -> None:
    subscriber = telemetry.feed.subscribe(everything)
    telemetry.forwarded(verified(event_id="evt_2"), Delivered(204), RECEIVED, 0.5)
    [told] = subscriber.fetch()
    fields = orjson.loads(told.json)
    assert [fields[name] for name in ("id", "upstream", "number", "status", "code")] == [
        *("evt_2", "billing", 1, "passed", 204)
    ]


async def test_acts_and_reloads_are_told(telemetry: Telemetry) -> None:
    subscriber = telemetry.feed.subscribe(everything)
    telemetry.acted("pause", "token", "192.0.2.9", {"upstream": "billing"})
    telemetry.reloaded(RECEIVED, ["upstreams"])
    telemetry.reload_refused([Problem("relay.yaml", 1, 1, "listen", "not so")])
    told = [(each.kind, orjson.loads(each.json)) for each in subscriber.fetch()]
    assert [kind for kind, _ in told] == ["act", "reload", "reload"]
    assert told[0][1]["touched"] == {"upstream": "billing"}
    assert [fields["taken"] for _, fields in told[1:]] == [True, False]


async def test_what_a_stranger_wrote_stays_text_on_one_line(telemetry: Telemetry) -> None:
    subscriber = telemetry.feed.subscribe(everything)
    hostile = "a\n\nevent: act\ndata: {}\x1b[31m\u202e\ud800" + "x" * 10_000_000
    telemetry.received(record(event_key=hostile))
    [told] = subscriber.fetch()
    assert len(told.json) < 10 * MAX_KEY
    assert told.json.isprintable()
    assert orjson.loads(told.json)["id"]


async def test_only_what_is_wanted_is_taken(telemetry: Telemetry) -> None:
    subscriber = telemetry.feed.subscribe(
        lambda kind, fields: kind == "attempt" and fields["code"] == 1
    )
    telemetry.received(record())
    telemetry.attempted(attempt(), RECEIVED)
    telemetry.attempted(attempt(status=1), RECEIVED)
    assert len(subscriber.fetch()) == 1
    assert subscriber.fetch() == []


async def test_one_that_does_not_keep_up_is_dropped_and_holds_up_nobody() -> None:
    feed = Feed()
    slow, quick = feed.subscribe(everything), feed.subscribe(everything)
    for number in range(MAX_WAITING + 1):
        feed.tell("act", {"n": number})
        assert len(quick.fetch()) == 1
    assert slow.dropped
    assert slow.ended.is_set()
    assert slow.fetch() == []
    assert feed.subscribers == [quick]
    assert not quick.dropped


async def test_no_more_than_so_many_may_listen() -> None:
    feed = Feed()
    subscribers = [feed.subscribe(everything) for _ in range(MAX_SUBSCRIBERS)]
    with pytest.raises(TooManySubscribers, match="32 listen already"):
        feed.subscribe(everything)
    feed.unsubscribe(subscribers[0])
    feed.unsubscribe(subscribers[0])
    feed.subscribe(everything)


async def test_the_end_wakes_every_listener_and_those_that_come_then() -> None:
    feed = Feed()
    async with asyncio.TaskGroup() as group:
        subscriber = feed.subscribe(everything)
        group.create_task(subscriber.wait())
        feed.tell("act", {})
        feed.close()
    assert len(subscriber.fetch()) == 1
    late = feed.subscribe(everything)
    await late.wait()
    assert late.ended.is_set()
    assert not late.dropped
    assert feed.subscribers == []


@pytest.mark.parametrize(
    "report",
    [
        lambda telemetry: telemetry.received(record()),
        lambda telemetry: telemetry.attempted(attempt(), RECEIVED),
        lambda telemetry: telemetry.forwarded(verified(), Delivered(200), RECEIVED, 0.1),
    ],
)
def test_while_nobody_listens_nothing_of_it_is_called(
    telemetry: Telemetry, report: Callable[[Telemetry], None]
) -> None:
    called: list[str] = []

    def note(frame: Any, event: str, _: object) -> None:
        if event == "call":
            called.append(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        report(telemetry)
    finally:
        sys.setprofile(None)
    assert called
    assert not [name for name in called if name.endswith("/relay/telemetry/feed.py")]
