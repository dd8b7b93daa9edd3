"""SIGTERM under load: whoever was acknowledged stays so, and nothing is delivered twice."""

import asyncio
from pathlib import Path
from random import Random

import pytest

from tests.harness.lives import Life, Lives
from tests.harness.load import Load
from tests.harness.story import one_story
from tests.harness.upstream import Upstream
from tests.proofs import promise
from tests.proofs.lengths import dice, lengths, tell
from tests.proofs.setting import MESSAGES, on_fresh_spools

pytestmark = pytest.mark.proof

#: Ends that one spool lives through.
_ON_ONE_SPOOL = 20

#: Seconds under load at most.
_SERVING = 0.15


@lengths(short=20, long=200)
async def test_what_was_acknowledged_outlives_ends(
    times: int, tmp_path: Path, upstream: Upstream
) -> None:
    chance = dice()
    for ends, relays in on_fresh_spools(times, _ON_ONE_SPOOL, tmp_path, upstream):
        await _outlives(ends, relays, upstream, chance)


async def _outlives(ends: int, relays: Lives, upstream: Upstream, chance: Random) -> None:
    load = Load(MESSAGES, chance)
    for _ in range(ends):
        async with relays.next() as life:
            await _end_under_load(life, load, chance)
        ledger = relays.left_behind()
        promise.stored_what_it_should(ledger, load)
        assert ledger.having("leased") == set(), "left leased by an end in good order"
    left = relays.left_behind().having("pending")
    async with relays.next() as last:
        came_again = await load.come_again(last.public[0])
        if came_again:
            await last.wait_for(came_again, event="delivery")
        new = {line["id"] for line in last.having(event="delivery", verdict="accepted")}
        await promise.has_delivered(last, *left, *new)
        ledger = await one_story(last, relays)
        assert await last.end() == 0
    load.check()
    promise.stored_what_it_should(ledger, load)
    promise.delivered_what_it_stored(ledger, upstream.received)
    # The upstream answers at once, so nothing has to be cut short and sent again.
    assert len(upstream.received) == len(ledger.rows)
    assert load.acknowledged, "nothing was acknowledged: this has proven nothing"
    tell(ends=ends, stored=len(ledger.rows), answers=dict(load.answers), came_again=came_again)


async def _end_under_load(life: Life, load: Load, chance: Random) -> None:
    """End a life in good order; every sender has an answer, or a connection that is closed."""
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run(life.public[0]))
        await asyncio.sleep(chance.uniform(0, _SERVING))
        assert await life.end() == 0
    assert life.lines[-1]["event"] == "stopped"
    assert life.noise == []
