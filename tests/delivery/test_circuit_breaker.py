import pytest

from relay.delivery.circuit_breaker import Breaker

ANY_NUMBER = None


def opened(now: float = 100.0) -> Breaker:
    breaker = Breaker()
    for failure in range(10):
        breaker.unreachable(f"event {failure}", now)
    assert breaker.is_open
    return breaker


def test_it_begins_closed() -> None:
    breaker = Breaker()
    assert not breaker.is_open
    assert breaker.allowance(0.0, 0) is ANY_NUMBER


def test_ten_failures_in_a_row_open_it_and_nine_do_not() -> None:
    breaker = Breaker()
    for failure in range(9):
        breaker.unreachable(f"event {failure}", 100.0)
    assert not breaker.is_open
    breaker.unreachable("event 9", 100.0)
    assert breaker.is_open


@pytest.mark.parametrize(("events", "opens"), [(1, False), (2, False), (3, True)])
def test_failures_of_fewer_than_three_events_never_open_it(events: int, opens: bool) -> None:
    breaker = Breaker()
    for failure in range(100):
        breaker.unreachable(f"event {failure % events}", 100.0)
    assert breaker.is_open is opens


def test_an_answer_begins_the_row_anew() -> None:
    breaker = Breaker()
    for failure in range(9):
        breaker.unreachable(f"event {failure}", 100.0)
    breaker.answered()
    for failure in range(9):
        breaker.unreachable(f"event {failure}", 100.0)
    assert not breaker.is_open


def test_the_events_before_an_answer_do_not_count() -> None:
    breaker = Breaker()
    breaker.unreachable("a", 100.0)
    breaker.unreachable("b", 100.0)
    breaker.answered()
    for _ in range(20):
        breaker.unreachable("c", 100.0)
    assert not breaker.is_open


def test_nothing_goes_out_for_five_seconds_then_one_probe() -> None:
    breaker = opened(100.0)
    assert breaker.allowance(100.0, 0) == 0
    assert breaker.allowance(104.9, 0) == 0
    assert breaker.probe_in(104.0) == pytest.approx(1.0)
    assert breaker.allowance(105.0, 0) == 1
    breaker.begun("probe")
    assert breaker.allowance(105.0, 0) == 0
    assert breaker.allowance(1000.0, 0) == 0


def test_a_probe_that_found_nothing_to_send_is_still_owed() -> None:
    breaker = opened(100.0)
    assert breaker.allowance(105.0, 0) == 1
    assert breaker.allowance(106.0, 0) == 1


def test_pauses_double_up_to_a_minute() -> None:
    breaker, now, pauses = opened(100.0), 100.0, []
    for _ in range(7):
        pauses.append(breaker.probe_in(now))
        now += pauses[-1]
        breaker.begun("probe")
        breaker.unreachable("probe", now)
    assert pauses == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0]


def test_any_answer_closes_it_and_the_pauses_begin_anew() -> None:
    breaker = opened(100.0)
    breaker.begun("probe")
    breaker.unreachable("probe", 105.0)
    breaker.begun("probe")
    breaker.answered()
    assert not breaker.is_open
    assert breaker.allowance(115.0, 0) == 2
    for failure in range(10):
        breaker.unreachable(f"event {failure}", 200.0)
    assert breaker.probe_in(200.0) == 5.0


def test_a_closed_breaker_needs_ten_failures_again() -> None:
    breaker = opened(100.0)
    breaker.answered()
    breaker.unreachable("a", 106.0)
    assert not breaker.is_open


def test_attempts_that_fail_late_do_not_lengthen_the_pause() -> None:
    breaker = opened(100.0)
    breaker.unreachable("straggler", 104.0)
    assert breaker.allowance(105.0, 0) == 1
    breaker.begun("probe")
    breaker.unreachable("straggler", 105.5)
    assert breaker.allowance(105.5, 0) == 0
    breaker.unreachable("probe", 106.0)
    assert breaker.probe_in(106.0) == 10.0


def test_an_answer_to_a_late_attempt_closes_it() -> None:
    breaker = opened(100.0)
    breaker.answered()
    assert breaker.allowance(100.1, 0) == 2


def test_attempts_come_back_step_by_step() -> None:
    breaker = opened(100.0)
    breaker.begun("probe")
    breaker.answered()
    assert [breaker.allowance(105.0, under_way) for under_way in range(4)] == [2, 1, 0, 0]
    breaker.answered()
    breaker.answered()
    assert breaker.allowance(105.0, 1) == 3
    for _ in range(59):
        breaker.answered()
    assert breaker.allowance(105.0, 0) == 63
    breaker.answered()
    assert breaker.allowance(105.0, 1000) is ANY_NUMBER


def test_a_breaker_that_opens_again_begins_its_ramp_anew() -> None:
    breaker = opened(100.0)
    for _ in range(10):
        breaker.answered()
    for failure in range(10):
        breaker.unreachable(f"event {failure}", 200.0)
    assert breaker.allowance(205.0, 0) == 1
    breaker.begun("probe")
    breaker.answered()
    assert breaker.allowance(205.0, 0) == 2


def test_an_abandoned_probe_makes_room_for_another() -> None:
    breaker = opened(100.0)
    breaker.begun("probe")
    breaker.abandoned("somebody else")
    assert breaker.allowance(105.0, 0) == 0
    breaker.abandoned("probe")
    assert breaker.is_open
    assert breaker.allowance(105.0, 0) == 1
