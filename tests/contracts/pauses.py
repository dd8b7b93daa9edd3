"""What the pauses in every spool keep to: subclass it and give a fixture `opener`."""

import asyncio

import pytest

from relay.core.errors import SpoolUnavailable
from relay.spool.audit import Actor
from relay.spool.pauses import Pause
from tests.contracts.spool import Opener
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED

PAUSE = Pause(RECEIVED, Actor.CLI)


class PauseContract:
    async def test_an_upstream_without_any_event_is_paused_and_resumed(
        self, opener: Opener
    ) -> None:
        spool = await opener(ManualClock())
        assert await spool.pauses.all() == {}
        assert await spool.pauses.pause("ledger", Actor.CLI, RECEIVED)
        assert await spool.pauses.pause("billing", Actor.TOKEN, RECEIVED)
        found = await spool.pauses.all()
        assert list(found.items()) == [("billing", Pause(RECEIVED, Actor.TOKEN)), ("ledger", PAUSE)]
        assert await spool.pauses.resume("billing")
        assert await spool.pauses.all() == {"ledger": PAUSE}
        await spool.close()

    async def test_a_second_pause_changes_nothing_and_a_second_resume_says_so(
        self, opener: Opener
    ) -> None:
        spool, clock = await opener(ManualClock()), ManualClock()
        assert await spool.pauses.pause("billing", Actor.CLI, RECEIVED)
        assert not await spool.pauses.pause("billing", Actor.TOKEN, clock.now())
        assert await spool.pauses.all() == {"billing": PAUSE}
        assert await spool.pauses.resume("billing")
        assert not await spool.pauses.resume("billing")
        assert not await spool.pauses.resume("of no name that was ever seen")
        await spool.close()

    async def test_another_process_sees_it_and_a_restart_keeps_it(self, opener: Opener) -> None:
        one, other = await opener(ManualClock()), await opener(ManualClock())
        paused = await asyncio.gather(
            one.pauses.pause("billing", Actor.CLI, RECEIVED),
            other.pauses.pause("billing", Actor.CLI, RECEIVED),
        )
        assert sorted(paused) == [False, True]
        assert await other.pauses.all() == await one.pauses.all() == {"billing": PAUSE}
        await one.close()
        await other.close()
        again = await opener(ManualClock())
        assert await again.pauses.all() == {"billing": PAUSE}
        await again.close()

    async def test_a_closed_spool_pauses_nothing(self, opener: Opener) -> None:
        spool = await opener(ManualClock())
        await spool.close()
        with pytest.raises(SpoolUnavailable):
            await spool.pauses.pause("billing", Actor.CLI, RECEIVED)
        with pytest.raises(SpoolUnavailable):
            await spool.pauses.all()
