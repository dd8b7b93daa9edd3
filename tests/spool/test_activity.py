"""Hours are those of UTC, wherever a time was told."""

from datetime import UTC, datetime, timedelta, timezone

from relay.spool.activity import hour_of


def test_an_hour_begins_as_in_utc() -> None:
    half_past = timezone(timedelta(hours=5, minutes=30))
    at = datetime(2026, 1, 5, 12, 15, 1, 5, half_past)
    assert hour_of(at) == datetime(2026, 1, 5, 6, tzinfo=UTC)
