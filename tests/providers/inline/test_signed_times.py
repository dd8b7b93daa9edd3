"""Signed times."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from relay.core.errors import Reason, Refusal
from relay.providers import Window
from relay.providers.inline import Unit
from relay.providers.inline.signed_times import check_window, read_time, write_time
from tests.providers.inline.describe import AT

# Signed times.


@pytest.mark.parametrize(
    ("text", "unit", "found"),
    [
        ("1531420618", "s", datetime(2018, 7, 12, 18, 36, 58, tzinfo=UTC)),
        ("1531420618123", "ms", datetime(2018, 7, 12, 18, 36, 58, 123000, tzinfo=UTC)),
        ("Thu, 30 Mar 2023 08:38:32 GMT", "rfc1123", datetime(2023, 3, 30, 8, 38, 32, tzinfo=UTC)),
        ("2024-03-05T10:37:16Z", "iso8601", datetime(2024, 3, 5, 10, 37, 16, tzinfo=UTC)),
        ("2024-03-05T10:37:16+07:00", "iso8601", datetime(2024, 3, 5, 3, 37, 16, tzinfo=UTC)),
        (
            "2024-03-05T10:37:16.123456789Z",
            "iso8601",
            datetime(2024, 3, 5, 10, 37, 16, 123456, tzinfo=UTC),
        ),
    ],
)
def test_what_is_read_of_a_time(text: str, unit: Unit, found: datetime) -> None:
    assert read_time(text, unit) == found


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("", "s"),
        ("-1", "s"),
        ("01531420618", "s"),
        ("001531420618123", "ms"),
        ("1.5", "s"),
        (" 1", "s"),
        ("1e9", "s"),
        ("٣", "s"),
        ("9" * 15, "s"),
        ("9" * 400, "ms"),
        ("30 Mar 2023 08:38:32 GMT", "rfc1123"),
        ("Fri, 30 Mar 2023 08:38:32 GMT", "rfc1123"),
        ("Thu, 30 Mar 2023 08:38:32 +0000", "rfc1123"),
        ("Thu, 31 Feb 2023 08:38:32 GMT", "rfc1123"),
        ("2024-03-05T10:37:16", "iso8601"),
        ("2024-03-05 10:37:16Z", "iso8601"),
        ("2024-02-30T10:37:16Z", "iso8601"),
        ("2024-03-05T10:37:16+99:00", "iso8601"),
        ("2024-03-05T10:37:16+06:60", "iso8601"),
    ],
)
def test_what_is_no_time(text: str, unit: Unit) -> None:
    with pytest.raises(Refusal) as caught:
        read_time(text, unit)
    assert caught.value.reason is Reason.TIMESTAMP_INVALID


@pytest.mark.parametrize("unit", get_args(Unit))
def test_a_time_is_read_as_it_is_written(unit: Unit) -> None:
    assert read_time(write_time(AT, unit), unit) == AT


def test_how_far_it_may_lie() -> None:
    second, minute = timedelta(seconds=1), timedelta(minutes=1)
    window = Window(past=minute, future=second)
    check_window(AT - minute, AT, window)
    check_window(AT + second, AT, window)
    for signed_at in (AT - minute - second, AT + second * 2):
        with pytest.raises(Refusal) as caught:
            check_window(signed_at, AT, window)
        assert caught.value.reason is Reason.TIMESTAMP_OUTSIDE_WINDOW
    check_window(AT - timedelta(days=9999), AT, Window(past=None, future=None))
    check_window(AT + timedelta(days=9999), AT, Window(past=None, future=None))
