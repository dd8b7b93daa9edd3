"""On a terminal the log is for people: what matters first, and nothing that steers it."""

import io
import re
from datetime import UTC, datetime

import pytest

from relay.core.errors import RelayError
from relay.telemetry.log import Log, LogFormat, LogWriter
from relay.telemetry.log_terminal import terminal_lines
from tests.harness.clock import ManualClock

START = datetime(2026, 1, 5, 12, 0, 0, 250_000, tzinfo=UTC)
TIME = f"{START.astimezone():%H:%M:%S}.250"
DELIVERY = {
    "id": "evt_1",
    "endpoint": "midtrans",
    "provider": "midtrans",
    "peer": "127.0.0.1",
    "client": "192.0.2.1",
    "client_via": "x-forwarded-for",
    "verdict": "accepted",
    "matched_entry": "192.0.2.0/24",
    "secret": 0,
    "status": 200,
    "duration_ms": 1.596,
    "body_bytes": 5,
    "body_sha256": "ab",
    "event_key": "a:b",
}
ATTEMPT = {
    "id": "evt_1",
    "endpoint": "midtrans",
    "provider": "midtrans",
    "upstream": "billing",
    "attempt": 2,
    "outcome": "rejected",
    "status": 503,
    "decision": "retry",
    "due": "2026-01-05T12:00:05+00:00",
    "duration_ms": 12.0,
}


def shown(level: str, event: str, fields: dict[str, object], *, colour: bool = False) -> str:
    stream = io.BytesIO()
    writer = LogWriter(stream)
    log = Log(writer, ManualClock(START), LogFormat.TEXT, terminal_lines(colour=colour))
    log.line(level, event, fields)
    writer.close()
    return stream.getvalue().decode()


def test_a_delivery_says_who_what_and_how_long() -> None:
    assert shown("info", "delivery", DELIVERY) == (
        f"{TIME}         delivery midtrans accepted 200 id=evt_1 client=192.0.2.1 event_key=a:b"
        " 1.6ms\n"
    )


def test_a_refusal_says_why_and_how_the_address_is_known() -> None:
    refused = {**DELIVERY, "verdict": "refused", "reason": "signature_mismatch", "status": 401}
    line = shown("warning", "delivery", {**refused, "detail": "fits no secret"})
    assert f"{TIME} WARNING delivery midtrans refused signature_mismatch 401 " in line
    assert "client_via=x-forwarded-for" in line
    assert "matched_entry=192.0.2.0/24" in line
    assert "detail='fits no secret'" in line


def test_an_attempt_says_what_came_of_it() -> None:
    assert shown("info", "attempt", ATTEMPT) == (
        f"{TIME}         attempt  midtrans billing rejected 503 id=evt_1 attempt=2 decision=retry"
        " due=2026-01-05T12:00:05+00:00 12.0ms\n"
    )


def test_an_attempt_that_ends_it_needs_no_decision() -> None:
    done = {**ATTEMPT, "outcome": "delivered", "status": 200, "decision": "done", "due": None}
    line = shown("info", "attempt", done)
    assert line.endswith(" midtrans billing delivered 200 id=evt_1 attempt=2 12.0ms\n")


@pytest.mark.parametrize(
    ("event", "fields", "code"),
    [
        ("delivery", DELIVERY, "1"),
        ("delivery", {**DELIVERY, "reason": "source_not_allowed"}, "33"),
        ("attempt", ATTEMPT, "33"),
        ("attempt", {**ATTEMPT, "outcome": "delivered"}, "1"),
    ],
)
def test_what_went_wrong_is_seen_at_a_glance(
    event: str, fields: dict[str, object], code: str
) -> None:
    assert f"\x1b[{code}m{event}" in shown("info", event, fields, colour=True)


def test_any_other_line_has_its_fields_in_order() -> None:
    line = shown("info", "started", {"role": "all", "none": None, "why": "two words"})
    assert line == f"{TIME}         started  role=all why='two words'\n"


def test_a_traceback_follows_its_line() -> None:
    stream = io.BytesIO()
    writer = LogWriter(stream)
    log = Log(writer, ManualClock(START), LogFormat.TEXT, terminal_lines(colour=False))
    log.fault("edge_fault", RelayError("odd"), peer="192.0.2.1")
    writer.close()
    assert stream.getvalue().decode() == (
        f"{TIME} ERROR   edge_fault peer=192.0.2.1\nrelay.core.errors.RelayError: odd\n"
    )


@pytest.mark.parametrize(("level", "code"), [("info", "1"), ("warning", "33"), ("error", "31")])
def test_colours_add_nothing_but_colours(level: str, code: str) -> None:
    line = shown(level, "delivery", DELIVERY, colour=True)
    assert f"\x1b[{code}m" in line
    plain = re.sub(r"\x1b\[\d+m", "", line)
    assert plain.split() == shown(level, "delivery", DELIVERY).split()


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize("hostile", ["a\nb", "\x1b[2J", "\u202eevil", "\ud800", "\x9b1m", "\x00"])
def test_hostile_text_stays_on_its_line_and_steers_nothing(hostile: str, colour: bool) -> None:
    for name in ("event_key", "client", "endpoint"):
        line = shown("info", "delivery", {**DELIVERY, name: hostile}, colour=colour)
        assert line.count("\n") == 1
        assert re.sub(r"\x1b\[\d+m", "", line.removesuffix("\n")).isprintable()
