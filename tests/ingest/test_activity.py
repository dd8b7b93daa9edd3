"""What telemetry counts is in the spool a few seconds later, once, and survives a restart."""

import asyncio
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relay.core.errors import SpoolUnavailable
from relay.core.request import Verdict
from relay.ingest.activity import INTERVAL, ActivityRecorder
from relay.spool import SpoolBroken
from relay.spool.activity import Activity, hour_of
from relay.spool.sqlite import SqliteSpool, open_spool
from relay.telemetry import DeliveryRecord, Telemetry
from relay.telemetry.log import Log, LogWriter
from tests.harness.clock import ManualClock

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Bench:
    """A telemetry, a spool, and what writes the one's numbers to the other."""

    def __init__(self, spool: SqliteSpool, clock: ManualClock) -> None:
        self.clock = clock
        self.spool = spool
        self.stream = io.BytesIO()
        self.writer = LogWriter(self.stream)
        self.restart()

    def restart(self) -> None:
        """Begin as a new process on the same spool."""
        self.telemetry = Telemetry(Log(self.writer, self.clock))
        self.recorder = ActivityRecorder(self.spool.activity, self.telemetry, self.clock)

    def receive(self, verdict: Verdict = Verdict.ACCEPTED, endpoint: str = "shop") -> None:
        record = DeliveryRecord("192.0.2.1", self.clock.now())
        record.endpoint, record.provider, record.verdict = endpoint, "midtrans", verdict
        self.telemetry.received(record)

    def counted(self, number: int, verdict: str = "accepted", endpoint: str = "shop") -> Activity:
        return Activity(hour_of(self.clock.now()), endpoint, verdict, number)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = ManualClock()
    spool = await open_spool(tmp_path / "relay.db", clock)
    bench = Bench(spool, clock)
    yield bench
    await spool.close()
    bench.writer.close()


async def test_what_was_counted_is_written_after_a_while(bench: Bench) -> None:
    async with asyncio.TaskGroup() as group:
        running = group.create_task(bench.recorder.run())
        bench.receive()
        bench.receive(Verdict.REFUSED)
        bench.receive(Verdict.REFUSED, endpoint="")
        await bench.clock.advance(INTERVAL)
        running.cancel()
    await bench.recorder.since(LONG_AGO)
    written = await bench.spool.activity.since(LONG_AGO)
    assert set(written) == {bench.counted(1), bench.counted(1, "refused")}


async def test_the_differences_are_written_also_of_several_processes(bench: Bench) -> None:
    for _ in range(3):
        bench.receive()
        await bench.recorder.flush()
    bench.restart()
    bench.receive()
    await bench.recorder.flush()
    await bench.recorder.flush()
    assert await bench.spool.activity.since(LONG_AGO) == (bench.counted(4),)


async def test_the_last_delivery_is_written_and_known_after_a_restart(bench: Bench) -> None:
    bench.receive()
    at = bench.clock.now()
    await bench.recorder.flush()
    bench.restart()
    bench.receive(Verdict.REFUSED)
    assert await bench.recorder.last_deliveries() == {"shop": at}
    await bench.clock.advance(5)
    bench.receive(Verdict.DUPLICATE)
    assert await bench.recorder.last_deliveries() == {"shop": bench.clock.now()}


async def test_another_process_may_have_received_later(bench: Bench) -> None:
    bench.receive()
    later = bench.clock.now() + timedelta(seconds=9)
    await bench.spool.activity.add([], {"shop": later})
    assert await bench.recorder.last_deliveries() == {"shop": later}


async def test_what_is_not_written_yet_is_told_too(bench: Bench) -> None:
    bench.receive()
    await bench.recorder.flush()
    bench.receive()
    found = await bench.recorder.since(LONG_AGO)
    assert sum(each.deliveries for each in found) == 2


async def test_each_hour_has_its_own(bench: Bench) -> None:
    bench.receive()
    await bench.recorder.flush()
    first = bench.counted(1)
    await bench.clock.advance(timedelta(hours=1).total_seconds())
    bench.receive()
    bench.receive()
    await bench.recorder.flush()
    assert await bench.spool.activity.since(LONG_AGO) == (first, bench.counted(2))


class Failing:
    """A store that raises what it is told to, or adds only when it is let."""

    def __init__(self) -> None:
        self.error: SpoolUnavailable | None = None
        self.added: list[Activity] = []
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def add(self, counted: Sequence[Activity], last: Mapping[str, datetime]) -> None:
        del last
        if self.error is not None:
            raise self.error
        self.added += counted
        await self.may_end.wait()

    async def since(self, hour: datetime) -> tuple[Activity, ...]:
        raise NotImplementedError

    async def last_deliveries(self) -> Mapping[str, datetime]:
        raise NotImplementedError


async def test_what_could_not_be_written_is_written_later(bench: Bench) -> None:
    store = Failing()
    recorder = ActivityRecorder(store, bench.telemetry, bench.clock)
    store.error = SpoolUnavailable("the disk is full")
    bench.receive()
    await recorder.flush()
    await recorder.flush()
    bench.receive()
    store.error = None
    await recorder.flush()
    assert store.added == [bench.counted(2)]
    bench.writer.close()
    assert bench.stream.getvalue().count(b"activity_unwritten") == 1


async def test_a_write_that_is_cut_short_is_not_done_twice(bench: Bench) -> None:
    store = Failing()
    recorder = ActivityRecorder(store, bench.telemetry, bench.clock)
    bench.receive()
    store.may_end.clear()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(recorder.run())
        await bench.clock.advance(INTERVAL)
        running.cancel()
    async with asyncio.TaskGroup() as group:
        group.create_task(recorder.flush())
        store.may_end.set()
    assert store.added == [bench.counted(1)]


async def test_a_broken_spool_ends_it(bench: Bench) -> None:
    store = Failing()
    store.error = SpoolBroken("gone")
    bench.receive()
    recorder = ActivityRecorder(store, bench.telemetry, bench.clock)
    running = asyncio.get_running_loop().create_task(recorder.run())
    await bench.clock.advance(INTERVAL)
    with pytest.raises(SpoolBroken):
        await running
