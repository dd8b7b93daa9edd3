from datetime import timedelta

import pytest

from relay.delivery.circuit_breaker import (
    STATUS_API_BREAKER,
    UPSTREAM_BREAKER,
    CircuitBreaker,
)

ANY_NUMBER = None


def opened(now: float = 100.0) -> CircuitBreaker:
    breaker = CircuitBreaker(UPSTREAM_BREAKER)
    for failure in range(10):
        breaker.record_failure(f"event {failure}", now)
    assert breaker.is_open
    return breaker


def test_it_begins_closed() -> None:
    breaker = CircuitBreaker(UPSTREAM_BREAKER)
    assert not breaker.is_open
    assert breaker.permits(0.0, 0) is ANY_NUMBER


def test_ten_failures_in_a_row_open_it_and_nine_do_not() -> None:
    breaker = CircuitBreaker(UPSTREAM_BREAKER)
    for failure in range(9):
        breaker.record_failure(f"event {failure}", 100.0)
    assert not breaker.is_open
    breaker.record_failure("event 9", 100.0)
    assert breaker.is_open


@pytest.mark.parametrize(("events", "opens"), [(1, False), (2, False), (3, True)])
def test_failures_of_fewer_than_three_events_never_open_it(events: int, opens: bool) -> None:
    breaker = CircuitBreaker(UPSTREAM_BREAKER)
    for failure in range(100):
        breaker.record_failure(f"event {failure % events}", 100.0)
    assert breaker.is_open is opens


def test_an_answer_begins_the_row_anew() -> None:
    breaker = CircuitBreaker(UPSTREAM_BREAKER)
    for failure in range(9):
        breaker.record_failure(f"event {failure}", 100.0)
    breaker.record_success()
    for failure in range(9):
        breaker.record_failure(f"event {failure}", 100.0)
    assert not breaker.is_open


def test_the_events_before_an_answer_do_not_count() -> None:
    breaker = CircuitBreaker(UPSTREAM_BREAKER)
    breaker.record_failure("a", 100.0)
    breaker.record_failure("b", 100.0)
    breaker.record_success()
    for _ in range(20):
        breaker.record_failure("c", 100.0)
    assert not breaker.is_open


def test_nothing_goes_out_for_five_seconds_then_one_probe() -> None:
    breaker = opened(100.0)
    assert breaker.permits(100.0, 0) == 0
    assert breaker.permits(104.9, 0) == 0
    assert breaker.paused_for(104.0) == pytest.approx(1.0)
    assert breaker.permits(105.0, 0) == 1
    breaker.on_start("probe", 105.0)
    assert breaker.permits(105.0, 0) == 0
    assert breaker.permits(1000.0, 0) == 0


def test_a_probe_that_found_nothing_to_send_is_still_owed() -> None:
    breaker = opened(100.0)
    assert breaker.permits(105.0, 0) == 1
    assert breaker.permits(106.0, 0) == 1


def test_pauses_double_up_to_a_minute() -> None:
    breaker, now, pauses = opened(100.0), 100.0, []
    for _ in range(7):
        pauses.append(breaker.paused_for(now))
        now += pauses[-1]
        breaker.on_start("probe", now)
        breaker.record_failure("probe", now)
    assert pauses == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0]


def test_any_answer_closes_it_and_the_pauses_begin_anew() -> None:
    breaker = opened(100.0)
    breaker.on_start("probe", 105.0)
    breaker.record_failure("probe", 105.0)
    breaker.on_start("probe", 115.0)
    breaker.record_success()
    assert not breaker.is_open
    assert breaker.permits(115.0, 0) == 2
    for failure in range(10):
        breaker.record_failure(f"event {failure}", 200.0)
    assert breaker.paused_for(200.0) == 5.0


def test_a_closed_breaker_needs_ten_failures_again() -> None:
    breaker = opened(100.0)
    breaker.record_success()
    breaker.record_failure("a", 106.0)
    assert not breaker.is_open


def test_attempts_that_fail_late_do_not_lengthen_the_pause() -> None:
    breaker = opened(100.0)
    breaker.record_failure("straggler", 104.0)
    assert breaker.permits(105.0, 0) == 1
    breaker.on_start("probe", 105.0)
    breaker.record_failure("straggler", 105.5)
    assert breaker.permits(105.5, 0) == 0
    breaker.record_failure("probe", 106.0)
    assert breaker.paused_for(106.0) == 10.0


def test_an_answer_to_a_late_attempt_closes_it() -> None:
    breaker = opened(100.0)
    breaker.record_success()
    assert breaker.permits(100.1, 0) == 2


def test_attempts_come_back_step_by_step() -> None:
    breaker = opened(100.0)
    breaker.on_start("probe", 105.0)
    breaker.record_success()
    assert [breaker.permits(105.0, under_way) for under_way in range(4)] == [2, 1, 0, 0]
    breaker.record_success()
    breaker.record_success()
    assert breaker.permits(105.0, 1) == 3
    for _ in range(59):
        breaker.record_success()
    assert breaker.permits(105.0, 0) == 63
    breaker.record_success()
    assert breaker.permits(105.0, 1000) is ANY_NUMBER


def test_a_breaker_that_opens_again_begins_its_ramp_anew() -> None:
    breaker = opened(100.0)
    for _ in range(10):
        breaker.record_success()
    for failure in range(10):
        breaker.record_failure(f"event {failure}", 200.0)
    assert breaker.permits(205.0, 0) == 1
    breaker.on_start("probe", 205.0)
    breaker.record_success()
    assert breaker.permits(205.0, 0) == 2


def test_an_abandoned_probe_makes_room_for_another() -> None:
    breaker = opened(100.0)
    breaker.on_start("probe", 105.0)
    breaker.ignore("somebody else")
    assert breaker.permits(105.0, 0) == 0
    breaker.ignore("probe")
    assert breaker.is_open
    assert breaker.permits(105.0, 0) == 1


def test_an_api_that_does_not_answer_is_left_alone_for_longer_each_time() -> None:
    breaker = CircuitBreaker(STATUS_API_BREAKER)
    for _ in range(STATUS_API_BREAKER.failures - 1):
        breaker.record_failure("event", 10.0)
    assert breaker.paused_for(10.0) == 0
    pauses = []
    for _ in range(8):
        breaker.record_failure("event", 10.0)
        pauses.append(breaker.paused_for(10.0))
    assert pauses == [
        1,
        2,
        4,
        8,
        16,
        32,
        STATUS_API_BREAKER.longest_pause,
        STATUS_API_BREAKER.longest_pause,
    ]


def test_after_a_rest_one_question_tries_it() -> None:
    breaker = CircuitBreaker(STATUS_API_BREAKER)
    for _ in range(STATUS_API_BREAKER.failures):
        breaker.record_failure("event", 10.0)
    assert breaker.paused_for(11.0) == 0
    breaker.on_start("event", 11.0)
    assert breaker.paused_for(11.0) > 0
    breaker.record_success()
    assert breaker.paused_for(11.0) == 0
    breaker.on_start("event", 11.0)
    assert breaker.paused_for(11.0) == 0


def test_what_it_asks_for_is_given_within_reason() -> None:
    breaker = CircuitBreaker(STATUS_API_BREAKER)
    breaker.record_failure("event", 10.0, timedelta(seconds=20))
    assert breaker.paused_for(10.0) == 20
    breaker.record_failure("event", 10.0, timedelta(days=1))
    assert breaker.paused_for(10.0) == STATUS_API_BREAKER.longest_pause
