"""No room, no lock, no descriptors: refused patiently and in time, and over when it is over."""

import asyncio
import resource
import signal
from contextlib import closing
from pathlib import Path
from typing import Final

import apsw
import pytest

from tests.crash.messages import Answered, messages, send_all, some
from tests.crash.promises import check_consistency_afterwards
from tests.crash.small_disks import (
    Deliveries,
    accepts_again,
    all_there,
    refused_properly,
    volume_of,
)
from tests.harness.consistency import check_consistency_when_idle
from tests.harness.deliveries import ENVIRON
from tests.harness.optional_tools import fill
from tests.harness.spool_audit import audit_stopped
from tests.harness.traced_node import WrappedNode
from tests.harness.upstream import Upstream

pytestmark = pytest.mark.proof

#: With the disk full, what waits goes out about as fast as ever.
_WHILE_FULL: Final = 10.0
#: An attempt whose outcome could not be written down is made again when its lease has run out: the
#: upstream's timeout of 2 s, and 30 s. Then some.
_LEASE: Final = 40.0


async def _fill_and_free(
    tmp_path: Path, upstream: Upstream, times: int, *, while_full: bool
) -> None:
    """Fill the disk, see refusals, let it drain, free it, see acceptance; again and again."""
    fresh = iter(messages(times * 500 + 400, sizes=(0, 0, 1500)))
    answered: list[Answered] = []
    deliveries = Deliveries(upstream)
    with volume_of(tmp_path, 8, upstream) as config:
        volume = tmp_path / "volume"
        async with WrappedNode(config, ENVIRON) as node:
            for turn in range(times):
                deliveries.refuse()
                here = await send_all(node.public[0], [next(fresh) for _ in range(20)])
                assert not refused_properly(here), f"turn {turn}"
                ballast = fill(volume)
                full: list[Answered] = []
                # The log and the database may still have room of their own for a few.
                while not refused_properly(full):
                    assert len(full) < 400, "the disk did not get full"
                    full += await send_all(node.public[0], [next(fresh) for _ in range(40)])
                deliveries.take()
                answered += here + full
                if while_full:
                    await deliveries.hold(answered, _WHILE_FULL)
                ballast.unlink()
                answered += await accepts_again(node.public[0], fresh)
                await deliveries.hold(answered, _LEASE)
            await check_consistency_afterwards(node, config, volume / "relay.db")
            assert await node.end() == 0
        await all_there(volume / "relay.db", answered)


@pytest.mark.timeout(180)
async def test_a_full_disk_refuses_and_heals(tmp_path: Path, upstream: Upstream) -> None:
    await _fill_and_free(tmp_path, upstream, 1, while_full=False)


@pytest.mark.timeout(180)
async def test_delivery_goes_on_while_the_disk_is_full(tmp_path: Path, upstream: Upstream) -> None:
    await _fill_and_free(tmp_path, upstream, 2, while_full=True)


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_a_disk_that_is_full_again_and_again(tmp_path: Path, upstream: Upstream) -> None:
    await _fill_and_free(tmp_path, upstream, 20, while_full=True)


@pytest.mark.timeout(180)
async def test_a_disk_that_relay_fills_by_itself(tmp_path: Path, upstream: Upstream) -> None:
    """Nobody frees anything: what is refused is refused properly, what is acknowledged is there."""
    deliveries = Deliveries(upstream)
    deliveries.take()
    with volume_of(tmp_path, 8, upstream) as config:
        async with WrappedNode(config, ENVIRON) as node:
            answered = await send_all(node.public[0], messages(400, sizes=(30_000,)))
            assert refused_properly(answered)
            assert any(each.acknowledged for each in answered)
            await deliveries.hold(answered, _LEASE)
            await check_consistency_afterwards(node, config, tmp_path / "volume" / "relay.db")
            assert await node.end() == 0
        await all_there(tmp_path / "volume" / "relay.db", answered)


