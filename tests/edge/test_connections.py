"""Connections are limited in all and per address, but not among the clients of one proxy."""

import asyncio
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from relay.core.request import Address, Via
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
        total=total,
        per_address=per_address,
        shares_address=lambda address: address == PROXY,
        now=ManualClock().monotonic,
        is_sender=lambda _: True,
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
    connections = Connections(
        total=1, per_address=9, shares_address=lambda _: True, now=lambda: 0.0, ceiling=2
    )
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


# ---- strangers ------------------------------------------------------------------------------


class Held:
    """A connection that is held open, idle or not."""

    def __init__(self, connections: Connections, peer: Address, idle_since: float) -> None:
        self.connections, self.peer, self.since, self.looks = connections, peer, idle_since, 0
        self.is_open = connections.add(peer, self)
        if not self.is_open:
            connections.remove(peer, self)

    @property
    def idle_since(self) -> float:
        self.looks += 1
        return self.since

    def give_way(self) -> None:
        self.is_open = False
        self.connections.remove(self.peer, self)


def besieged(clock: ManualClock, total: int = 8, known: str = "192.0.2.0/24") -> Connections:
    """Return limits under which half of the connections are kept for known addresses."""
    return Connections(
        total=total,
        per_address=10_000,
        shares_address=lambda _: False,
        now=clock.monotonic,
        is_sender=lambda address: address in ip_network(known),
    )


STRANGER = ip_address("198.51.100.7")


@pytest.mark.parametrize(
    ("total", "strangers"), [(4096, 3840), (1024, 960), (200, 136), (100, 50), (1, 1)]
)
def test_some_connections_are_kept_for_known_addresses(total: int, strangers: int) -> None:
    connections = Connections(
        total=total,
        per_address=total,
        shares_address=lambda _: False,
        now=lambda: 0.0,
        is_sender=ONE.__eq__,
    )
    found = [connections.add(STRANGER) for _ in range(strangers + 1)]
    assert found == [True] * strangers + [False]
    connections.remove(STRANGER)
    found = [connections.add(ONE) for _ in range(total - strangers + 1)]
    assert found == [True] * (total - strangers) + [False]


@pytest.mark.parametrize("comes", [STRANGER, ONE])
async def test_the_stranger_that_is_idle_for_longest_gives_way(comes: Address) -> None:
    clock = ManualClock()
    connections = besieged(clock)
    now = clock.monotonic()
    idle = [Held(connections, STRANGER, now - ago) for ago in (3.0, 9.0, 1.0, 5.0)]
    gone = []
    for _ in range(4):
        await clock.advance(1)
        assert Held(connections, comes, clock.monotonic()).is_open
        gone.append([each.is_open for each in idle].count(False))
    assert gone == [1, 2, 3, 4]
    assert len(connections) == 4


async def test_who_has_been_used_since_is_not_the_longest_idle() -> None:
    clock = ManualClock()
    connections = besieged(clock)
    first, second, third, busy = [Held(connections, STRANGER, n) for n in (1.0, 2.0, 3.0, NEVER)]
    assert Held(connections, ONE, clock.monotonic()).is_open
    assert not first.is_open
    await clock.advance(1)
    second.since = clock.monotonic()
    assert Held(connections, ONE, clock.monotonic()).is_open
    assert (second.is_open, third.is_open, busy.is_open) == (True, False, True)
    await clock.advance(1)
    busy.since = clock.monotonic()
    assert Held(connections, ONE, clock.monotonic()).is_open
    assert (second.is_open, busy.is_open) == (False, True)
    assert Held(connections, ONE, clock.monotonic()).is_open
    assert not busy.is_open


async def test_neither_the_known_nor_the_busy_give_way() -> None:
    clock = ManualClock()
    connections = besieged(clock)
    held = [Held(connections, peer, since) for peer in (ONE, TWO) for since in (0.0, NEVER)]
    assert not Held(connections, STRANGER, 0.0).is_open
    held += [Held(connections, STRANGER, NEVER) for _ in range(2)]
    assert [each.is_open for each in held] == [True] * 4 + [False] * 2
    assert [Held(connections, ONE, 0.0).is_open for _ in range(5)] == [True] * 4 + [False]
    assert [each.is_open for each in held] == [True] * 4 + [False] * 2


async def test_no_stranger_gives_way_to_one_that_does_not_get_in() -> None:
    clock = ManualClock()
    connections = besieged(clock)
    busy = [Held(connections, STRANGER, NEVER) for _ in range(4)]
    assert [Held(connections, ONE, 0.0).is_open for _ in range(2)] == [True, True]
    busy[0].since = 0.0
    assert not Held(connections, STRANGER, 0.0).is_open
    assert busy[0].is_open


async def test_thousands_of_busy_strangers_are_not_all_looked_at_again() -> None:
    clock = ManualClock()
    connections = besieged(clock, total=2000)
    held = [Held(connections, STRANGER, NEVER) for _ in range(2000 - 125)]
    assert all(each.is_open for each in held)
    assert Held(connections, ONE, 0.0).is_open
    before = sum(each.looks for each in held)
    assert all(Held(connections, ONE, 0.0).is_open for _ in range(100))
    assert 0 < sum(each.looks for each in held) - before <= 100 * 64


def test_an_ipv6_site_has_four_times_the_connections_of_one_address() -> None:
    connections = Connections(
        total=1000,
        per_address=3,
        shares_address=lambda _: False,
        now=lambda: 0.0,
        is_sender=ip_address("2001:db8:0:99::1").__eq__,
    )
    networks = [ip_address(f"2001:db8:0:{n:x}::1") for n in range(8)]
    found = [connections.add(each) for each in networks for _ in range(2)]
    assert found == [True] * 12 + [False] * 4
    assert connections.add(ip_address("2001:db8:0:99::1"))
    assert connections.add(ip_address("2001:db8:1::1"))
    for each in networks:
        connections.remove(each)
    assert connections.add(networks[0])
    for each in networks:
        connections.remove(each)
    connections.remove(networks[0])
    connections.remove(ip_address("2001:db8:0:99::1"))
    connections.remove(ip_address("2001:db8:1::1"))
    assert (len(connections), connections._open, connections._sites) == (0, {}, {})


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
