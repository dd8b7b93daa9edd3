"""What the acts in every spool keep to: subclass it and give a fixture `opener`."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.core.errors import SpoolUnavailable
from relay.spool.audit import Act, Actor
from tests.contracts.spool import Opener
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED


def act(number: int) -> Act:
    """Return one that differs from those of other numbers."""
    at = RECEIVED + timedelta(seconds=number)
    return Act(at, Actor.TOKEN, f"192.0.2.{number}", "requeue", {"events": [f"evt_{number}"]})


class AuditContract:
    async def test_the_newest_come_first(self, opener: Opener) -> None:
        spool = await opener(ManualClock())
        assert await spool.audit.newest(10) == ()
        for number in range(3):
            await spool.audit.add(act(number))
        assert await spool.audit.newest(2) == (act(2), act(1))
        await spool.close()

    async def test_they_are_found_by_time_and_by_actor(self, opener: Opener) -> None:
        spool = await opener(ManualClock())
        done = [replace(act(n), actor=[Actor.TOKEN, Actor.CLI][n % 2]) for n in range(5)]
        for each in done:
            await spool.audit.add(each)
        later = RECEIVED + timedelta(seconds=2)
        assert await spool.audit.newest(10, since=later) == (done[4], done[3], done[2])
        assert await spool.audit.newest(10, actor=Actor.CLI) == (done[3], done[1])
        assert await spool.audit.newest(10, since=later, actor=Actor.CLI) == (done[3],)
        assert await spool.audit.newest(1, actor=Actor.TOKEN) == (done[4],)
        await spool.close()

    async def test_another_process_sees_them_and_a_restart_keeps_them(self, opener: Opener) -> None:
        one, other = await opener(ManualClock()), await opener(ManualClock())
        await asyncio.gather(one.audit.add(act(1)), other.audit.add(act(2)))
        assert sorted(each.origin for each in await other.audit.newest(10)) == [
            *("192.0.2.1", "192.0.2.2")
        ]
        await one.close()
        await other.close()
        again = await opener(ManualClock())
        assert len(await again.audit.newest(10)) == 2
        await again.close()

    async def test_a_closed_spool_keeps_none(self, opener: Opener) -> None:
        spool = await opener(ManualClock())
        await spool.close()
        with pytest.raises(SpoolUnavailable):
            await spool.audit.add(act(1))
