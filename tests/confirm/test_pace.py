from datetime import timedelta

from relay.confirm.pace import FAILURES, LONGEST_REST, Bucket, Rest


def test_a_second_after_nothing_was_asked_so_many_go_at_once() -> None:
    bucket = Bucket(4)
    waits = [bucket.reserve(100.0, 10) for _ in range(6)]
    assert waits == [0.0, 0.0, 0.0, 0.0, 0.25, 0.5]


def test_time_that_passes_makes_room_but_never_for_more() -> None:
    bucket = Bucket(2)
    assert [bucket.reserve(0.0, 10) for _ in range(3)] == [0.0, 0.0, 0.5]
    assert bucket.reserve(2.0, 10) == 0.0
    assert [bucket.reserve(90.0, 10) for _ in range(3)] == [0.0, 0.0, 0.5]


def test_one_a_second_is_one_a_second() -> None:
    bucket = Bucket(1)
    assert [bucket.reserve(5.0, 10) for _ in range(3)] == [0.0, 1.0, 2.0]


def test_a_place_that_would_be_too_far_off_is_not_taken() -> None:
    bucket = Bucket(1)
    bucket.reserve(0.0, 5)
    assert bucket.reserve(0.0, 0.5) is None
    assert bucket.reserve(0.0, 5) == 1.0


def test_an_api_that_does_not_answer_is_left_alone_for_longer_each_time() -> None:
    rest = Rest()
    for _ in range(FAILURES - 1):
        rest.failed(10.0)
    assert rest.left(10.0) == 0
    pauses = []
    for _ in range(8):
        rest.failed(10.0)
        pauses.append(rest.left(10.0))
    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_REST, LONGEST_REST]


def test_after_a_rest_one_question_tries_it() -> None:
    rest = Rest()
    for _ in range(FAILURES):
        rest.failed(10.0)
    assert rest.left(11.0) == 0
    rest.asked(11.0)
    assert rest.left(11.0) > 0
    rest.answered()
    assert rest.left(11.0) == 0
    rest.asked(11.0)
    assert rest.left(11.0) == 0


def test_what_it_asks_for_is_given_within_reason() -> None:
    rest = Rest()
    rest.failed(10.0, timedelta(seconds=20))
    assert rest.left(10.0) == 20
    rest.failed(10.0, timedelta(days=1))
    assert rest.left(10.0) == LONGEST_REST
