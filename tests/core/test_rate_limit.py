from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.rate_limit import (
    RETRY_INTERVAL,
    Backoff,
    FairRateLimiter,
    Rate,
    TokenBucket,
    backoff_pause,
)


def test_pauses_double_up_to_the_longest_and_start_again_after_a_reset() -> None:
    backoff = Backoff(0.1, 5.0)
    assert [backoff.next() for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    backoff.reset()
    assert [backoff.pause, backoff.next(), backoff.pause] == [0.1, 0.1, 0.2]


def test_an_outage_may_last_for_ever() -> None:
    assert [backoff_pause(1.0, 60.0, earlier) for earlier in (0, 3, 5, 6, 10**9)] == [
        1.0,
        8.0,
        32.0,
        60.0,
        60.0,
    ]


def test_a_second_after_nothing_was_asked_so_many_go_at_once() -> None:
    bucket = TokenBucket(4)
    waits = [bucket.reserve(100.0) for _ in range(6)]
    assert waits == [0.0, 0.0, 0.0, 0.0, 0.25, 0.5]


def test_time_that_passes_makes_room_but_never_for_more() -> None:
    bucket = TokenBucket(2)
    assert [bucket.reserve(0.0) for _ in range(3)] == [0.0, 0.0, 0.5]
    assert bucket.reserve(2.0) == 0.0
    assert [bucket.reserve(90.0) for _ in range(3)] == [0.0, 0.0, 0.5]


def test_one_a_second_is_one_a_second() -> None:
    bucket = TokenBucket(1)
    assert [bucket.reserve(5.0) for _ in range(3)] == [0.0, 1.0, 2.0]


def test_a_place_that_is_not_free_is_not_taken() -> None:
    bucket = TokenBucket(1)
    assert [bucket.try_acquire(0.0), bucket.try_acquire(0.25), bucket.try_acquire(0.25)] == [
        0.0,
        0.75,
        0.75,
    ]
    assert bucket.try_acquire(1.0) == 0.0


def test_who_has_to_wait_is_told_when_to_come_again_and_has_a_place() -> None:
    turns = FairRateLimiter(2)
    assert [turns.acquire(who, 0.0) for who in "abcd"] == [0.0, 0.0, 0.5, 1.0]
    # Too early: nothing is lost by it.
    assert turns.acquire("d", 0.5) == 0.5
    assert turns.acquire("c", 0.5) == 0.0
    # Who comes now waits behind those that came before.
    assert turns.acquire("e", 1.0) == 0.5
    assert turns.acquire("d", 1.0) == 0.0


def test_a_burst_is_asked_about_at_the_rate_in_the_order_it_came() -> None:
    turns, now = FairRateLimiter(10), 0.0
    due = dict.fromkeys(range(200), 0.0)
    asked: list[tuple[float, int]] = []
    while due:
        who = min(due, key=lambda each: due[each])
        now = max(now, due.pop(who))
        wait = turns.acquire(str(who), now)
        if wait > 0:
            due[who] = now + wait
        else:
            asked.append((now, who))
    assert [who for _, who in asked] == list(range(200))
    assert 18.9 < now < 19.2
    assert max(Counter(int(at) for at, _ in asked).values()) <= 20


def test_however_late_they_come_there_are_no_more_questions_in_a_second() -> None:
    turns, dice = FairRateLimiter(10), Random(1)
    due = {who: turns.acquire(str(who), 0.0) for who in range(100)}
    asked = [0.0] * sum(wait == 0 for wait in due.values())
    waiting = {who: 30.0 for who, wait in due.items() if wait}
    tries = 0
    while waiting:
        who = min(waiting, key=lambda each: waiting[each])
        now = waiting.pop(who)
        tries += 1
        wait = turns.acquire(str(who), now)
        if wait > 0:
            waiting[who] = now + wait + dice.uniform(0, 0.02)
        else:
            asked.append(now)
    for at in asked:
        assert sum(at <= other < at + 1 for other in asked) <= 21
    assert len(asked) == 100
    # Nobody asks in vain again and again.
    assert tries < 300


def test_places_are_kept_for_so_many_and_the_others_come_one_after_the_other() -> None:
    turns = FairRateLimiter(1, max_reservations=2)
    assert [turns.acquire(who, 0.0) for who in "abcdef"] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert [turns.acquire("b", 1.0), turns.acquire("c", 2.0), turns.acquire("d", 3.0)] == [0.0] * 3


def test_no_place_is_kept_for_who_does_not_come() -> None:
    turns = FairRateLimiter(1, max_reservations=1)
    assert [turns.acquire(who, 0.0) for who in "abc"] == [0.0, 1.0, 2.0]
    assert turns.acquire("c", 100.0) == 0.0
    assert turns.acquire("d", 100.0) == 1.0
    assert turns.acquire("d", 101.0) == 0.0


def test_who_finds_every_desk_taken_waits_behind_the_others() -> None:
    turns = FairRateLimiter(10)
    assert turns.acquire("a", 0.0) == 0.0
    assert turns.defer("a", 0.0) == RETRY_INTERVAL
    for who in range(20):
        turns.acquire(str(who), 0.0)
    assert turns.defer("b", 0.0) > 1


# ---- the rate of an upstream ------------------------------------------------------------------


def made_in(bucket: TokenBucket, seconds: int, step: float = 0.001) -> list[float]:
    """Return when calls are made by one that makes each as soon as it may, in so many seconds."""
    times, now = [], 0.0
    for turn in range(int(seconds / step) + 1):
        now = turn * step
        while bucket.try_acquire(now) == 0:
            times.append(now)
    return times


@pytest.mark.parametrize(
    ("rate", "seconds", "calls"),
    [
        (Rate(50, 1), 60, 3000),
        (Rate(1, 1), 60, 60),
        (Rate(90, 60), 60, 90),
        (Rate(10, 60), 600, 100),
        (Rate(5, 3600), 7200, 10),
    ],
)
def test_a_rate_is_held_in_the_long_run(rate: Rate, seconds: int, calls: int) -> None:
    step = 0.001 if rate.per_second > 10 else 0.01
    made = made_in(rate.bucket(0.0), seconds, step)
    assert calls * 0.98 <= len(made) <= calls + 1


@given(
    st.sampled_from([Rate(50, 1), Rate(3, 1), Rate(90, 60), Rate(10, 60), Rate(5, 3600)]),
    st.lists(st.floats(0, 100), max_size=60),
    st.lists(st.booleans(), min_size=60, max_size=60),
)
def test_no_second_sees_more_than_a_seconds_worth_besides_what_it_holds(
    rate: Rate, pauses: list[float], given_back: list[bool]
) -> None:
    bucket, now, times = rate.bucket(0.0), 0.0, []
    for pause, back in zip(pauses, given_back, strict=False):
        now += pause / max(1.0, rate.per_second)
        if bucket.try_acquire(now) == 0:
            if back:
                bucket.give_back()
            else:
                times.append(now)
    most = max(1.0, rate.per_second)
    for number, first in enumerate(times):
        for count, last in enumerate(times[number:], 1):
            assert count <= most + (last - first) * rate.per_second + 0.001


def test_a_bucket_that_is_made_anew_lets_one_call_go() -> None:
    bucket = Rate(50, 1).bucket(100.0)
    assert bucket.due_by(100.0, 100.0) == 1
    assert [bucket.try_acquire(100.0), bucket.try_acquire(100.0)] == pytest.approx([0.0, 0.02])


def test_what_is_due_by_a_time_is_what_may_be_made_until_then() -> None:
    bucket = Rate(10, 1).bucket(0.0)
    assert [bucket.due_by(0.0, end) for end in (0.0, 0.05, 0.1, 1.0)] == [1, 1, 2, 11]
    # After a pause it holds a second's worth, and no more.
    assert [bucket.due_by(50.0, end) for end in (50.0, 51.0)] == [10, 20]
    slow = Rate(5, 3600).bucket(0.0)
    assert slow.try_acquire(0.0) == 0
    assert [slow.due_by(0.0, end) for end in (0.0, 719.9, 720.0, 1440.0)] == [0, 0, 1, 2]


def test_what_is_given_back_may_be_made_again_at_once() -> None:
    bucket = Rate(5, 3600).bucket(0.0)
    assert bucket.try_acquire(10.0) == 0
    assert bucket.wait(10.0) == pytest.approx(720.0)
    bucket.give_back()
    assert bucket.wait(10.0) == 0
