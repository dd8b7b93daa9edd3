import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from relay.delivery.http.connection import Found, Name

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
