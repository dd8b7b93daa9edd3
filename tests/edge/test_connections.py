"""Connections are limited in all and per address, but not among the clients of one proxy."""

import asyncio
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from relay.core.request import Via
from relay.edge import connections
from relay.edge.connections import (
    NEVER,
    SWEEP_BATCH_SIZE,
    SWEEP_INTERVAL,
    Connections,
    PeerInfo,
    Sweep,
    peer_info_of,
)
from tests.harness.clock import ManualClock, run_loop_until
from tests.harness.edge import genuine_request, running_edge
from tests.harness.wire import read_reply

ONE, TWO, PROXY = (ip_address(f"192.0.2.{n}") for n in (1, 2, 9))


def limited(total: int = 10, per_address: int = 2) -> Connections:
    return Connections(
        total=total, per_address=per_address, shares_address=lambda address: address == PROXY
    )


def test_one_address_may_not_have_more_than_its_share() -> None:
    connections = limited()
    assert [connections.add(ONE) for _ in range(3)] == [True, True, False]
    assert connections.add(TWO)


def test_who_leaves_makes_room() -> None:
    connections = limited()
    for _ in range(3):
        connections.add(ONE)
    connections.remove(ONE)
    connections.remove(ONE)
    assert connections.add(ONE)
    assert len(connections) == 2


def test_a_trusted_proxy_is_bound_by_the_total_alone() -> None:
    connections = limited(total=5)
    assert [connections.add(PROXY) for _ in range(6)] == [True] * 5 + [False]


def test_other_limits_hold_for_new_connections() -> None:
    connections = limited(total=3, per_address=2)
    assert [connections.add(ONE) for _ in range(2)] == [True, True]
    connections.reconfigure(total=10, per_address=3)
    assert [connections.add(ONE) for _ in range(2)] == [True, False]
    connections.reconfigure(total=4, per_address=10)
    assert not connections.add(TWO)
    assert len(connections) == 5


def test_no_limit_is_above_the_ceiling() -> None:
    connections = Connections(total=1, per_address=9, shares_address=lambda _: False, ceiling=2)
    assert [connections.add(ONE) for _ in range(2)] == [True, False]
    connections.reconfigure(total=10, per_address=9)
    connections.remove(ONE)
    assert [connections.add(ONE) for _ in range(2)] == [True, False]


def test_all_addresses_of_one_ipv6_network_share_a_limit() -> None:
    connections = limited()
    one, other = "2001:db8:0:1::", "2001:db8:0:2::"
    found = [connections.add(ip_address(f"{one}{n:x}")) for n in (1, 0xFFFF, 3)]
    assert found == [True, True, False]
    assert connections.add(ip_address(f"{other}1"))
    for n in (3, 1, 0xFFFF):
        connections.remove(ip_address(f"{one}{n:x}"))
    assert connections.add(ip_address(f"{one}9"))
    assert len(connections) == 2


@contextmanager
def calls_of(file: str) -> Iterator[Counter[str]]:
    """Count the calls of each function in this file, in this thread, meanwhile."""
    calls: Counter[str] = Counter()

    def called(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename == file:
            calls[frame.f_code.co_qualname] += 1

    sys.setprofile(called)
    try:
        yield calls
    finally:
        sys.setprofile(None)


async def test_counting_costs_a_delivery_few_calls(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        requests = [genuine_request(), genuine_request()]
        with calls_of(connections.__file__) as first:
            reader, writer = await asyncio.open_connection(*edge.address)
            writer.write(requests[0])
            assert (await read_reply(reader)).status == 200
        with calls_of(connections.__file__) as kept_alive:
            writer.write(requests[1])
            assert (await read_reply(reader)).status == 200
        with calls_of(connections.__file__) as closing:
            writer.close()
            await run_loop_until(lambda: len(edge.connections) == 0)
    assert kept_alive == {}
    assert first.pop("PeerInfo.__post_init__") == first.pop("peer_info_of") == 1
    assert first == {"Connections.add": 1, "Sweep.add": 1}
    del closing["Connections.__len__"]
    assert closing == {"Connections.remove": 1, "_decrement": 1, "Sweep.remove": 1}


# ---- peer info ------------------------------------------------------------------------------
# A connection that nobody has spoken for comes from the other end of its socket.


@pytest.mark.parametrize(
    ("listens", "calls"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        # A socket for both families sees IPv4 as mapped.
        ("::", "127.0.0.1"),
    ],
)
async def test_it_is_the_plain_address_of_the_socket(listens: str, calls: str) -> None:
    seen: asyncio.Future[PeerInfo] = asyncio.get_running_loop().create_future()

    async def look(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set_result(peer_info_of(writer.transport))
        writer.close()

    family = socket.AF_INET6 if ":" in listens else socket.AF_INET
    both = socket.create_server((listens, 0), family=family, dualstack_ipv6=listens == "::")
    async with await asyncio.start_server(look, sock=both):
        _, writer = await asyncio.open_connection(calls, both.getsockname()[1])
        assert await seen == PeerInfo(ip_address(calls), Via.PEER, forwards=True)
        writer.close()


# ---- deadlines ------------------------------------------------------------------------------


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
    assert max(found) == SWEEP_BATCH_SIZE
    assert all(len(each.expired) == 1 for each in connections)


async def test_what_goes_on_or_ends_meanwhile_is_not_expired() -> None:
    clock = ManualClock()
    sweep = Sweep(clock, 75.0)
    many = [Connection(clock.monotonic()) for _ in range(3 * SWEEP_BATCH_SIZE)]
    for each in many:
        sweep.add(each)
    sweeping = asyncio.ensure_future(sweep.sweep())
    await asyncio.sleep(0)
    left = [each for each in many if not each.expired]
    assert len(left) == 2 * SWEEP_BATCH_SIZE
    left[0].due = NEVER
    sweep.remove(left[1])
    await sweeping
    assert [len(each.expired) for each in left] == [0, 0, *[1] * (len(left) - 2)]


async def test_a_sweep_comes_at_every_interval() -> None:
    clock = ManualClock()
    sweep = Sweep(clock, 75.0)
    one = Connection(clock.monotonic() + SWEEP_INTERVAL / 2)
    sweep.add(one)
    running = asyncio.ensure_future(sweep.run())
    await clock.advance(SWEEP_INTERVAL / 2)
    assert one.expired == []
    await clock.advance(SWEEP_INTERVAL / 2)
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
