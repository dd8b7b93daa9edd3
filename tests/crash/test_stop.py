"""SIGTERM under load: whoever was acknowledged stays so, and nothing is delivered twice."""

import asyncio
import os
import signal
from contextlib import closing, suppress
from pathlib import Path
from random import Random

import apsw
import pytest

from tests.crash import fault_proxy, promises
from tests.crash.fault_proxy import Exchange, FaultProxy
from tests.crash.lengths import dice, lengths, tell
from tests.crash.relays import MESSAGES, accepted, lives, on_fresh_spools
from tests.harness.clock import wait_until
from tests.harness.consistency import check_consistency
from tests.harness.deliveries import BEARER, midtrans_body
from tests.harness.restarts import Life, Load, Restarts
from tests.harness.upstream import Upstream
from tests.harness.wire import exchange, request

pytestmark = pytest.mark.proof

#: Ends that one spool lives through.
_ON_ONE_SPOOL = 20

#: Events that are under way when relay is told to stop.
_UNDER_WAY = 8


#: Seconds under load at most.
_SERVING = 0.15


@lengths(short=20, long=200)
async def test_what_was_acknowledged_outlives_ends(
    times: int, tmp_path: Path, upstream: Upstream
) -> None:
    chance = dice()
    for ends, relays in on_fresh_spools(times, _ON_ONE_SPOOL, tmp_path, upstream):
        await _outlives(ends, relays, upstream, chance)


async def _outlives(ends: int, relays: Restarts, upstream: Upstream, chance: Random) -> None:
    load = Load(MESSAGES, chance)
    for _ in range(ends):
        async with relays.next() as life:
            await _end_under_load(life, load, chance)
        audit = relays.left_behind()
        promises.stored_what_it_should(audit, load)
        assert audit.having("leased") == set(), "left leased by an end in good order"
    left = relays.left_behind().having("pending")
    async with relays.next() as last:
        came_again, new = await promises.came_again(last, load)
        await promises.has_delivered(last, *left, *new)
        audit = await check_consistency(last, relays)
        assert await last.end() == 0
    load.check()
    promises.stored_what_it_should(audit, load)
    promises.delivered_what_it_stored(audit, upstream.received)
    # The upstream answers at once, so nothing has to be cut short and sent again.
    assert len(upstream.received) == len(audit.rows)
    assert load.acknowledged, "nothing was acknowledged: this has proven nothing"
    tell(ends=ends, stored=len(audit.rows), answers=dict(load.answers), came_again=came_again)


async def _end_under_load(life: Life, load: Load, chance: Random) -> None:
    """End a life in good order; every sender has an answer, or a connection that is closed."""
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run(life.public[0]))
        await asyncio.sleep(chance.uniform(0, _SERVING))
        assert await life.end() == 0
    assert life.lines[-1]["event"] == "stopped"
    assert life.noise == []


class Hold:
    """Keeps what the upstream says from relay until `over`."""

    def __init__(self) -> None:
        self.over = asyncio.Event()

    async def fault(self, exchange: Exchange) -> None:
        await self.over.wait()
        await fault_proxy.nothing(exchange)


async def _under_way(life: Life, proxy: FaultProxy) -> Hold:
    """Return what keeps events from being delivered that this life has begun to deliver."""
    hold = Hold()
    proxy.choose = lambda _: hold.fault
    before = len(proxy.seen)
    for _ in range(_UNDER_WAY):
        await accepted(life.public[0], midtrans_body())
    assert await wait_until(lambda: len(proxy.seen) == before + _UNDER_WAY, 10)
    return hold


@lengths(short=2, long=100)
async def test_reloads_that_come_while_it_stops_change_nothing(
    times: int, tmp_path: Path, proxy: FaultProxy
) -> None:
    relays = lives(tmp_path, {"billing": proxy.url})
    asked = 0
    for _ in range(times):
        async with relays.next() as life:
            hold = await _under_way(life, proxy)
            life.send(signal.SIGHUP)
            life.send(signal.SIGTERM)
            while not life.over:
                asked += 1
                with suppress(ProcessLookupError):
                    # Not through `subprocess`, which would look for the end, and keep it.
                    os.kill(life.pid, signal.SIGHUP)
                with suppress(ConnectionError):
                    reply = await exchange(life.admin, request("POST", "/-/reload", [BEARER]))
                    assert reply.status in {0, 200, 422}, reply
                if asked % 20 == 0:
                    hold.over.set()
            assert await life.ended() == 0, life.noise
            assert life.noise == []
            assert life.having(event="reload_fault") == []
        audit = relays.left_behind()
        assert audit.having("delivered") == {row.id for row in audit.rows}
    async with relays.next() as last:
        audit = await check_consistency(last, relays)
        assert await last.end() == 0
    assert len(audit.rows) == len(proxy.seen) == times * _UNDER_WAY
    promises.delivered_what_it_stored(audit, proxy.seen)
    tell(stops=times, reloads=asked)


@lengths(short=1, long=20)
async def test_a_locked_spool_does_not_keep_it_from_stopping(
    times: int, tmp_path: Path, proxy: FaultProxy
) -> None:
    """What came of the attempts cannot be written down: they are made again, and no more."""
    grace = 2
    relays = lives(tmp_path, {"billing": proxy.url})
    slowest = 0.0
    left: set[str] = set()
    for number in range(1, times + 1):
        life = relays.next()
        text = relays.config.read_text()
        relays.config.write_text(text.replace("shutdown_grace: 5s", f"shutdown_grace: {grace}s"))
        async with life:
            proxy.choose = lambda _: fault_proxy.nothing
            await promises.has_delivered(life, *left)
            hold = await _under_way(life, proxy)
            with closing(apsw.Connection(str(relays.spool))) as other:
                other.set_busy_timeout(5000)
                other.execute("BEGIN IMMEDIATE")
                hold.over.set()
                began = asyncio.get_running_loop().time()
                assert await life.end() == 0
                slowest = max(slowest, asyncio.get_running_loop().time() - began)
                other.execute("ROLLBACK")
            assert life.noise == []
            assert life.having(event="attempt", decision="done")[len(left) :] == []
        audit = relays.left_behind()
        assert (audit.sound, len(audit.rows)) == ("ok", number * _UNDER_WAY)
        left = audit.having("pending", "leased")
        assert len(left) == _UNDER_WAY, "something was written beside a lock"
    proxy.choose = lambda _: fault_proxy.nothing
    async with relays.next() as last:
        await promises.has_delivered(last, *left)
        audit = await check_consistency(last, relays)
        assert await last.end() == 0
    promises.delivered_what_it_stored(audit, proxy.seen)
    assert {len(requests) for requests in promises.by_id(proxy.seen).values()} == {2}
    # The grace, a second for farewells, and one turn of waiting for the lock.
    assert slowest < grace + 1 + 3, f"it took {slowest:.1f} s to stop"
    tell(stops=times, slowest=f"{slowest:.1f}s")
