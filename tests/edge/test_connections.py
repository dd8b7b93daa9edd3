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
from relay.edge.connections import Connections, PeerInfo, peer_info_of
from tests.harness.clock import run_loop_until
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
            calls[frame.f_code.co_name] += 1

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
    assert first == {"peer_info_of": 1, "add": 1}
    del closing["__len__"]
    assert closing == {"remove": 1, "_decrement": 1}


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
