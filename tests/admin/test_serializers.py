"""History has one JSON shape, and filters that cannot be read are refused with a hint."""

import re
from base64 import b64decode
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from relay.admin.serializers import (
    event_detail,
    event_summary,
    events_json,
    exported_event,
    parse_event_query,
    parse_refusal_query,
    refusal_detail,
    refusal_summary,
    refusals_json,
    release_json,
    rfc3339,
)
from relay.core.errors import Reason
from relay.core.event import Status, event_of
from relay.core.redaction import Redaction
from relay.core.request import Headers
from relay.core.secret import Secret
from relay.spool.history import Attempt, Destination, Page, Query, Record
from relay.spool.refusals import (
    AlreadyReleased,
    RefusalPage,
    RefusalQuery,
    Released,
    StillRefused,
    StoredRefusal,
)
from tests.contracts.refusals import refused
from tests.harness.deliveries import RECEIVED, verified

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)

AT = datetime(2026, 1, 5, 12, 0, 0, 123456, tzinfo=UTC)

RECORD = Record(
    id="evt_1",
    endpoint="midtrans",
    provider="midtrans",
    status=Status.DEAD,
    key="tx:settlement:200:accept",
    subject="tx",
    received_at=AT,
    attempts=3,
    upstream="billing",
    due_at=None,
    settled_at=AT,
    last_outcome="rejected 500",
    conflicts_with=None,
    out_of_order=False,
    client="103.208.23.6",
    destinations=(
        Destination(
            "billing", Status.DEAD, 3, settled_at=AT, last_outcome="rejected 500", reason="final"
        ),
    ),
    references=(("order_id", "ORDER-1"),),
)


def test_an_attempt_is_told_with_the_beginning_of_its_answer() -> None:
    took = timedelta(microseconds=1500)
    tried = Attempt(2, AT, "billing", "rejected", 503, None, took, b"no\x1b[31m\xff\nlater")
    assert event_detail(RECORD, None, [tried])["attempt_log"] == [
        {
            "number": 2,
            "at": "2026-01-05T12:00:00.123Z",
            "upstream": "billing",
            "outcome": "rejected",
            "status": 503,
            "cause": None,
            "duration_ms": 1.5,
            "answer": "no\\x1b[31m\\xff\nlater",
        }
    ]


def test_a_page_has_the_promised_shape() -> None:
    assert events_json(Page((RECORD,), "cursor")) == {
        "events": [
            {
                "id": "evt_1",
                "endpoint": "midtrans",
                "provider": "midtrans",
                "status": "dead",
                "key": "tx:settlement:200:accept",
                "received_at": "2026-01-05T12:00:00.123Z",
                "attempts": 3,
                "upstream": "billing",
                "destinations": [
                    {
                        "upstream": "billing",
                        "status": "dead",
                        "attempts": 3,
                        "due_at": None,
                        "settled_at": "2026-01-05T12:00:00.123Z",
                        "last_outcome": "rejected 500",
                        "reason": "final",
                    }
                ],
                "references": [["order_id", "ORDER-1"]],
            }
        ],
        "next": "cursor",
    }


def test_an_event_that_goes_nowhere_has_no_upstream() -> None:
    nowhere = replace(RECORD, status=Status.DELIVERED, upstream="", destinations=())
    told = event_summary(nowhere)
    assert (told["upstream"], told["destinations"], told["status"]) == (None, [], "delivered")


def test_tokens_in_a_body_are_shown_nowhere() -> None:
    made = event_of(verified(body=b'{"id": 1.0, "token": "secret"}', tokens=("/token",)))
    content = event_detail(RECORD, made)["content"]
    assert isinstance(content, dict)
    assert content["body"] == '{"id":1.0,"token":"***"}'
    content = exported_event(RECORD, made)["content"]
    assert isinstance(content, dict)
    assert b64decode(content["body_base64"]) == b'{"id":1.0,"token":"***"}'


def test_an_event_whose_body_is_gone_is_still_shown() -> None:
    shown = event_detail(RECORD, None)
    assert shown["content"] is None
    assert shown["last_outcome"] == "rejected 500"
    assert event_summary(RECORD).items() <= shown.items()


