"""Relay is started while its disk is full."""

import signal
from pathlib import Path

import pytest

from tests.durability.afterwards import same_story
from tests.durability.conftest import some
from tests.durability.messages import messages, send_all
from tests.durability.rooms import Deliveries, accepts_again, all_there, refused_properly, volume_of
from tests.harness.ledger import of_the_dead
from tests.harness.story import one_story_in_the_end
from tests.harness.upstream import Upstream
from tests.harness.volume import fill
from tests.harness.wrapped import WrappedNode
from tests.system.conftest import ENVIRON

pytestmark = pytest.mark.proof


@pytest.mark.timeout(120)
async def test_without_a_spool_it_says_that_it_cannot_make_one(
    tmp_path: Path, upstream: Upstream
) -> None:
    with volume_of(tmp_path, 8, upstream) as config:
        others = fill(tmp_path / "volume")
        node = WrappedNode(config, ENVIRON)
        await node.launch()
        try:
            assert not await node.listening()
            assert await node.ended() == 1
        finally:
            await node.end(signal.SIGKILL)
        said = "".join(node.noise)
        assert "relay.db" in said or "spool" in said
        assert "Traceback" not in said
        others.unlink()
        async with WrappedNode(config, ENVIRON) as again:
            answered = await send_all(again.public[0], some(10))
            assert not refused_properly(answered)
            await same_story(again, config, tmp_path / "volume" / "relay.db")
            assert await again.end() == 0


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "end",
    [
        pytest.param(signal.SIGKILL, id="killed"),
        pytest.param(signal.SIGTERM, id="stopped", marks=pytest.mark.long),
    ],
)
async def test_what_waits_is_delivered_and_nothing_new_is_taken_until_there_is_room(
    tmp_path: Path, upstream: Upstream, end: signal.Signals
) -> None:
    deliveries = Deliveries(upstream)
    fresh = iter(messages(1000))
    with volume_of(tmp_path, 8, upstream) as config:
        volume = tmp_path / "volume"
        spool = volume / "relay.db"
        deliveries.refuse()
        async with WrappedNode(config, ENVIRON) as node:
            before = await send_all(node.public[0], [next(fresh) for _ in range(40)])
            assert not refused_properly(before)
            await node.end(end)
        others = fill(volume)
        deliveries.take()
        async with WrappedNode(config, ENVIRON) as node:
            await deliveries.hold(before, 10)
            full = await send_all(node.public[0], [next(fresh) for _ in range(20)])
            assert refused_properly(full)
            others.unlink()
            after = await accepts_again(node.public[0], fresh)
            await one_story_in_the_end(node, config, spool, ENVIRON)
            assert await node.end() == 0
        assert of_the_dead(spool).having("dead") == set()
        await all_there(spool, [*before, *full, *after])
