"""History has one JSON shape, and filters that cannot be read are refused with a hint."""

from datetime import UTC, datetime

import pytest

from relay.admin.serializers import detail, exported, page_json, parse_query, rfc3339, summary
from relay.core.event import Status, event_of
from relay.spool import Page, Query, Record
from tests.harness.deliveries import verified

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
)


def test_a_page_has_the_promised_shape() -> None:
    assert page_json(Page((RECORD,), "cursor")) == {
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
            }
        ],
        "next": "cursor",
    }


def test_an_event_whose_body_is_gone_is_still_shown() -> None:
    shown = detail(RECORD, None)
    assert shown["content"] is None
    assert shown["last_outcome"] == "rejected 500"
    assert summary(RECORD).items() <= shown.items()


def test_filters_are_read() -> None:
    assert parse_query(
        {"status": "dead", "since": "2026-01-05", "until": "2026-01-06T07:00:00+07:00"}
    ) == Query(
        status=Status.DEAD,
        since=datetime(2026, 1, 5, tzinfo=UTC),
        until=datetime(2026, 1, 6, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"status": "lost"}, 'no status "lost"; there are: pending, leased'),
        ({"since": "yesterday"}, 'since: "yesterday" is no time; write it as 2026-01-31T08:00:00Z'),
        ({"limit": "0"}, 'limit: "0" is not a number from 1 to 1000'),
        ({"limit": "\u0661"}, "limit: "),
        ({"colour": "red"}, 'no filter "colour"; there are: status, endpoint'),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_hint(given: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match="^" + message.replace("(", r"\(")):
        parse_query(given)


def test_times_are_shown_in_utc_to_the_millisecond() -> None:
    assert rfc3339(datetime.fromisoformat("2026-01-05T19:00:00.999999+07:00")) == (
        "2026-01-05T12:00:00.999Z"
    )


def test_an_export_holds_the_bytes_of_the_body() -> None:
    event = event_of(verified(body=b"\xff\x00"))
    content = exported(RECORD, event)["content"]
    assert isinstance(content, dict)
    assert content["body_base64"] == "/wA="
    assert "body" not in content
    assert exported(RECORD, None)["content"] is None
