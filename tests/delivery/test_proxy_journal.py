"""History is written behind: in batches, once, and without ever being waited for."""

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from relay.core.clock import SystemClock
from relay.core.errors import SpoolUnavailable
from relay.core.event import Delivered, ProxiedDelivery
from relay.delivery.proxy import ProxiedHistory
from relay.spool import Query, SpoolBroken
from relay.spool.sqlite import open_spool
from relay.telemetry import Telemetry
from relay.telemetry.log import Log, LogWriter
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED, verified
from tests.harness.tapped import SpyingSpool


def passed(number: int, body: bytes = b"{}", key: str = "order-1") -> ProxiedDelivery:
    delivery = verified(event_id=f"e{number:03}", body=body, key=key)
    return ProxiedDelivery(delivery, Delivered(200), RECEIVED)


@dataclass
class Bench:
    """A journal that is written, and its spool."""

    clock: ManualClock
    spool: SpyingSpool
    log: io.BytesIO
    writer: LogWriter
    history: ProxiedHistory
    running: "asyncio.Task[None]"

    async def written(self, *ids: str) -> None:
        """Return when history holds these; the spool's thread has no bell for it."""
        async with asyncio.timeout(10):
            while await self.ids() != list(ids):
                pass

    async def ids(self) -> list[str]:
        page = await self.spool.page(Query(limit=1000))
        return sorted(record.id for record in page.records)

    async def end(self) -> None:
        """Stop as a relay stops."""
        self.running.cancel()
        await asyncio.wait({self.running})
        await self.history.flush()

    def workers(self) -> list[dict[str, Any]]:
        self.writer.close()
        return [orjson.loads(worker) for worker in self.log.getvalue().splitlines()]


@pytest.fixture
def room() -> int:
    return 1_000_000


@pytest.fixture
async def bench(tmp_path: Path, room: int) -> AsyncIterator[Bench]:
    clock, log = ManualClock(RECEIVED), io.BytesIO()
    writer = LogWriter(log)
    real = await open_spool(tmp_path / "relay.db", SystemClock())
    spool = SpyingSpool(real, clock)
    telemetry = Telemetry(Log(writer, clock))
    history = ProxiedHistory(spool, clock=clock, telemetry=telemetry, buffer_bytes=room)
    running = asyncio.get_running_loop().create_task(history.run())
    yield Bench(clock, spool, log, writer, history, running)
    running.cancel()
    await asyncio.wait({running})
    await real.close()
    writer.close()


async def test_what_comes_together_is_written_together(bench: Bench) -> None:
    for number in range(3):
        bench.history.note(passed(number))
    await bench.clock.advance(0.03)
    bench.history.note(passed(3))
    assert bench.spool.recorded == []
    await bench.clock.advance(0.03)
    await bench.written("e000", "e001", "e002", "e003")
    assert bench.spool.recorded == [4]
    assert bench.workers() == []


async def test_more_is_written_when_more_comes(bench: Bench) -> None:
    bench.history.note(passed(1))
    await bench.clock.advance(0.1)
    await bench.written("e001")
    bench.history.note(passed(2))
    await bench.clock.advance(0.1)
    await bench.written("e001", "e002")
    assert bench.spool.recorded == [1, 1]


async def test_a_long_queue_goes_in_steps(bench: Bench, room: int) -> None:
    for number in range(room // 4100):
        bench.history.note(passed(number))
    await bench.clock.advance(0.1)
    await bench.end()
    assert len(await bench.ids()) == room // 4100
    assert max(bench.spool.recorded) == 200


async def test_what_waits_at_the_end_is_written(bench: Bench) -> None:
    bench.history.note(passed(1))
    await bench.end()
    assert await bench.ids() == ["e001"]


@pytest.mark.parametrize("turns", range(6))
async def test_stopping_in_the_middle_of_a_write_loses_and_doubles_nothing(
    turns: int, bench: Bench
) -> None:
    bench.history.note(passed(1))
    await bench.clock.advance(0.099)
    advancing = asyncio.ensure_future(bench.clock.advance(0.001))
    for _ in range(turns * 10):
        await asyncio.sleep(0)
    await bench.end()
    await advancing
    assert await bench.ids() == ["e001"]
    assert bench.workers() == []


async def test_a_spool_in_trouble_gets_it_later(bench: Bench) -> None:
    bench.spool.broken["record"] = SpoolUnavailable("disk full")
    bench.history.note(passed(1))
    await bench.clock.advance(0.1)
    bench.history.note(passed(2))
    assert bench.spool.recorded == [1]
    bench.spool.broken.clear()
    await bench.clock.advance(1)
    await bench.written("e001", "e002")
    assert bench.spool.recorded == [1, 2]
    assert [(worker["event"], worker["level"]) for worker in bench.workers()] == [
        ("history_delayed", "warning")
    ]


@pytest.mark.parametrize("room", [10_000])
async def test_without_room_the_newest_is_lost_and_said_to_be(bench: Bench) -> None:
    """Each takes its body and a little more."""
    bench.history.note(passed(1, bytes(5000)))
    bench.history.note(passed(2))
    await bench.clock.advance(0.1)
    await bench.written("e001")
    await bench.end()
    bench.history.note(passed(3, bytes(5000)))
    await bench.history.flush()
    await bench.written("e001", "e003")
    assert [(worker["event"], worker["id"]) for worker in bench.workers()] == [
        ("history_lost", "e002")
    ]


async def test_what_cannot_be_written_at_the_end_is_lost_and_said_to_be(bench: Bench) -> None:
    bench.spool.broken["record"] = SpoolUnavailable("disk full")
    for number in (1, 2):
        bench.history.note(passed(number))
    await bench.end()
    assert [(worker["event"], worker["id"], worker["detail"]) for worker in bench.workers()] == [
        ("history_lost", "e001", "disk full"),
        ("history_lost", "e002", "disk full"),
    ]


async def test_one_that_cannot_be_written_keeps_nobody_else(bench: Bench) -> None:
    for number, key in enumerate(("a", "half a pair \ud800", "b")):
        bench.history.note(passed(number, key=key))
    await bench.end()
    assert await bench.ids() == ["e000", "e002"]
    assert [worker["event"] for worker in bench.workers()] == ["history_fault", "history_lost"]


async def test_a_broken_spool_ends_the_journal(bench: Bench) -> None:
    bench.spool.broken["record"] = SpoolBroken("disk I/O error")
    bench.history.note(passed(1))
    await bench.clock.advance(0.1)
    with pytest.raises(SpoolBroken):
        await bench.running
    await bench.history.flush()
    assert [worker["event"] for worker in bench.workers()] == ["history_lost"]
