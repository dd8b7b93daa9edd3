"""SIGKILL at random moments under load loses nothing, and lets nothing in."""

import asyncio
import signal
from pathlib import Path
from random import Random

import pytest

from tests.crash import promises
from tests.crash.lengths import dice, lengths, tell
from tests.crash.relays import MESSAGES, on_fresh_spools
from tests.harness.consistency import check_consistency
from tests.harness.restarts import Kind, Life, Load, Restarts
from tests.harness.upstream import Upstream

pytestmark = pytest.mark.proof

#: Kills that one spool lives through.
_ON_ONE_SPOOL = 20

#: Seconds: how far a life gets at most, from its start when it is killed early, or under load.
_STARTING, _SERVING = 0.7, 0.15


@lengths(short=20, long=1000)
async def test_what_was_acknowledged_outlives_kills(
    times: int, tmp_path: Path, upstream: Upstream
) -> None:
    chance = dice()
    for kills, relays in on_fresh_spools(times, _ON_ONE_SPOOL, tmp_path, upstream):
        await _outlives(kills, relays, upstream, chance)


async def _outlives(kills: int, relays: Restarts, upstream: Upstream, chance: Random) -> None:
    load = Load(MESSAGES, chance)
    for _ in range(kills):
        await _live(relays.next(), load, chance)
        promises.stored_what_it_should(relays.left_behind(), load)
    left = relays.left_behind().having("pending", "leased")
    async with relays.next() as last:
        came_again, new = await promises.came_again(last, load)
        await promises.has_delivered(last, *left, *new)
        audit = await check_consistency(last, relays)
        assert await last.end() == 0
    load.check()
    promises.stored_what_it_should(audit, load)
    promises.delivered_what_it_stored(audit, upstream.received)
    assert load.acknowledged, "nothing was acknowledged: this has proven nothing"
    tell(
        kills=kills,
        stored=len(audit.rows),
        forged=len(load.forged),
        came_again=came_again,
        leased_or_pending_at_the_last_kill=len(left),
        extra_deliveries=len(upstream.received) - len(audit.rows),
        longest_start=f"{relays.longest_start:.2f}s",
    )


async def _live(life: Life, load: Load, chance: Random) -> None:
    """Run one life and kill it: mostly under load, sometimes while it starts."""
    await life.launch()
    if chance.random() < 0.2:
        await asyncio.sleep(chance.uniform(0, _STARTING))
        await life.end(signal.SIGKILL)
        return
    await life.ready()
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run(life.public[0]))
        await asyncio.sleep(chance.uniform(0, _SERVING))
        await life.end(signal.SIGKILL)


# ---- receiving and delivering apart ---------------------------------------------------------
# Receiving and delivering in processes of their own: one is killed, the other one goes on.

#: Kills that one spool lives through, and seconds until each at most.
_KILLS_APART, _DELIVERING = 20, 0.3


@lengths(short=3, long=100)
async def test_a_delivering_process_is_killed_beside_a_receiving_one(
    times: int, tmp_path: Path, upstream: Upstream
) -> None:
    chance = dice()
    for kills, relays in on_fresh_spools(times, _KILLS_APART, tmp_path, upstream):
        await _outlives_apart(kills, relays, upstream, chance)


async def _outlives_apart(kills: int, relays: Restarts, upstream: Upstream, chance: Random) -> None:
    load = Load(MESSAGES, chance)
    async with relays.next(role="edge") as edge, asyncio.TaskGroup() as group:
        group.create_task(load.run(edge.public[0], senders=2))
        for _ in range(kills):
            async with relays.next(role="dispatch") as life:
                await asyncio.sleep(chance.uniform(0, _DELIVERING))
                await life.end(signal.SIGKILL)
        # What was answered up to here was answered beside those who were killed.
        answers = dict(load.answers)
        assert await edge.end() == 0
        assert edge.noise == []
    genuine = {status for kind, status in answers if kind is not Kind.FORGED}
    assert genuine == {200}, f"a kill was felt on the other side: {answers}"
    left = relays.left_behind().having("pending", "leased")
    async with relays.next() as last:
        _, new = await promises.came_again(last, load)
        await promises.has_delivered(last, *left, *new)
        audit = await check_consistency(last, relays)
        assert await last.end() == 0
    load.check()
    promises.stored_what_it_should(audit, load)
    promises.delivered_what_it_stored(audit, upstream.received)
    extra = len(upstream.received) - len(audit.rows)
    tell(kills=kills, stored=len(audit.rows), left=len(left), extra_deliveries=extra)
