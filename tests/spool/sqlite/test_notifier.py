"""Whoever waits for an upstream is woken, or its time is over."""

import asyncio

from relay.spool.sqlite.notifier import Notifier
from tests.harness.clock import ManualClock


async def test_everyone_who_waits_is_woken() -> None:
    notifier = Notifier(ManualClock())
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(notifier.wait("billing", 10))
        await asyncio.sleep(0)
        notifier.notify("billing")


async def test_it_rings_until_somebody_looks() -> None:
    clock = ManualClock()
    notifier = Notifier(clock)
    notifier.notify("billing")
    await notifier.wait("billing", 10)
    await notifier.wait("billing", 10)
    notifier.clear("billing")
    waiting = asyncio.ensure_future(notifier.wait("billing", 10))
    await clock.advance(9)
    assert not waiting.done()
    await clock.advance(1)
    await waiting


async def test_no_time_is_no_wait() -> None:
    await Notifier(ManualClock()).wait("billing", 0)


async def test_waiting_can_be_given_up() -> None:
    clock = ManualClock()
    waiting = asyncio.ensure_future(Notifier(clock).wait("billing", 10))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait((waiting,))
    assert waiting.cancelled()
    assert clock.sleeping == 0
