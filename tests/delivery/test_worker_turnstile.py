import asyncio
from collections.abc import Callable

from relay.delivery.worker import StartLimiter


class Crowd:
    """One that wants to begin so many things, and notes each."""

    def __init__(self, start_limiter: StartLimiter, name: str, wants: int, seen: list[str]) -> None:
        self._start_limiter = start_limiter
        self._name = name
        self._wants = wants
        self._seen = seen

    def begin(self) -> None:
        while self._wants and self._start_limiter.try_start(self.begin):
            self._wants -= 1
            self._seen.append(self._name)


async def in_turns(seen: list[str], *begin: Callable[[], None]) -> list[str]:
    """Let all begin, and return what was seen in each turn of the loop until nothing more is."""
    for each in begin:
        each()
    turns = ["".join(seen)]
    while seen:
        seen.clear()
        await asyncio.sleep(0)
        turns.append("".join(seen))
    return turns[:-1]


async def test_few_get_through_in_one_turn() -> None:
    seen: list[str] = []
    crowd = Crowd(StartLimiter(3), "a", 7, seen)
    assert await in_turns(seen, crowd.begin) == ["aaa", "aaa", "a"]


async def test_nobody_gets_a_second_turn_before_the_others_had_one() -> None:
    seen: list[str] = []
    start_limiter = StartLimiter(3)
    crowds = [Crowd(start_limiter, name, 4, seen) for name in "abc"]
    turns = await in_turns(seen, *(each.begin for each in crowds))
    assert turns == ["aaa", "abb", "ccc", "bbc"]


async def test_who_tries_again_by_itself_is_not_called_twice() -> None:
    start_limiter = StartLimiter(1)
    calls: list[int] = []
    assert start_limiter.try_start(print)

    def again() -> None:
        calls.append(1)

    assert not start_limiter.try_start(again)
    assert not start_limiter.try_start(again)
    await asyncio.sleep(0)
    assert calls == [1]


async def test_a_later_turn_is_as_good_as_the_first() -> None:
    start_limiter = StartLimiter(2)
    for _ in range(3):
        assert [start_limiter.try_start(print) for _ in range(2)] == [True, True]
        await asyncio.sleep(0)
