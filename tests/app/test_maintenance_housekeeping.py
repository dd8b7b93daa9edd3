"""What was kept long enough goes, and trouble with the spool only postpones it."""

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from relay.app.maintenance import RetentionJob
from relay.core.event import Delivered, Done
from relay.spool.sqlite import SqliteSpool, open_spool
from relay.telemetry import Telemetry
from relay.telemetry.log import Log, LogWriter
from tests.contracts.refusals import BOUNDS, ids, refused
from tests.harness.clock import ManualClock
from tests.harness.deliveries import verified

DAY = 86400.0


@dataclass
class House:
    """A spool whose housekeeping runs."""

    spool: SqliteSpool
    clock: ManualClock
    log: io.BytesIO
    writer: LogWriter

    async def pass_days(self, days: float) -> None:
        """Let time pass until housekeeping has seen it and rests again."""
        await self.clock.advance(days * DAY)
        async with asyncio.timeout(10):
            while not self.clock.sleeping:  # noqa: ASYNC110 - its step ends in another thread
                await asyncio.sleep(0)

    async def has_body(self, event_id: str) -> bool | None:
        """Say whether the body is there; None when the whole record is gone."""
        found = await self.spool.get(event_id)
        return None if found is None else found[1] is not None


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    clock = ManualClock()
    log = io.BytesIO()
    writer = LogWriter(log)
    spool = await open_spool(tmp_path / "relay.db", clock, patience=timedelta(milliseconds=50))
    keeping = RetentionJob(
        spool,
        retain=timedelta(days=10),
        retain_keys=timedelta(days=20),
        clock=clock,
        telemetry=Telemetry(Log(writer, clock)),
    )
    running = asyncio.ensure_future(keeping.run())
    yield House(spool, clock, log, writer)
    running.cancel()
    await asyncio.wait({running})
    await spool.close()
    writer.close()


async def deliver(house: House) -> str:
    event = verified(received_at=house.clock.now())
    await house.spool.put(event)
    claimed = await house.spool.claim(event.upstream, 1, timedelta(minutes=1), ordered=False)
    await house.spool.settle(claimed.leases[0], Done(), Delivered(200))
    return event.event_id


async def test_the_body_goes_first_and_the_key_later(house: House) -> None:
    event_id = await deliver(house)
    await house.pass_days(9)
    assert await house.has_body(event_id) is True
    await house.pass_days(2)
    await house.pass_days(0.1)
    assert await house.has_body(event_id) is False
    await house.pass_days(10)
    await house.pass_days(0.1)
    assert await house.has_body(event_id) is None


async def test_what_waits_for_delivery_stays(house: House) -> None:
    event = verified(received_at=house.clock.now())
    await house.spool.put(event)
    await house.pass_days(100)
    assert await house.has_body(event.event_id) is True


async def test_a_locked_spool_is_left_alone_until_the_next_round(
    house: House, tmp_path: Path
) -> None:
    event_id = await deliver(house)
    other = apsw.Connection(str(tmp_path / "relay.db"))
    other.execute("BEGIN IMMEDIATE")
    await house.pass_days(11)
    other.execute("ROLLBACK")
    other.close()
    assert await house.has_body(event_id) is True
    await house.pass_days(0.1)
    await house.pass_days(0.1)
    assert await house.has_body(event_id) is False
    house.writer.close()
    assert b"prune_failed" in house.log.getvalue()


async def test_refusals_go_when_bodies_go(house: House) -> None:
    old = refused(1)
    kept = replace(old, head=replace(old.head, received_at=house.clock.now()))
    await house.spool.refusals.keep([kept], BOUNDS)
    await house.pass_days(9)
    assert await ids(house.spool.refusals) == ["ref_001"]
    await house.pass_days(2)
    await house.pass_days(0.1)
    assert await ids(house.spool.refusals) == []
