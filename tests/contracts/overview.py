"""What the overview of every spool keeps to: subclass it and give a fixture `opener`."""

from dataclasses import replace
from datetime import timedelta

import pytest

from relay.core.errors import Reason, SpoolUnavailable
from relay.core.event import Dead, Held, RetryAt, Unreachable
from relay.spool import Spool
from relay.spool.overview import Overview, Waiting
from relay.spool.refusals import RefusalLimits
from tests.contracts.fan_out import dead_at, finish_at
from tests.contracts.refusals import refused
from tests.contracts.spool import Opener, finish, stored, take
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED, verified


async def overview(spool: Spool) -> Overview:
    """Return it without sizes; all refusals count."""
    return replace(await spool.overview.read(RECEIVED, RECEIVED), size=0, free=0)


class OverviewContract:
    async def test_nothing_waits_in_an_empty_spool(self, opener: Opener) -> None:
        spool = await opener(ManualClock())
        assert await overview(spool) == Overview()
        found = await spool.overview.read(RECEIVED, RECEIVED)
        assert found.size > 0
        assert found.free > 0
        await spool.close()

    async def test_what_is_pending_or_leased_is_the_backlog_of_its_upstream(
        self, opener: Opener
    ) -> None:
        clock = ManualClock()
        spool = await opener(clock)
        for number in range(4):
            at = RECEIVED + timedelta(seconds=number)
            await stored(spool, verified(key=f"k{number}", received_at=at))
        await stored(spool, verified(key="other", upstream="ledger", endpoint="vipps"))
        await finish(spool)
        await finish(spool, RetryAt(clock.now() + timedelta(hours=1)), Unreachable("refused"))
        await take(spool, 1)
        assert (await overview(spool)).backlog == {
            "billing": Waiting(3, RECEIVED + timedelta(seconds=1)),
            "ledger": Waiting(1, RECEIVED),
        }
        await spool.close()

    async def test_dead_and_held_are_counted_by_endpoint_since_the_first(
        self, opener: Opener
    ) -> None:
        clock = ManualClock()
        spool = await opener(clock)
        for number in range(3):
            await stored(spool, verified(key=f"k{number}"))
        first = clock.now()
        await finish(spool, Dead(), Unreachable("refused"))
        await clock.advance(60)
        await finish(spool, Dead(), Unreachable("refused"))
        await finish(spool, Held(), Unreachable("refused"))
        found = await overview(spool)
        assert (found.dead, found.dead_events, found.dead_since) == ({"midtrans": 2}, 2, first)
        assert (found.held, found.held_events, found.held_since) == (
            {"midtrans": 1},
            1,
            clock.now(),
        )
        assert found.backlog == {}
        assert found.damaged == Waiting()
        await spool.close()

    async def test_an_event_that_is_dead_or_held_at_two_upstreams_is_one(
        self, opener: Opener
    ) -> None:
        spool = await opener(ManualClock())
        await stored(spool, verified(key="k1", upstreams=("billing", "ledger", "audit")))
        for upstream in ("billing", "ledger", "audit"):
            await dead_at(spool, upstream)
        await stored(spool, verified(key="k2", upstreams=("billing", "ledger", "audit")))
        for upstream in ("billing", "ledger"):
            await finish_at(spool, upstream, Held(), Unreachable("refused"))
        found = await overview(spool)
        assert (found.dead, found.dead_events) == ({"midtrans": 3}, 1)
        assert (found.held, found.held_events) == ({"midtrans": 2}, 1)
        await spool.close()

    async def test_refusals_count_from_a_time_until_they_are_released(self, opener: Opener) -> None:
        spool = await opener(ManualClock())
        signed = replace(
            refused(3, seconds=30, reason=Reason.SOURCE_NOT_ALLOWED), signature_fits=True
        )
        kept = [refused(1, seconds=-1), refused(2, seconds=20), signed, refused(4, seconds=40)]
        await spool.refusals.keep(kept, RefusalLimits())
        found = await overview(spool)
        assert found.refused == Waiting(2, RECEIVED + timedelta(seconds=20))
        assert found.unknown_but_signed == Waiting(1, RECEIVED + timedelta(seconds=30))
        later = RECEIVED + timedelta(seconds=31)
        found = await spool.overview.read(later, later)
        assert (found.refused.number, found.unknown_but_signed.number) == (1, 0)
        for number in (2, 3):
            await spool.refusals.mark_released(f"ref_{number:03}", "evt", RECEIVED)
        found = await overview(spool)
        assert found.refused == Waiting(1, RECEIVED + timedelta(seconds=40))
        assert found.unknown_but_signed == Waiting()
        await spool.close()

    async def test_a_closed_spool_has_none(self, opener: Opener) -> None:
        spool = await opener(ManualClock())
        await spool.close()
        with pytest.raises(SpoolUnavailable):
            await overview(spool)
