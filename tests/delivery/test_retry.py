from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.event import (
    Dead,
    Delivered,
    Done,
    Held,
    Outcome,
    Rejected,
    RetryAt,
    Unconfirmed,
    Unreachable,
)
from relay.delivery.retry import RetryPolicy, decide, may_go_unconfirmed
from tests.harness.deliveries import RECEIVED_AT as SINCE
from tests.harness.deliveries import lease_of

POLICY = RetryPolicy(
    schedule=(timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=2)),
    give_up_after=timedelta(hours=72),
)
FAILURES: list[Outcome] = [
    Unreachable("refused"),
    Rejected(100),
    Rejected(304),
    Rejected(302),
    Rejected(400),
    Rejected(410),
    Rejected(500),
]


class Middle(Random):
    """Dice that show the middle."""

    def random(self) -> float:
        return 0.5


def due(outcome: Outcome, turn: int, now: datetime = SINCE, dice: Random | None = None) -> datetime:
    decision = decide(outcome, lease_of(turn=turn), now, POLICY, dice or Middle())
    assert isinstance(decision, RetryAt)
    return decision.due


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_delivered_is_done(status: int) -> None:
    assert decide(Delivered(status), lease_of(), SINCE, POLICY, Middle()) == Done()


def test_delivered_is_done_however_late() -> None:
    late = SINCE + timedelta(days=365)
    assert decide(Delivered(200), lease_of(turn=99), late, POLICY, Middle()) == Done()


@pytest.mark.parametrize("outcome", FAILURES)
def test_everything_else_is_tried_again(outcome: Outcome) -> None:
    assert due(outcome, 1) == SINCE + timedelta(seconds=5)


@pytest.mark.parametrize(("turn", "seconds"), [(1, 5), (2, 30), (3, 120), (4, 120), (1000, 120)])
def test_the_schedule_is_followed_and_its_last_delay_repeats(turn: int, seconds: int) -> None:
    assert due(Rejected(500), turn) == SINCE + timedelta(seconds=seconds)


def test_delays_are_spread_by_a_tenth_both_ways() -> None:
    dice = Random(1)
    delays = [(due(Rejected(500), 2, dice=dice) - SINCE).total_seconds() for _ in range(500)]
    assert 27 <= min(delays) < 27.5
    assert 32.5 < max(delays) <= 33


def test_retry_after_puts_a_retry_off() -> None:
    assert due(Rejected(429, timedelta(minutes=3)), 1) == SINCE + timedelta(minutes=3)


def test_retry_after_never_brings_a_retry_forward() -> None:
    assert due(Rejected(503, timedelta(0)), 2) == SINCE + timedelta(seconds=30)


def test_retry_after_is_believed_for_an_hour_at_most() -> None:
    assert due(Rejected(503, timedelta(days=30)), 1) == SINCE + timedelta(hours=1)


def test_a_retry_past_the_end_is_made_at_the_end() -> None:
    now = SINCE + timedelta(hours=72) - timedelta(seconds=20)
    assert due(Rejected(500), 3, now) == SINCE + timedelta(hours=72)


@pytest.mark.parametrize("late", [timedelta(0), timedelta(seconds=1), timedelta(days=9)])
@pytest.mark.parametrize("outcome", FAILURES)
def test_an_event_is_dead_when_its_time_is_over(outcome: Outcome, late: timedelta) -> None:
    now = SINCE + timedelta(hours=72) + late
    assert decide(outcome, lease_of(), now, POLICY, Middle()) == Dead()


def test_a_final_status_ends_it_at_once_whatever_retry_after_says() -> None:
    policy = replace(POLICY, final=frozenset({400, 422}))
    for outcome in (Rejected(422), Rejected(400, timedelta(minutes=3))):
        assert decide(outcome, lease_of(), SINCE, policy, Middle()) == Dead(final=True)
        assert decide(outcome, lease_of(turn=7), SINCE, policy, Middle()) == Dead(final=True)


def test_a_status_that_is_not_among_the_final_ones_is_tried_again() -> None:
    policy = replace(POLICY, final=frozenset({400, 422}))
    assert isinstance(decide(Rejected(410), lease_of(), SINCE, policy, Middle()), RetryAt)
    end = SINCE + policy.give_up_after
    assert decide(Rejected(410), lease_of(), end, policy, Middle()) == Dead()


@pytest.mark.parametrize(
    ("turn", "seconds"), [(1, 6), (2, 30), (3, 120), (6, 192), (8, 768), (11, 3600), (1000, 3600)]
)
def test_retries_leave_room_for_others_where_there_is_a_rate(turn: int, seconds: float) -> None:
    policy = replace(POLICY, spacing=timedelta(seconds=6))
    for outcome in (Rejected(500), Unreachable("timeout")):
        decision = decide(outcome, lease_of(turn=turn), SINCE, policy, Middle())
        assert decision == RetryAt(SINCE + timedelta(seconds=seconds))
    # A question takes nothing from the upstream.
    asked = decide(Unconfirmed("no answer"), lease_of(turn=1), SINCE, policy, Middle())
    assert asked == RetryAt(SINCE + timedelta(seconds=5))