@pytest.mark.timeout(120)
async def test_a_limit_on_file_sizes_is_like_a_full_disk(config: Path, upstream: Upstream) -> None:
    """As a quota would. The limit is raised while relay runs."""
    fresh = iter(messages(700, sizes=(5000,)))
    limit = 1024 * 1024
    node = WrappedNode(config, ENVIRON, prefix=("prlimit", f"--fsize={limit}:unlimited"))
    async with node:
        answered = await send_all(node.public[0], [next(fresh) for _ in range(200)])
        assert refused_properly(answered)
        everything = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(node.pid, resource.RLIMIT_FSIZE, everything)
        answered += await accepts_again(node.public[0], fresh)
        again = await send_all(node.public[0], [next(fresh) for _ in range(50)])
        assert not refused_properly(again)
        await check_consistency_afterwards(node, config)
        assert await node.end() == 0
    await all_there(config.with_name("relay.db"), answered + again)


async def _locked(config: Path, seconds: float) -> None:
    path = config.with_name("relay.db")
    fresh = iter(some(4000))
    async with WrappedNode(config, ENVIRON) as node:
        answered = await send_all(node.public[0], [next(fresh) for _ in range(5)])
        assert not refused_properly(answered)
        with closing(apsw.Connection(str(path))) as other:
            other.set_busy_timeout(5000)
            other.execute("BEGIN IMMEDIATE")
            loop = asyncio.get_running_loop()
            until = loop.time() + seconds
            while loop.time() < until:
                locked = await send_all(node.public[0], [next(fresh) for _ in range(8)], 8)
                assert len(refused_properly(locked)) == len(locked)
                answered += locked
            other.execute("ROLLBACK")
        answered += await accepts_again(node.public[0], fresh)
        await check_consistency_afterwards(node, config)
        assert await node.end() == 0
    await all_there(path, answered)


@pytest.mark.timeout(120)
async def test_a_lock_held_by_another_process_is_answered_in_time(config: Path) -> None:
    await _locked(config, 5)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_lock_held_for_a_minute_is_answered_in_time(config: Path) -> None:
    await _locked(config, 60)


@pytest.mark.timeout(120)
async def test_idle_connections_that_use_up_the_descriptors(config: Path) -> None:
    """Nobody else can be let in until they go; nothing spins or floods the log meanwhile."""
    descriptors, watched = 100, 4.0
    config.write_text(config.read_text().replace("header_timeout: 1s", "header_timeout: 20s"))
    prefix = ("prlimit", f"--nofile={descriptors}:{descriptors}")
    async with WrappedNode(config, ENVIRON, prefix=prefix) as node:
        before = await send_all(node.public[0], some(5))
        assert not refused_properly(before)
        idle = [await asyncio.open_connection(*node.public[0]) for _ in range(3 * descriptors)]
        said, ticks = len(node.lines), _ticks(node.pid)
        # Watching is the test: what must not happen cannot be waited for.
        await asyncio.sleep(watched)
        share = (_ticks(node.pid) - ticks) / 100 / watched
        lines = len(node.lines) - said
        for _, writer in idle:
            writer.close()
        after = await accepts_again(node.public[0], iter(some(200, seed=3)))
        assert await node.end() == 0
    await all_there(config.with_name("relay.db"), [*before, *after])
    assert share < 0.2, f"it spun: {share:.0%} of a processor"
    assert lines < 1000, f"it wrote {lines} log lines in {watched:g} s"


def _ticks(pid: int) -> int:
    """Return the processor time that a process has used, in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


# ---- full at the start ----------------------------------------------------------------------
# Relay is started while its disk is full.


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
            await check_consistency_afterwards(again, config, tmp_path / "volume" / "relay.db")
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
            # What the log and the database have free takes some of them.
            full = await send_all(node.public[0], [next(fresh) for _ in range(200)])
            assert refused_properly(full)
            others.unlink()
            after = await accepts_again(node.public[0], fresh)
            await check_consistency_when_idle(node, config, spool, ENVIRON)
            assert await node.end() == 0
        assert audit_stopped(spool).having("dead") == set()
        await all_there(spool, [*before, *full, *after])
