"""Receiving and delivering in processes of their own: one is killed, the other one goes on."""

import asyncio
import signal
from pathlib import Path
from random import Random

import pytest

from tests.harness.lives import Lives
from tests.harness.load import Kind, Load
from tests.harness.story import one_story
from tests.harness.upstream import Upstream
from tests.proofs import promise
from tests.proofs.lengths import dice, lengths, tell
from tests.proofs.setting import MESSAGES, on_fresh_spools

pytestmark = pytest.mark.proof

#: Kills that one spool lives through, and seconds until each at most.
_ON_ONE_SPOOL, _DELIVERING = 20, 0.3


@lengths(short=3, long=100)
async def test_a_delivering_process_is_killed_beside_a_receiving_one(
    times: int, tmp_path: Path, upstream: Upstream
) -> None:
    chance = dice()
    for kills, relays in on_fresh_spools(times, _ON_ONE_SPOOL, tmp_path, upstream):
        await _outlives(kills, relays, upstream, chance)


async def _outlives(kills: int, relays: Lives, upstream: Upstream, chance: Random) -> None:
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
        await load.come_again(last.public[0])
        new = {line["id"] for line in last.having(event="delivery", verdict="accepted")}
        await promise.has_delivered(last, *left, *new)
        ledger = await one_story(last, relays)
        assert await last.end() == 0
    load.check()
    promise.stored_what_it_should(ledger, load)
    promise.delivered_what_it_stored(ledger, upstream.received)
    extra = len(upstream.received) - len(ledger.rows)
    tell(kills=kills, stored=len(ledger.rows), left=len(left), extra_deliveries=extra)