def test_what_is_not_confirmed_comes_again_and_is_held_in_the_end() -> None:
    nothing = Unconfirmed("not found")
    assert decide(nothing, lease_of(), SINCE, POLICY, Middle()) == RetryAt(
        SINCE + timedelta(seconds=5)
    )
    asked = Unconfirmed("too many requests", timedelta(minutes=3))
    assert decide(asked, lease_of(), SINCE, POLICY, Middle()) == RetryAt(
        SINCE + timedelta(minutes=3)
    )
    end = SINCE + timedelta(hours=72)
    assert decide(nothing, lease_of(), end, POLICY, Middle()) == Held()


def test_what_the_provider_contradicts_is_held_at_once() -> None:
    contradicted = Unconfirmed("order_id differs", final=True)
    assert decide(contradicted, lease_of(), SINCE, POLICY, Middle()) == Held()


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("turn", "seconds"), [(1, 5), (2, 30), (3, 120), (4, 600), (5, 600), (1000, 600)]
)
def test_what_is_not_known_yet_is_asked_again_by_a_schedule_of_its_own(
    strict: bool, turn: int, seconds: int
) -> None:
    not_yet = Unconfirmed("not found", not_yet=True, strict=strict)
    found = decide(not_yet, lease_of(turn=turn), SINCE, POLICY, Middle())
    assert found == RetryAt(SINCE + timedelta(seconds=seconds))


def test_questions_end_at_the_time_that_is_named_and_one_is_asked_then() -> None:
    end = SINCE + timedelta(hours=1)
    for strict in (True, False):
        not_yet = Unconfirmed("not found", not_yet=True, strict=strict, until=end)
        early, lease = end - timedelta(seconds=1), lease_of(turn=9)
        assert decide(not_yet, lease, early, POLICY, Middle()) == RetryAt(end)
        assert not may_go_unconfirmed(not_yet, lease, early, POLICY)
        assert decide(not_yet, lease, end, POLICY, Middle()) == Held()
        assert may_go_unconfirmed(not_yet, lease, end, POLICY) is not strict


def test_questions_end_with_the_upstreams_time_where_that_is_less() -> None:
    late = SINCE + timedelta(days=9)
    not_yet = Unconfirmed("not found", not_yet=True, until=late)
    end = SINCE + timedelta(hours=72)
    assert decide(not_yet, lease_of(), end, POLICY, Middle()) == Held()
    assert isinstance(
        decide(not_yet, lease_of(), end - timedelta(seconds=1), POLICY, Middle()), RetryAt
    )


def test_half_of_the_time_is_left_for_the_upstream() -> None:
    half = SINCE + timedelta(hours=36)
    early, lease = half - timedelta(seconds=1), lease_of()
    for until in (None, SINCE + timedelta(hours=70)):
        nothing = Unconfirmed("reset", strict=False, until=until)
        assert not may_go_unconfirmed(nothing, lease, early, POLICY)
        assert may_go_unconfirmed(nothing, lease, half, POLICY)


def test_what_is_contradicted_never_goes_unconfirmed() -> None:
    contradicted = Unconfirmed("order_id differs", final=True, strict=False)
    late = SINCE + timedelta(days=9)
    assert not may_go_unconfirmed(contradicted, lease_of(), late, POLICY)


def test_a_clock_that_was_set_back_kills_nothing() -> None:
    before = SINCE - timedelta(days=400)
    assert due(Rejected(500), 1, before) == before + timedelta(seconds=5)


@given(
    turn=st.integers(1, 10**6),
    age=st.timedeltas(timedelta(0), timedelta(hours=71, minutes=59)),
    wait=st.none() | st.timedeltas(timedelta(0), timedelta(days=10**6)),
    seed=st.integers(0, 1000),
)
def test_a_retry_lies_ahead_and_within_the_round(
    turn: int, age: timedelta, wait: timedelta | None, seed: int
) -> None:
    now = SINCE + age
    assert now < due(Rejected(503, wait), turn, now, Random(seed)) <= SINCE + timedelta(hours=72)


@pytest.mark.parametrize(
    ("schedule", "give_up_after"),
    [
        ((), timedelta(1)),
        ((timedelta(0),), timedelta(1)),
        ((timedelta(1), timedelta(-1)), timedelta(1)),
        ((timedelta(1),), timedelta(0)),
    ],
)
def test_a_policy_that_cannot_work_is_refused(
    schedule: tuple[timedelta, ...], give_up_after: timedelta
) -> None:
    with pytest.raises(ValueError, match=r"schedule|positive"):
        RetryPolicy(schedule, give_up_after)
