import pytest

from relay.delivery.circuit_breaker import Breaker

ANY_NUMBER = None


def opened(now: float = 100.0) -> Breaker:
    breaker = Breaker()
    for failure in range(10):
        breaker.record_failure(f"event {failure}", now)
    assert breaker.is_open
    return breaker


def test_it_begins_closed() -> None:
    breaker = Breaker()
    assert not breaker.is_open
    assert breaker.permits(0.0, 0) is ANY_NUMBER


def test_ten_failures_in_a_row_open_it_and_nine_do_not() -> None:
    breaker = Breaker()
    for failure in range(9):
        breaker.record_failure(f"event {failure}", 100.0)
    assert not breaker.is_open
    breaker.record_failure("event 9", 100.0)
    assert breaker.is_open


@pytest.mark.parametrize(("events", "opens"), [(1, False), (2, False), (3, True)])
def test_failures_of_fewer_than_three_events_never_open_it(events: int, opens: bool) -> None:
    breaker = Breaker()
    for failure in range(100):
        breaker.record_failure(f"event {failure % events}", 100.0)
    assert breaker.is_open is opens


def test_an_answer_begins_the_row_anew() -> None:
    breaker = Breaker()
    for failure in range(9):
        breaker.record_failure(f"event {failure}", 100.0)
    breaker.record_success()
    for failure in range(9):
        breaker.record_failure(f"event {failure}", 100.0)
    assert not breaker.is_open


def test_the_events_before_an_answer_do_not_count() -> None:
    breaker = Breaker()
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
    assert breaker.trial_in(104.0) == pytest.approx(1.0)
    assert breaker.permits(105.0, 0) == 1
    breaker.on_start("probe")
    assert breaker.permits(105.0, 0) == 0
    assert breaker.permits(1000.0, 0) == 0


def test_a_probe_that_found_nothing_to_send_is_still_owed() -> None:
    breaker = opened(100.0)
    assert breaker.permits(105.0, 0) == 1
    assert breaker.permits(106.0, 0) == 1


def test_pauses_double_up_to_a_minute() -> None:
    breaker, now, pauses = opened(100.0), 100.0, []
    for _ in range(7):
        pauses.append(breaker.trial_in(now))
        now += pauses[-1]
        breaker.on_start("probe")
        breaker.record_failure("probe", now)
    assert pauses == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0]


def test_any_answer_closes_it_and_the_pauses_begin_anew() -> None:
    breaker = opened(100.0)
    breaker.on_start("probe")
    breaker.record_failure("probe", 105.0)
    breaker.on_start("probe")
    breaker.record_success()
    assert not breaker.is_open
    assert breaker.permits(115.0, 0) == 2
    for failure in range(10):
        breaker.record_failure(f"event {failure}", 200.0)
    assert breaker.trial_in(200.0) == 5.0


def test_a_closed_breaker_needs_ten_failures_again() -> None:
    breaker = opened(100.0)
    breaker.record_success()
    breaker.record_failure("a", 106.0)
    assert not breaker.is_open


def test_attempts_that_fail_late_do_not_lengthen_the_pause() -> None:
    breaker = opened(100.0)
    breaker.record_failure("straggler", 104.0)
    assert breaker.permits(105.0, 0) == 1
    breaker.on_start("probe")
    breaker.record_failure("straggler", 105.5)
    assert breaker.permits(105.5, 0) == 0
    breaker.record_failure("probe", 106.0)
    assert breaker.trial_in(106.0) == 10.0


def test_an_answer_to_a_late_attempt_closes_it() -> None:
    breaker = opened(100.0)
    breaker.record_success()
    assert breaker.permits(100.1, 0) == 2


def test_attempts_come_back_step_by_step() -> None:
    breaker = opened(100.0)
    breaker.on_start("probe")
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
    breaker.on_start("probe")
    breaker.record_success()
    assert breaker.permits(205.0, 0) == 2


def test_an_abandoned_probe_makes_room_for_another() -> None:
    breaker = opened(100.0)
    breaker.on_start("probe")
    breaker.ignore("somebody else")
    assert breaker.permits(105.0, 0) == 0
    breaker.ignore("probe")
    assert breaker.is_open
    assert breaker.permits(105.0, 0) == 1