def test_filters_are_read() -> None:
    assert parse_event_query(
        {"status": "dead", "since": "2026-01-05", "until": "2026-01-06T07:00:00+07:00"}, NOW
    ) == Query(
        status=Status.DEAD,
        since=datetime(2026, 1, 5, tzinfo=UTC),
        until=datetime(2026, 1, 6, tzinfo=UTC),
    )
    assert parse_event_query(
        {"find": "%_\0\ud800", "upstream": "billing", "since": "2h", "until": "30m"}, NOW
    ) == Query(
        find="%_\0\ud800",
        upstream="billing",
        since=NOW - timedelta(hours=2),
        until=NOW - timedelta(minutes=30),
    )
    assert parse_refusal_query({"find": "ORDER-1"}) == RefusalQuery(find="ORDER-1")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"status": "lost"}, 'no status "lost"; there are: pending, leased'),
        ({"since": "tuesday"}, 'since: "tuesday" is no time; write 30m, 2h or 7d (ago), today, '),
        ({"until": "2h ago"}, 'until: "2h ago" is no time; write 30m, 2h or 7d (ago), today, '),
        (
            {"since": "1h", "until": "2h"},
            "since: 2026-01-05T11:00:00.000Z is not before until, 2026-01-05T10:00:00.000Z",
        ),
        ({"find": ""}, "find: is empty; write a reference, an event id or a key"),
        ({"limit": "0"}, 'limit: "0" is not a number from 1 to 1000'),
        ({"limit": "\u0661"}, "limit: "),
        ({"colour": "red"}, 'no filter "colour"; there are: find, status'),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_hint(given: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        parse_event_query(given, NOW)


def test_times_are_shown_in_utc_to_the_millisecond() -> None:
    assert rfc3339(datetime.fromisoformat("2026-01-05T19:00:00.999999+07:00")) == (
        "2026-01-05T12:00:00.999Z"
    )


def test_an_export_holds_the_bytes_of_the_body() -> None:
    event = event_of(verified(body=b"\xff\x00"))
    content = exported_event(RECORD, event)["content"]
    assert isinstance(content, dict)
    assert content["body_base64"] == "/wA="
    assert "body" not in content
    assert exported_event(RECORD, None)["content"] is None


# ---- refusals -------------------------------------------------------------------------------

KEPT = StoredRefusal(refused(1, body=b"\xff{}"), times=3, tried_at=RECEIVED, released_as=None)


def test_a_page_is_one_object() -> None:
    assert refusals_json(RefusalPage((KEPT,), "7")) == {
        "refusals": [
            {
                "id": "ref_001",
                "endpoint": "midtrans",
                "provider": "midtrans",
                "reason": "signature_mismatch",
                "detail": "fits no secret",
                "client": "34.101.68.130",
                "signature_fits": False,
                "secret": None,
                "references": [],
                "received_at": "2026-01-05T12:00:00.000Z",
                "times": 3,
                "tried_at": "2026-01-05T12:00:00.000Z",
                "released_as": None,
            }
        ],
        "next": "7",
    }


def test_one_is_shown_with_its_content_until_it_is_released() -> None:
    shown = refusal_detail(KEPT, [])
    assert shown["content"] == {
        "method": "POST",
        "target": "/hook?…",
        "headers": [["Host", "pay.example"], ["X-Odd", "caf\xe9"]],
        "body": "\\xff{}",
    }
    assert refusal_summary(KEPT).items() <= shown.items()
    assert refusal_detail(replace(KEPT, released_as="evt_1"), [])["content"] is None


@pytest.mark.parametrize(
    ("secret", "written"),
    [
        (b"canary-1", b"canary-1"),
        (b'can"ary/1', b'can\\"ary\\/1'),
        (b"can ary/1", b"can%20ary%2F1"),
        ("canary-\xe9".encode(), "canary-\xe9".encode()),
        (b"canary-\xff", b"canary-\xff"),
    ],
)
def test_a_configured_secret_is_hidden_and_all_else_is_shown(secret: bytes, written: bytes) -> None:
    one = refused(1, body=b"<" + written + b">" + b"x" * 2000)
    fields = Headers((("X-Odd", f"<{written.decode('latin-1')}>"),))
    one = replace(one, head=replace(one.head, target="/hook/canary-1", headers=fields))
    content = refusal_detail(replace(KEPT, refused=one), [Secret(secret), Secret(b"canary-1")])[
        "content"
    ]
    assert content == {
        "method": "POST",
        "target": "/hook/***",
        "headers": [["X-Odd", "<***>"]],
        "body": "<***>" + "x" * 2000,
    }


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (None, {"result": "unknown"}),
        (Released("evt_1", duplicate=False), {"result": "released", "event": "evt_1"}),
        (Released("evt_1", duplicate=True), {"result": "duplicate", "event": "evt_1"}),
        (
            Released("evt_1", duplicate=True, revived=True),
            {"result": "duplicate", "event": "evt_1", "revived": True},
        ),
        (AlreadyReleased("evt_1"), {"result": "released_before", "event": "evt_1"}),
        (
            StillRefused(Reason.FIELD_INVALID, "why"),
            {"result": "refused", "reason": "field_invalid", "detail": "why"},
        ),
    ],
)
def test_every_result_has_a_word(result: Released | None, told: dict[str, object]) -> None:
    assert release_json("ref_1", result) == {"id": "ref_1", **told}


