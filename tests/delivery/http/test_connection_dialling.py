import asyncio
import gc
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_network

import pytest

from relay.delivery.http.connection import (
    AddressNotAllowed,
    Found,
    Name,
    _race,
    alternating,
    dial,
)
from tests.delivery.http.peer import Peer

# ---- dialling -------------------------------------------------------------------------------

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


@contextmanager
def only_new_garbage() -> Iterator[None]:
    """Let collections look at what is made from here on: all the rest takes a third of a second."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


async def test_cutting_it_short_at_any_moment_leaves_no_socket_open() -> None:
    with Peer() as first, Peer() as second, only_new_garbage():
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


# ---- resolving a name -----------------------------------------------------------------------

ANSWER: Found = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 80))


class Resolver:
    """Stands in the system's place, and says nothing until it may."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.began = threading.Event()
        self.may_answer = threading.Event()

    def getaddrinfo(self, host: str, port: int, *, type: int, flags: int = 0) -> list[Found]:  # noqa: A002 - as in `socket`
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        self.asked.append(host)
        self.began.set()
        self.may_answer.wait(20)
        return [ANSWER]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver.getaddrinfo)
    yield resolver
    resolver.may_answer.set()


async def test_an_address_is_known_at_once() -> None:
    (found,) = await Name("192.0.2.7", 80).look_up()
    assert found[4] == ("192.0.2.7", 80)


async def test_all_who_ask_meanwhile_are_told_by_one_look(resolver: Resolver) -> None:
    name = Name("billing.example.com", 80)
    asking = [asyncio.ensure_future(name.look_up()) for _ in range(3)]
    await asyncio.to_thread(resolver.began.wait)
    asking[0].cancel()
    late = asyncio.ensure_future(name.look_up())
    await asyncio.sleep(0)
    resolver.may_answer.set()
    assert [await each for each in (*asking[1:], late)] == [[ANSWER]] * 3
    assert asking[0].cancelled()
    assert resolver.asked == ["billing.example.com"]
    assert await name.look_up() == [ANSWER]
    assert len(resolver.asked) == 2


async def test_names_that_nobody_answers_for_take_no_thread_from_others(
    resolver: Resolver,
) -> None:
    names = [Name(f"{number}.example.com", 80) for number in range(40)]
    asking = [asyncio.ensure_future(each.look_up()) for each in names]
    await asyncio.to_thread(resolver.began.wait)
    # asyncio's own threads, which are fewer, are free.
    assert await asyncio.to_thread(lambda: "free") == "free"
    for each in asking:
        each.cancel()
    await asyncio.wait(asking)


async def test_that_there_is_none_is_told_to_all() -> None:
    name = Name("nothing.invalid", 80)
    for error in await asyncio.gather(name.look_up(), name.look_up(), return_exceptions=True):
        assert isinstance(error, socket.gaierror)


# ---- addresses that are not dialled ---------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "0xa9fea9fe",
        "2852039166",
        "169.254.43518",
        "0251.0376.0251.0376",
        "168.63.129.16",
        "fe80::1%lo",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::",
    ],
)
async def test_a_guarded_address_is_not_dialled_however_it_is_written(host: str) -> None:
    with pytest.raises(AddressNotAllowed):
        await dial(Name(host, 80, [ip_network("169.254.10.0/24")]))


async def test_a_guarded_address_that_is_listed_is_dialled() -> None:
    networks = [ip_network("169.254.169.0/24")]
    assert len(await Name("0xa9fea9fe", 80, networks).allowed()) == 1


class Changing:
    """Stands in the system's place, and has another answer each time."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    def getaddrinfo(self, _: str, port: int, *, type: int, flags: int = 0) -> list[Found]:  # noqa: A002 - as in `socket`
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        return [(V4, type, 6, "", (address, port)) for address in self.answers.pop(0)]


async def test_what_is_dialled_is_what_was_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that has another address at the next look-up leads nowhere else."""
    answers = (["127.0.0.1"], ["169.254.169.254"], ["127.0.0.1"])
    monkeypatch.setattr(socket, "getaddrinfo", Changing(*answers).getaddrinfo)
    with Peer() as peer:
        name = Name("rebinding.example.com", peer.port)
        (await dial(name)).close()
        with pytest.raises(AddressNotAllowed):
            await dial(name)
        (await dial(name)).close()


async def test_of_several_addresses_the_guarded_ones_are_never_dialled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = (["169.254.169.254", "127.0.0.1", "169.254.169.253"],) * 2
    monkeypatch.setattr(socket, "getaddrinfo", Changing(*answers).getaddrinfo)
    with refusing() as closed:
        name = Name("both.example.com", int(closed[4][1]))
        assert [each[4][0] for each in await name.allowed()] == ["127.0.0.1"]
        # A dialled one would time out, or have another error; and be the first.
        with pytest.raises(ConnectionRefusedError):
            await dial(name)
