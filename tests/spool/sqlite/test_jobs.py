"""Work comes out in its order, many together, and what is in no hurry lets others come first."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from relay.errors import SpoolUnavailable
from relay.spool import SpoolOverloaded
from relay.spool._sqlite.jobs import Job, Jobs


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


def job() -> Job:
    future = asyncio.get_running_loop().create_future()
    return Job(lambda _: None, future, intake=False, then=None)


async def test_what_is_in_a_hurry_is_taken_at_once_and_takes_along_what_is_not(
    taker: Taker,
) -> None:
    jobs, first, second = Jobs(10), job(), job()
    jobs.put(first, patient=True)
    jobs.put(second, patient=False)
    # The loop does not run meanwhile: no timer can have called.
    assert taker.take(jobs).result(10) == [first, second]


async def test_what_is_in_no_hurry_waits_for_company(taker: Taker) -> None:
    jobs, given = Jobs(10), [job() for _ in range(4)]
    taken = taker.take(jobs)
    for each in given[:3]:
        jobs.put(each, patient=True)
    # As above: whatever the thread does, nothing but the fourth lets it go.
    assert not taken.done()
    jobs.put(given[3], patient=True)
    assert taken.result(10) == given


async def test_what_is_in_no_hurry_goes_alone_after_a_moment(taker: Taker) -> None:
    jobs = Jobs(10)
    for _ in range(2):
        alone = job()
        jobs.put(alone, patient=True)
        assert await asyncio.wrap_future(taker.take(jobs)) == [alone]


async def test_a_moment_that_passes_with_nothing_waiting_lets_nothing_go(taker: Taker) -> None:
    jobs, first, second, third = Jobs(10), job(), job(), job()
    jobs.put(first, patient=True)
    jobs.put(second, patient=False)
    assert taker.take(jobs).result(10) == [first, second]
    jobs._has_waited()
    taken = taker.take(jobs)
    jobs.put(third, patient=True)
    assert await asyncio.wrap_future(taken) == [third]


async def test_too_many_are_refused_and_those_before_stay(taker: Taker) -> None:
    jobs, given = Jobs(2), [job(), job()]
    for each in given:
        jobs.put(each, patient=False)
    with pytest.raises(SpoolOverloaded, match="2 writes are waiting"):
        jobs.put(job(), patient=True)
    assert taker.take(jobs).result(10) == given


async def test_closing_lets_go_what_waits_and_takes_nothing_more(taker: Taker) -> None:
    jobs, last = Jobs(10), job()
    jobs.put(last, patient=True)
    jobs.close()
    with pytest.raises(SpoolUnavailable, match="closed"):
        jobs.put(job(), patient=False)
    assert taker.take(jobs).result(10) == [last]
    assert taker.take(jobs).result(10) == []
