"""Work comes out in its order, many together, and what is in no hurry lets others come first."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from relay.core.errors import SpoolUnavailable
from relay.spool import SpoolOverloaded
from relay.spool.sqlite.writer import TOGETHER, Job, Jobs


class Taker:
    """The thread that takes jobs out."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)

    def take(self, jobs: Jobs) -> "Future[list[Job]]":
        return self._pool.submit(jobs.take)

    def close(self) -> None:
        self._pool.shutdown()


@pytest.fixture
def taker() -> Iterator[Taker]:
    taker = Taker()
    yield taker
    taker.close()


def job(*, patient: bool = False) -> Job:
    future = asyncio.get_running_loop().create_future()
    return Job(lambda _: None, future, patient=patient)


async def test_what_is_in_a_hurry_is_taken_at_once_and_takes_along_what_is_not(
    taker: Taker,
) -> None:
    jobs, first, second = Jobs(10), job(patient=True), job()
    jobs.put(first)
    jobs.put(second)
    # The loop does not run meanwhile: no timer can have called.
    assert taker.take(jobs).result(10) == [first, second]


async def test_what_is_in_no_hurry_waits_for_company(taker: Taker) -> None:
    jobs, given = Jobs(10), [job(patient=True) for _ in range(4)]
    taken = taker.take(jobs)
    for each in given[:3]:
        jobs.put(each)
    # As above: whatever the thread does, nothing but the fourth lets it go.
    assert not taken.done()
    jobs.put(given[3])
    assert taken.result(10) == given


async def test_what_is_in_no_hurry_goes_alone_after_a_moment(taker: Taker) -> None:
    jobs = Jobs(10)
    for _ in range(2):
        alone = job(patient=True)
        jobs.put(alone)
        assert await asyncio.wrap_future(taker.take(jobs)) == [alone]


async def test_a_moment_that_passes_with_nothing_waiting_lets_nothing_go(taker: Taker) -> None:
    jobs, first, second, third = Jobs(10), job(patient=True), job(), job(patient=True)
    jobs.put(first)
    jobs.put(second)
    assert taker.take(jobs).result(10) == [first, second]
    taken = taker.take(jobs)
    # It is called for `first`, which has gone. Were anything taken now, it would be nothing.
    jobs._has_waited()
    jobs.put(third)
    assert await asyncio.wrap_future(taken) == [third]


async def test_more_than_go_together_go_one_part_after_the_other(taker: Taker) -> None:
    jobs, given = Jobs(2 * TOGETHER), [job() for _ in range(TOGETHER + 3)]
    for each in given:
        jobs.put(each)
    assert taker.take(jobs).result(10) == given[:TOGETHER]
    assert taker.take(jobs).result(10) == given[TOGETHER:]
    last = job()
    taken = taker.take(jobs)
    assert not taken.done()
    jobs.put(last)
    assert taken.result(10) == [last]


async def test_what_is_in_no_hurry_makes_nobody_wait_for_more(taker: Taker) -> None:
    jobs, slow = Jobs(10), [job(patient=True) for _ in range(4)]
    for each in slow:
        jobs.put(each)
    assert taker.take(jobs).result(10) == slow
    assert jobs._together == 0
    for _ in range(4):
        jobs.put(job())
    assert len(taker.take(jobs).result(10)) == jobs._together == 4


async def test_too_many_are_refused_and_those_before_stay(taker: Taker) -> None:
    jobs, given = Jobs(2), [job(), job()]
    for each in given:
        jobs.put(each)
    with pytest.raises(SpoolOverloaded, match="2 writes are waiting"):
        jobs.put(job(patient=True))
    assert taker.take(jobs).result(10) == given


async def test_closing_lets_go_what_waits_and_takes_nothing_more(taker: Taker) -> None:
    jobs, last = Jobs(10), job(patient=True)
    jobs.put(last)
    jobs.close()
    with pytest.raises(SpoolUnavailable, match="closed"):
        jobs.put(job())
    assert taker.take(jobs).result(10) == [last]
    assert taker.take(jobs).result(10) == []


async def test_closing_wakes_who_waits_for_something(taker: Taker) -> None:
    jobs, first = Jobs(10), job()
    jobs.put(first)
    assert taker.take(jobs).result(10) == [first]
    taken = taker.take(jobs)
    assert not taken.done()
    jobs.close()
    assert taken.result(10) == []
