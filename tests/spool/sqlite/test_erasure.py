"""Erasing in SQLite, and the bytes of its files afterwards."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from random import Random

import apsw
import pytest

from relay.core.clock import SystemClock
from relay.core.event import Rejected, RetryAt
from relay.core.request import Headers
from relay.core.sealing import SealingKey
from relay.core.secret import Secret
from relay.spool import Settlement, Spool
from relay.spool.erasure import Traces, find_erasable
from relay.spool.sqlite import open_spool
from tests.contracts.erasure import ErasureContract, fill_index
from tests.contracts.refusals import BOUNDS, refused
from tests.contracts.spool import finish, stored, take_one
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.sqlite.test_removal import raw


class TestContract(ErasureContract):
    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock(RECEIVED)

    @pytest.fixture(params=[(), (SealingKey(Secret("1" * 64)),)], ids=["plain", "sealed"])
    async def spool(
        self, path: Path, clock: ManualClock, request: pytest.FixtureRequest
    ) -> AsyncIterator[Spool]:
        spool = await open_spool(path, clock, keys=request.param)
        yield spool
        await spool.close()


CANARY = "canary-7d0c41"


@pytest.mark.parametrize("size", [10, 50_000])
async def test_nothing_of_a_person_stays_in_the_files(path: Path, size: int) -> None:
    spool, dice = await open_spool(path, SystemClock()), Random(1)
    for number in range(60):
        mine = number % 6 == 3
        name = CANARY if mine else f"{dice.random()}"
        event = verified(
            key=f"{name} {number}",
            subject=name,
            body=b'{"name": "%b", "filler": "%b"}' % (name.encode(), b"x" * (size if mine else 9)),
            headers=Headers((("X-Name", name),)),
            remainder=f"/{name}",
        )
        told = replace(event.verification, references=(("order_id", name),))
        await stored(spool, replace(event, verification=told))
        lease = await take_one(spool)
        tried = Settlement(lease, RetryAt(RECEIVED), Rejected(500), answer=name.encode())
        spool.settle_all([tried], lambda _: None)
        await finish(spool)
        if number % 20 == 0:
            await fill_index(spool)
    await fill_index(spool)
    kept = refused(1, body=CANARY.encode())
    await spool.refusals.keep([replace(kept, references=(("order_id", CANARY),))], BOUNDS)
    assert raw(path).count(CANARY.encode()) > 50
    found = await find_erasable(spool, CANARY)
    assert (len(found.events), len(found.refusals)) == (10, 1)
    ids = [event_id for event_id, _ in found.events]
    assert len(await spool.erasure.erase(ids, found.refusals, undelivered=False)) == 10
    assert await spool.erasure.finish(CANARY) is Traces.NONE
    assert raw(path).count(CANARY.encode()) == 0
    assert path.with_name(path.name + "-wal").stat().st_size == 0
    await spool.close()
    assert raw(path).count(CANARY.encode()) == 0


async def test_a_reader_that_stays_is_told_of(path: Path) -> None:
    spool = await open_spool(path, SystemClock())
    event_id = await stored(spool, verified())
    await finish(spool)
    reading = apsw.Connection(str(path))
    reading.execute("BEGIN")
    reading.execute("SELECT 1 FROM events").fetchall()
    await spool.erasure.erase([event_id], [], undelivered=False)
    assert await spool.erasure.finish(CANARY) is Traces.LOG
    reading.close()
    assert await spool.erasure.finish(CANARY) is Traces.NONE
    await spool.close()
