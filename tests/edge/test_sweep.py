"""Deadlines are kept by one sweep, and what falls due together does not hold the event loop."""

import asyncio
from pathlib import Path

from relay.edge.sweep import BATCH_SIZE, INTERVAL, NEVER, Sweep
from tests.harness.clock import ManualClock, run_loop_until
from tests.harness.edge import genuine_request, running_edge
from tests.harness.wire import read_reply


class Connection:
    """A connection that remembers when it was expired, and may end others then."""

    def __init__(self, due: float, *, ends: "tuple[Sweep, Connection] | None" = None) -> None:
        self.due = due
        self.expired: list[float] = []
        self.ends = ends

    def expire(self, now: float) -> None:
        self.expired.append(now)
        self.due = NEVER
        if self.ends is not None:
            self.ends[0].remove(self.ends[1])


async def test_what_falls_due_together_is_expired_a_few_at_a_time() -> None:
    clock = ManualClock()
    sweep = Sweep(clock, 75.0)
    connections = [Connection(clock.monotonic()) for _ in range(10)]
    for each in connections:
        sweep.add(each)
    sweeping = asyncio.ensure_future(sweep.sweep())
    found = []
    while not sweeping.done():
        before = sum(len(each.expired) for each in connections)
        await asyncio.sleep(0)
        found.append(sum(len(each.expired) for each in connections) - before)
    assert sum(found) == 10
    assert max(found) == BATCH_SIZE
    assert all(len(each.expired) == 1 for each in connections)


async def test_what_goes_on_or_ends_meanwhile_is_not_expired() -> None:
    clock = ManualClock()
    sweep = Sweep(clock, 75.0)
    many = [Connection(clock.monotonic()) for _ in range(3 * BATCH_SIZE)]
    for each in many:
        sweep.add(each)
    sweeping = asyncio.ensure_future(sweep.sweep())
    await asyncio.sleep(0)
    left = [each for each in many if not each.expired]
    assert len(left) == 2 * BATCH_SIZE
    left[0].due = NEVER
    sweep.remove(left[1])
    await sweeping
    assert [len(each.expired) for each in left] == [0, 0, *[1] * (len(left) - 2)]


async def test_a_sweep_comes_at_every_interval() -> None:
    clock = ManualClock()
    sweep = Sweep(clock, 75.0)
    one = Connection(clock.monotonic() + INTERVAL / 2)
    sweep.add(one)
    running = asyncio.ensure_future(sweep.run())
    await clock.advance(INTERVAL / 2)
    assert one.expired == []
    await clock.advance(INTERVAL / 2)
    assert one.expired == [sweep.now()]
    assert sweep.idle_due == sweep.now() + 75.0
    running.cancel()
    await asyncio.wait({running})


async def test_an_idle_connection_is_closed_and_one_that_is_used_is_not(tmp_path: Path) -> None:
    clock = ManualClock()
    async with running_edge(tmp_path, clock=clock) as edge:
        used, idle = [await asyncio.open_connection(*edge.address) for _ in range(2)]
        for reader, writer in (used, idle):
            writer.write(genuine_request())
            assert (await read_reply(reader)).status == 200
        await clock.advance(60)
        used[1].write(genuine_request())
        assert (await read_reply(used[0])).status == 200
        await clock.advance(20)
        assert await idle[0].read() == b""
        used[1].write(genuine_request())
        assert (await read_reply(used[0])).status == 200
        await clock.advance(80)
        assert await used[0].read() == b""
        for _, writer in (used, idle):
            writer.close()


async def test_a_head_has_its_time_from_the_connect_and_from_its_first_byte(
    tmp_path: Path,
) -> None:
    clock = ManualClock()
    async with running_edge(tmp_path, clock=clock, seconds=5) as edge:
        ends = [await asyncio.open_connection(*edge.address) for _ in range(2)]
        ends[0][1].write(genuine_request() + b"POST /hook HTTP/1.1\r\nHo")
        assert (await read_reply(ends[0][0])).status == 200
        await run_loop_until(lambda: len(edge.connections) == 2)
        await clock.advance(4.5)
        ends[1][1].write(b"POST /hook HTTP/1.1\r\n")
        for reader, writer in ends:
            await clock.advance(1)
            assert (await read_reply(reader)).status == 408
            writer.close()
        reasons = [line.get("reason") for line in edge.lines()]
    assert reasons == [None, "header_timeout", "header_timeout"]
