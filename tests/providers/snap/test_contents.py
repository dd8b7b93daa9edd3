from datetime import timedelta

import pytest

from relay.core.errors import Reason, Refusal
from relay.core.strict_json import JsonObject
from relay.providers import Window
from relay.providers.snap.contents import check_age, merchants, parse_time, subject_of

WINDOW = Window(timedelta(hours=1), timedelta(minutes=5))


@pytest.mark.parametrize(
    "text",
    ["2026-01-05T12:00:00Z", "2026-01-05T19:00:00.000000001+0700", "2026-01-05T19:00:00+07:00"],
)
def test_times_that_senders_write(text: str) -> None:
    assert parse_time(text)[1] == "2026-01-05"


@pytest.mark.parametrize("text", ["2026-01-05T12:00:00", "2026-01-05 12:00:00Z", "1767614400", ""])
def test_a_time_has_an_offset(text: str) -> None:
    with pytest.raises(Refusal) as refusal:
        parse_time(text)
    assert refusal.value.reason is Reason.TIMESTAMP_INVALID


@pytest.mark.parametrize("seconds", [3601, -301])
def test_a_time_outside_of_the_window(seconds: int) -> None:
    with pytest.raises(Refusal) as refusal:
        check_age(timedelta(seconds=seconds), WINDOW)
    assert refusal.value.reason is Reason.TIMESTAMP_OUTSIDE_WINDOW
    check_age(timedelta(seconds=seconds), Window(None, None))


@pytest.mark.parametrize("seconds", [3600, 0, -300])
def test_a_time_within_the_window(seconds: int) -> None:
    check_age(timedelta(seconds=seconds), WINDOW)


def test_what_a_message_is_about_and_whom_it_names() -> None:
    said: JsonObject = {"trxId": "a:b", "partnerServiceId": "   12345"}
    assert subject_of(said) == "a%3Ab"
    assert [*merchants(said)] == ["12345"]
    assert subject_of({}) is None
    assert [*merchants({})] == []
