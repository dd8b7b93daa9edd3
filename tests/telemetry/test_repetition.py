"""A state that lasts is told when it begins, once a minute with a count, and when it ends."""

from datetime import timedelta

from relay.telemetry.repetition import RepeatedState
from tests.harness.clock import ManualClock


async def test_each_change_is_told_at_once() -> None:
    state = RepeatedState(ManualClock().now, good="ok")
    seen = ("ok", "ok", "timeout", "servfail", "timeout", "ok", "ok")
    assert [state.observe("a", each) for each in seen] == [None, None, 1, 1, 1, 1, None]


async def test_what_lasts_is_told_once_a_minute_with_a_count() -> None:
    clock = ManualClock()
    state = RepeatedState(clock.now, good="ok")
    counts = []
    for _ in range(9):
        counts.append(state.observe("a", "timeout"))
        await clock.advance(20)
    assert counts == [1, None, None, 3, None, None, 3, None, None]


async def test_names_are_told_apart() -> None:
    state = RepeatedState(ManualClock().now, good="ok")
    assert [state.observe(name, "timeout") for name in ("a", "b", "a")] == [1, 1, None]


async def test_a_clock_that_is_set_back_silences_nothing() -> None:
    times = [ManualClock().now() - timedelta(days=days) for days in range(3)]
    moments = iter(times)
    state = RepeatedState(lambda: next(moments), good="ok")
    assert [state.observe("a", "timeout") for _ in times] == [1, 1, 1]
