import asyncio

from relay.spool.sqlite import Bells
from tests.harness.clock import ManualClock


async def test_everyone_who_waits_is_woken() -> None:
    bells = Bells(ManualClock())
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(bells.wait("billing", 10))
        await asyncio.sleep(0)
        bells.ring("billing")


async def test_it_rings_until_somebody_looks() -> None:
    clock = ManualClock()
    bells = Bells(clock)
    bells.ring("billing")
    await bells.wait("billing", 10)
    await bells.wait("billing", 10)
    bells.silence("billing")
    waiting = asyncio.ensure_future(bells.wait("billing", 10))
    await clock.advance(9)
    assert not waiting.done()
    await clock.advance(1)
    await waiting


async def test_no_time_is_no_wait() -> None:
    await Bells(ManualClock()).wait("billing", 0)


async def test_waiting_can_be_given_up() -> None:
    clock = ManualClock()
    waiting = asyncio.ensure_future(Bells(clock).wait("billing", 10))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait((waiting,))
    assert waiting.cancelled()
    assert clock.sleeping == 0