def test_filters_of_refusals_are_read() -> None:
    given = {"endpoint": "e", "reason": "body_malformed", "limit": "5", "after": "9"}
    assert parse_refusal_query(given) == RefusalQuery("e", Reason.BODY_MALFORMED, 5, "9")
    assert parse_refusal_query({}) == RefusalQuery()


@pytest.mark.parametrize(
    "given", [{"status": "x"}, {"reason": "bad"}, {"limit": "0"}, {"limit": "1001"}]
)
def test_filters_that_mean_nothing_say_what_to_write(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"there are|usually has|from 1 to"):
        parse_refusal_query(given)


# ---- redacted -------------------------------------------------------------------------------

REDACTION = Redaction(["/card/*"])


def test_what_is_redacted_is_masked_in_everything_that_came_with_it() -> None:
    fields = Headers((("X-Echo", "of 4111-1111"), ("X-Other", "kept")))
    event = event_of(
        verified(
            body=b'{"card": {"number": "4111-1111"}, "a": 1}',
            headers=fields,
            path="/midtrans/notification/below?card=4111-1111",
            remainder="/below",
        )
    )
    tried = Attempt(1, AT, "billing", "rejected", 400, None, None, b'no such card: 4111-1111"}')
    shown = event_detail(RECORD, event, [tried], REDACTION)
    assert "4111" not in str(shown)
    content = shown["content"]
    assert isinstance(content, dict)
    assert content["body"] == '{"card":{"number":"***"},"a":1}'
    assert content["headers"] == [["X-Echo", "of ***"], ["X-Other", "kept"]]
    assert content["suffix"] == "/below?card=***"
    exported = exported_event(RECORD, event, REDACTION)["content"]
    assert isinstance(exported, dict)
    assert b64decode(exported["body_base64"]) == b'{"card":{"number":"***"},"a":1}'
    gone = event_detail(RECORD, None, [tried], REDACTION)
    assert "4111" not in str(gone)


def test_a_refusal_is_redacted_too() -> None:
    stored = StoredRefusal(refused(1, body=b'{"card": ["4111-1111"]}'), 1, None, None)
    content = refusal_detail(stored, [], REDACTION)["content"]
    assert isinstance(content, dict)
    assert content["body"] == '{"card":["***"]}'
    stored = StoredRefusal(refused(1, body=b"card=4111"), 1, None, None)
    content = refusal_detail(stored, [], REDACTION)["content"]
    assert isinstance(content, dict)
    assert content["body"].startswith("*** (not shown")


def test_of_a_body_no_more_is_told_than_asked_for() -> None:
    made = event_of(verified(body="é€".encode()))
    beginning = event_detail(RECORD, made, most=3)["content"]
    assert isinstance(beginning, dict)
    assert beginning["body"] == "é\\xe2"
