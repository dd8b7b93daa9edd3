"""Work comes out in its order, many together, and what is in no hurry lets others come first."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from relay.core.errors import SpoolUnavailable
from relay.spool import SpoolOverloaded
from relay.spool.sqlite.writer import BATCH_SIZE, WriteQueue, WriteRequest


class Taker:
    """The thread that takes jobs out."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)

    def take(self, requests: WriteQueue) -> "Future[list[WriteRequest]]":
        return self._pool.submit(requests.take)

    def close(self) -> None:
        self._pool.shutdown()


@pytest.fixture
def thread() -> Iterator[Taker]:
    thread = Taker()
    yield thread
    thread.close()


def request(*, deferrable: bool = False) -> WriteRequest:
    future = asyncio.get_running_loop().create_future()
    return WriteRequest(lambda _: None, future, deferrable=deferrable)


async def test_what_is_in_a_hurry_is_taken_at_once_and_takes_along_what_is_not(
    thread: Taker,
) -> None:
    requests, first, second = WriteQueue(10), request(deferrable=True), request()
    requests.put(first)
    requests.put(second)
    # The loop does not run meanwhile: no timer can have called.
    assert thread.take(requests).result(10) == [first, second]


async def test_what_is_in_no_hurry_waits_for_company(thread: Taker) -> None:
    requests, given = WriteQueue(10), [request(deferrable=True) for _ in range(4)]
    taken = thread.take(requests)
    for each in given[:3]:
        requests.put(each)
    # As above: whatever the thread does, nothing but the fourth lets it go.
    assert not taken.done()
    requests.put(given[3])
    assert taken.result(10) == given


async def test_what_is_in_no_hurry_goes_alone_after_a_moment(thread: Taker) -> None:
    requests = WriteQueue(10)
    for _ in range(2):
        alone = request(deferrable=True)
        requests.put(alone)
        assert await asyncio.wrap_future(thread.take(requests)) == [alone]


async def test_a_moment_that_passes_with_nothing_waiting_lets_nothing_go(thread: Taker) -> None:
    requests, first, second, third = (
        WriteQueue(10),
        request(deferrable=True),
        request(),
        request(deferrable=True),
    )
    requests.put(first)
    requests.put(second)
    assert thread.take(requests).result(10) == [first, second]
    taken = thread.take(requests)
    # It is called for `first`, which has gone. Were anything taken now, it would be nothing.
    requests._has_waited()
    requests.put(third)
    assert await asyncio.wrap_future(taken) == [third]


async def test_more_than_go_together_go_one_part_after_the_other(thread: Taker) -> None:
    requests, given = WriteQueue(2 * BATCH_SIZE), [request() for _ in range(BATCH_SIZE + 3)]
    for each in given:
        requests.put(each)
    assert thread.take(requests).result(10) == given[:BATCH_SIZE]
    assert thread.take(requests).result(10) == given[BATCH_SIZE:]
    last = request()
    taken = thread.take(requests)
    assert not taken.done()
    requests.put(last)
    assert taken.result(10) == [last]


async def test_what_is_in_no_hurry_makes_nobody_wait_for_more(thread: Taker) -> None:
    requests, slow = WriteQueue(10), [request(deferrable=True) for _ in range(4)]
    for each in slow:
        requests.put(each)
    assert thread.take(requests).result(10) == slow
    assert requests._together == 0
    for _ in range(4):
        requests.put(request())
    assert len(thread.take(requests).result(10)) == requests._together == 4


async def test_too_many_are_refused_and_those_before_stay(thread: Taker) -> None:
    requests, given = WriteQueue(2), [request(), request()]
    for each in given:
        requests.put(each)
    with pytest.raises(SpoolOverloaded, match="2 writes are waiting"):
        requests.put(request(deferrable=True))
    assert thread.take(requests).result(10) == given


async def test_closing_lets_go_what_waits_and_takes_nothing_more(thread: Taker) -> None:
    requests, last = WriteQueue(10), request(deferrable=True)
    requests.put(last)
    requests.close()
    with pytest.raises(SpoolUnavailable, match="closed"):
        requests.put(request())
    assert thread.take(requests).result(10) == [last]
    assert thread.take(requests).result(10) == []


async def test_closing_wakes_who_waits_for_something(thread: Taker) -> None:
    requests, first = WriteQueue(10), request()
    requests.put(first)
    assert thread.take(requests).result(10) == [first]
    taken = thread.take(requests)
    assert not taken.done()
    requests.close()
    assert taken.result(10) == []
