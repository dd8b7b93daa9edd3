import asyncio
import gc
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from relay.delivery.http.connection import Found, Name, _race, alternating, dial
from tests.delivery.http.peer import Peer

V4, V6 = socket.AF_INET, socket.AF_INET6


def at(port: int, family: int = V4) -> Found:
    return (family, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))


@contextmanager
def refusing() -> Iterator[Found]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield at(taken.getsockname()[1])


@contextmanager
def silent() -> Iterator[Found]:
    """Give an address that neither accepts nor refuses."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        stack.enter_context(socket.create_connection(listener.getsockname()))
        second = stack.enter_context(socket.socket())
        second.setblocking(False)
        second.connect_ex(listener.getsockname())
        yield at(listener.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_host_is_reached_by_address_and_by_name(host: str) -> None:
    with Peer() as peer, await dial(Name(host, peer.port)) as connected:
        assert connected.getpeername() == ("127.0.0.1", peer.port)
        assert not connected.getblocking()


async def test_a_refusal_is_told() -> None:
    with refusing() as address, pytest.raises(ConnectionRefusedError):
        await dial(Name("127.0.0.1", int(address[4][1])))


@pytest.mark.parametrize("host", ["a" * 70, "a..b"])
async def test_a_name_that_cannot_be_asked_for_is_told(host: str) -> None:
    with pytest.raises(ValueError, match="label"):
        await dial(Name(host, 80))


async def test_the_next_address_is_tried_at_once_when_one_fails() -> None:
    with refusing() as bad, Peer() as peer:
        connected = await _race([bad, at(peer.port)], head_start=30)
        assert connected.getpeername()[1] == peer.port
        connected.close()


async def test_the_next_address_is_tried_when_one_is_slow() -> None:
    with silent() as slow, Peer() as peer:
        began = time.monotonic()
        with await _race([slow, at(peer.port)], head_start=0.05) as connected:
            assert connected.getpeername()[1] == peer.port
        assert 0.04 < time.monotonic() - began < 1


async def test_an_address_that_answers_in_time_is_the_only_one_asked() -> None:
    with Peer() as first, Peer() as second:
        with await _race([at(first.port), at(second.port)], head_start=30) as connected:
            assert connected.getpeername()[1] == first.port
        assert not second.has_another()


async def test_the_first_error_is_told_when_no_address_works() -> None:
    with refusing() as first, refusing() as second, pytest.raises(ConnectionRefusedError):
        await _race([first, second], head_start=0.01)


async def test_cutting_it_short_at_any_moment_leaves_no_socket_open() -> None:
    with Peer() as first, Peer() as second:
        ways = [at(first.port), at(second.port)]
        for steps in range(12):
            dialling = asyncio.ensure_future(_race(ways, head_start=0))
            for _ in range(steps):
                await asyncio.sleep(0)
            if dialling.done():
                dialling.result().close()
            dialling.cancel()
            await asyncio.wait([dialling])
            if not dialling.cancelled():
                dialling.result().close()
            if others := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(others)
            # A socket that nobody has closed would say so.
            del dialling
            gc.collect()


def test_families_take_turns() -> None:
    sixes, fours = [at(1, V6), at(2, V6), at(3, V6)], [at(4), at(5)]
    assert [each[4][1] for each in alternating(sixes + fours)] == [1, 4, 2, 5, 3]
    assert [each[4][1] for each in alternating(fours + sixes)] == [4, 1, 5, 2, 3]
    assert alternating(fours) == fours
