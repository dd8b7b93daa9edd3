"""The system's clock, and the one that tests hand in, keep the same promises."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from relay.core.clock import Clock, Epoch, SystemClock, spelled_second
from tests.harness.clock import ManualClock


@pytest.mark.parametrize("clock", [SystemClock(), ManualClock()], ids=lambda c: type(c).__name__)
def test_wall_clock_time_is_aware_and_in_utc(clock: Clock) -> None:
    assert clock.now().tzinfo is UTC


async def test_the_systems_clock_does_not_go_backward() -> None:
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(0.001)
    assert clock.monotonic() >= before + 0.001


async def test_sleepers_wake_in_order_at_their_own_moment() -> None:
    clock, woken = ManualClock(), []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.monotonic()))

    began = clock.monotonic()
    async with asyncio.TaskGroup() as group:
        for seconds in (3.0, 1.0, 2.0):
            group.create_task(sleeper(seconds))
        await clock.advance(2.5)
        assert woken == [(1.0, began + 1), (2.0, began + 2)]
        await clock.advance(10)
    assert woken[-1] == (3.0, began + 3)


async def test_a_jump_of_the_wall_clock_wakes_nobody() -> None:
    clock = ManualClock()
    sleeping = asyncio.ensure_future(clock.sleep(5))
    clock.jump(timedelta(days=1))
    await clock.advance(4)
    assert not sleeping.done()
    await clock.advance(1)
    assert sleeping.done()


@pytest.mark.parametrize(
    "make", [SystemClock, lambda: ManualClock(boot="a")], ids=["system", "manual"]
)
def test_two_processes_can_have_one_steady_time(make: Callable[[], Clock]) -> None:
    ours, theirs = make(), make()
    epoch = ours.epoch()
    if epoch is None:
        pytest.skip("this system does not tell one start of it from the next: NOT tried")
    off = Epoch(epoch.boot, epoch.began - timedelta(days=1))
    ours.adopt(off)
    theirs.adopt(off)
    assert ours.epoch() == theirs.epoch() == off
    assert abs(theirs.steady() - ours.steady()) < timedelta(hours=1)
    assert timedelta(hours=23) < ours.now() - ours.steady() < timedelta(hours=25)


@pytest.mark.parametrize("timestamp", [0, 1, 951_782_399, 1_767_616_200, 4_102_444_799])
def test_a_second_is_spelled_as_isoformat_does(timestamp: int) -> None:
    moment = datetime.fromtimestamp(timestamp, UTC)
    assert spelled_second(timestamp) == moment.isoformat().removesuffix("+00:00")
