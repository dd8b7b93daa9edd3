"""Times as people write them."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from relay.core.moments import FORMS, parse_moment

NOW = datetime(2026, 3, 29, 12, 30, tzinfo=UTC)


@pytest.fixture
def oslo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put this machine where clocks go forward on the day that is today."""
    monkeypatch.setenv("TZ", "Europe/Oslo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("1h", timedelta(hours=1)),
        ("2 d", timedelta(days=2)),
        ("4w", timedelta(weeks=4)),
        ("0h", timedelta()),
    ],
)
def test_so_long_ago(text: str, ago: timedelta) -> None:
    assert parse_moment(text, NOW) == NOW - ago


def test_a_day_by_its_name_is_a_local_one(oslo: None) -> None:
    assert parse_moment("today", NOW) == datetime(2026, 3, 28, 23, tzinfo=UTC)
    assert parse_moment("yesterday", NOW) == datetime(2026, 3, 27, 23, tzinfo=UTC)
    # A day of 23 hours.
    tomorrow = NOW + timedelta(days=1)
    assert parse_moment("today", tomorrow) == datetime(2026, 3, 29, 22, tzinfo=UTC)
    assert parse_moment("yesterday", tomorrow) == datetime(2026, 3, 28, 23, tzinfo=UTC)
    # Here the day has begun, and in UTC it has not.
    late = datetime(2026, 1, 5, 23, 30, tzinfo=UTC)
    assert parse_moment("today", late) == datetime(2026, 1, 5, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T08:00:00Z", datetime(2026, 1, 31, 8, tzinfo=UTC)),
        ("2026-01-31T08:00:00+07:00", datetime(2026, 1, 31, 1, tzinfo=UTC)),
        ("2026-01-31 08:00", datetime(2026, 1, 31, 8, tzinfo=UTC)),
    ],
)
def test_a_time_without_an_offset_is_utc(text: str, at: datetime) -> None:
    assert parse_moment(text, NOW) == at


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "h",
        "-1h",
        "1.5h",
        "1y",
        "now",
        "Today",
        "2026-13-01",
        "\u0661h",
        "1h\n",
        "9" * 30 + "d",
    ],
)
def test_anything_else_is_answered_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="is no time; write 30m, 2h or 7d") as refused:
        parse_moment(text, NOW)
    assert str(refused.value).endswith(FORMS)


def test_what_lies_before_all_time_is_none() -> None:
    with pytest.raises(ValueError, match="is no time"):
        parse_moment("99999w", datetime(100, 1, 1, tzinfo=UTC))
