"""The contract of write-behind: bounded, in batches, in order, and every loss is reported."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest

from relay.core.errors import SpoolUnavailable
from relay.spool import SpoolBroken
from relay.spool.write_behind import WriteBehind, WriteLimits
from tests.harness.clock import ManualClock

LIMITS = WriteLimits(buffer=100, batch=3, window=0.5, retry_interval=5.0, per_window=6)


@dataclass
class Memory:
    """A sink of texts that keeps what it is told; each counts its length."""

    written: list[list[str]] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)
    windows: int = 0
    broken: Exception | None = None
    #: Set to keep writes from ending.
    hanging: asyncio.Event | None = None

    async def write(self, batch: Sequence[str]) -> None:
        if self.broken is not None:
            raise self.broken
        if "poison" in batch:
            raise ValueError("this cannot be written")
        self.written.append(list(batch))
        if self.hanging is not None:
            await self.hanging.wait()

    def delayed(self, error: SpoolUnavailable) -> None:
        self.reports.append(f"delayed: {error}")

    def failed(self, fault: Exception) -> None:
        self.reports.append(f"failed: {fault}")

    def lost(self, item: str, why: str) -> None:
        self.reports.append(f"lost {item}: {why}")

    def window_ended(self) -> None:
        self.windows += 1


@dataclass
class Bench:
    clock: ManualClock
    sink: Memory
    buffer: WriteBehind[str]
    running: "asyncio.Task[None]"

    def add(self, *items: str) -> None:
        for item in items:
            self.buffer.add(item)

    async def end(self) -> None:
        """Stop as a relay stops."""
        self.running.cancel()
        await asyncio.wait({self.running})
        await self.buffer.flush()


@pytest.fixture
def limits() -> WriteLimits:
    return LIMITS


@pytest.fixture
async def bench(limits: WriteLimits) -> AsyncIterator[Bench]:
    clock, sink = ManualClock(), Memory()
    buffer = WriteBehind[str](sink, limits, clock, len)
    running = asyncio.get_running_loop().create_task(buffer.run())
    yield Bench(clock, sink, buffer, running)
    running.cancel()
    await asyncio.wait({running})


async def test_a_batch_gathers_for_a_window_and_is_written_in_order(bench: Bench) -> None:
    bench.add("a")
    await bench.clock.advance(0.4)
    bench.add("b")
    assert bench.sink.written == []
    await bench.clock.advance(0.1)
    assert bench.sink.written == [["a", "b"]]
    bench.add("c")
    await bench.clock.advance(0.5)
    assert bench.sink.written == [["a", "b"], ["c"]]
    assert (bench.sink.reports, bench.sink.windows) == ([], 2)


async def test_nothing_is_done_while_nothing_comes(bench: Bench) -> None:
    await bench.clock.advance(60)
    assert bench.clock.sleeping == 0
    assert bench.sink.windows == 0


async def test_a_window_writes_so_many_in_bounded_batches_and_the_next_the_rest(
    bench: Bench,
) -> None:
    bench.add(*"abcdefgh")
    await bench.clock.advance(0.5)
    assert bench.sink.written == [list("abc"), list("def")]
    await bench.clock.advance(0.5)
    assert bench.sink.written[2:] == [["g", "h"]]
    await bench.clock.advance(60)
    assert len(bench.sink.written) == 3


@pytest.mark.parametrize("limits", [WriteLimits(100, 3, 0.5, 5.0)])
async def test_without_a_limit_a_window_writes_all_that_waits(bench: Bench) -> None:
    bench.add(*"abcdefgh")
    await bench.clock.advance(0.5)
    assert [len(batch) for batch in bench.sink.written] == [3, 3, 2]


@pytest.mark.parametrize("limits", [WriteLimits(100, 3, 0.5, 5.0, batch_bytes=5)])
async def test_a_batch_ends_when_it_has_enough_bytes(bench: Bench) -> None:
    bench.add("abcd", "ef", "g", "hijklmnop", "q", "r", "s", "t")
    await bench.clock.advance(0.5)
    assert bench.sink.written == [
        ["abcd"],
        ["ef", "g"],
        ["hijklmnop"],
        ["q", "r", "s"],
        ["t"],
    ]


async def test_what_comes_during_a_write_waits_for_the_next_window(bench: Bench) -> None:
    bench.sink.hanging = asyncio.Event()
    bench.add("a")
    await bench.clock.advance(0.5)
    bench.add("b")
    bench.sink.hanging.set()
    await bench.clock.advance(0.4)
    assert bench.sink.written == [["a"]]
    await bench.clock.advance(0.1)
    assert bench.sink.written == [["a"], ["b"]]


async def test_without_room_the_newest_is_lost_and_room_comes_back(bench: Bench) -> None:
    bench.add("a" * 60, "b" * 41, "c" * 40)
    assert bench.sink.reports == [f"lost {'b' * 41}: too much waits to be written"]
    await bench.clock.advance(0.5)
    bench.add("d" * 100)
    await bench.clock.advance(0.5)
    assert [batch[0][0] for batch in bench.sink.written] == ["a", "d"]
    assert len(bench.sink.reports) == 1


async def test_the_window_of_a_loss_ends_even_when_nothing_is_written(bench: Bench) -> None:
    bench.add("a" * 101)
    await bench.clock.advance(0.5)
    assert (bench.sink.written, bench.sink.windows) == ([], 1)


async def test_an_unavailable_spool_is_tried_again_with_what_came_meanwhile(bench: Bench) -> None:
    bench.sink.broken = SpoolUnavailable("disk full")
    bench.add("a")
    await bench.clock.advance(0.5)
    bench.add("b")
    await bench.clock.advance(5)
    assert bench.sink.reports == ["delayed: disk full"] * 2
    bench.sink.broken = None
    await bench.clock.advance(5)
    assert bench.sink.written == [["a", "b"]]
    assert bench.sink.windows == 1


async def test_a_broken_spool_ends_it_and_the_flush_reports_what_is_lost(bench: Bench) -> None:
    bench.sink.broken = SpoolBroken("disk I/O error")
    bench.add("a", "b")
    await bench.clock.advance(0.5)
    with pytest.raises(SpoolBroken):
        await bench.running
    await bench.buffer.flush()
    assert bench.sink.reports == ["lost a: disk I/O error", "lost b: disk I/O error"]
    assert bench.sink.windows == 1


async def test_one_that_cannot_be_written_keeps_no_other_from_it(bench: Bench) -> None:
    bench.add("a", "poison", "b", "c")
    await bench.clock.advance(0.5)
    assert bench.sink.written == [["a"], ["b"], ["c"]]
    assert bench.sink.reports == [
        "failed: this cannot be written",
        "lost poison: it cannot be written",
    ]
    bench.add("d" * 100)
    assert len(bench.sink.reports) == 2


async def test_a_flush_writes_all_that_is_buffered_beyond_the_limit_of_a_window(
    bench: Bench,
) -> None:
    bench.add(*"abcdefgh")
    await bench.end()
    assert [len(batch) for batch in bench.sink.written] == [3, 3, 2]
    assert bench.sink.reports == []


async def test_a_flush_that_cannot_write_loses_and_gives_the_room_back(bench: Bench) -> None:
    bench.sink.broken = SpoolUnavailable("disk full")
    bench.add("a" * 50, "b" * 50)
    await bench.end()
    assert [report[-9:] for report in bench.sink.reports] == ["disk full", "disk full"]
    bench.sink.broken = None
    bench.add("c" * 100)
    await bench.buffer.flush()
    assert bench.sink.written == [["c" * 100]]


async def test_a_batch_whose_write_was_cancelled_is_written_again(bench: Bench) -> None:
    bench.sink.hanging = asyncio.Event()
    bench.add("a")
    await bench.clock.advance(0.5)
    assert bench.sink.written == [["a"]]
    bench.sink.hanging.set()
    bench.running.cancel()
    await asyncio.wait({bench.running})
    await bench.buffer.flush()
    assert bench.sink.written == [["a"], ["a"]]
