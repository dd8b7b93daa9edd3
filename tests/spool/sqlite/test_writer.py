import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import apsw
import pytest

from relay.core.errors import LeaseLost, SpoolUnavailable
from relay.spool import SpoolBroken, SpoolOverloaded
from relay.spool.sqlite import database, events
from relay.spool.sqlite.database import StoreHealth
from relay.spool.sqlite.disk import Ballast
from relay.spool.sqlite.writer import BATCH_SIZE, Work, WriteQueue, Writer, WriteRequest
from tests.spool.conftest import PATIENCE, FailingSync

Start = Callable[..., Writer]


def add(name: str) -> Work[str]:
    def work(connection: apsw.Connection) -> str:
        connection.execute("INSERT INTO tallies VALUES (?, 'x', 1)", (name,))
        return name

    return work


def much(connection: apsw.Connection) -> None:
    """Write more than the log is let grow to."""
    connection.execute("CREATE TABLE much (a)")
    connection.execute("INSERT INTO much VALUES (zeroblob(4096 * 4100))")


def names(connection: apsw.Connection) -> list[str]:
    return [name for (name,) in events.fetch(connection, "SELECT endpoint FROM tallies", ())]


class Gate:
    """Work that keeps the writer until told to go on."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, _: apsw.Connection) -> None:
        self.reached.set()
        self.go_on.wait(10)


@pytest.fixture
def health() -> StoreHealth:
    return StoreHealth()


@pytest.fixture
async def start(path: Path, health: StoreHealth) -> AsyncIterator[Start]:
    """Give a function that starts a writer; its parts can be given."""
    writers: list[Writer] = []

    def start(*, file_unchanged: Callable[[], bool] = lambda: True, waiting: int = 100) -> Writer:
        connection = database.open_writing(path, PATIENCE)
        ballast = Ballast(path.with_name("ballast"))
        writers.append(Writer(connection, health, file_unchanged, ballast, waiting=waiting))
        return writers[-1]

    yield start
    for writer in writers:
        await writer.close()


async def hold(writer: Writer) -> tuple[Gate, asyncio.Future[None]]:
    gate = Gate()
    held = writer.submit(gate)
    await asyncio.to_thread(gate.reached.wait, 10)
    return gate, held


async def test_many_answers_leave_the_loop_room_for_others(start: Start) -> None:
    writer = start()
    gate, _ = await hold(writer)
    requests = [writer.submit(add(str(number))) for number in range(90)]
    gate.go_on.set()
    answered = [0]
    while answered[-1] < len(requests):
        await asyncio.sleep(0)
        answered.append(sum(request.done() for request in requests))
    assert max(after - before for before, after in pairwise(answered)) <= 16


async def test_what_waits_is_committed_together(start: Start) -> None:
    writer = start()
    changes: list[int] = []
    gate, _ = await hold(writer)

    def version(connection: apsw.Connection) -> None:
        changes.append(connection.total_changes())

    requests = [writer.submit(add(str(number))) for number in range(5)]
    seen = writer.submit(lambda each: each.in_transaction and len(names(each)))
    writer.submit(version)
    gate.go_on.set()
    assert await asyncio.gather(*requests) == ["0", "1", "2", "3", "4"]
    assert await seen == 5
    assert changes == [5]


async def test_nothing_is_answered_before_the_commit(start: Start, path: Path) -> None:
    """Whoever is told so finds it from another connection."""
    writer = start()
    reading = database.open_reading(path, PATIENCE)
    for number in range(20):
        await writer.run(add(str(number)))
        assert str(number) in names(reading)
    reading.close()


async def test_a_job_that_fails_is_alone_in_it(start: Start) -> None:
    writer = start()
    gate, _ = await hold(writer)

    def lost(_: apsw.Connection) -> None:
        raise LeaseLost("gone")

    def half(connection: apsw.Connection) -> None:
        with connection:
            add("half")(connection)
            raise KeyError("half")

    requests = [writer.submit(request) for request in (add("1"), lost, add("1"), half, add("2"))]
    gate.go_on.set()
    results = await asyncio.gather(*requests, return_exceptions=True)
    assert [type(each) for each in results] == [str, LeaseLost, SpoolUnavailable, KeyError, str]
    assert sorted(await writer.run(names)) == ["1", "2"]


async def test_a_caller_that_is_gone_breaks_nothing(start: Start) -> None:
    writer = start()
    gate, held = await hold(writer)
    early, late = writer.submit(add("early")), writer.submit(add("late"))
    early.cancel()
    held.cancel()
    gate.go_on.set()
    assert await late == "late"
    assert await writer.run(names) == ["late"]


async def test_too_much_waiting_is_told_at_once(start: Start) -> None:
    writer = start(waiting=3)
    gate, _ = await hold(writer)
    requests = [writer.submit(add(str(number))) for number in range(3)]
    with pytest.raises(SpoolUnavailable, match="3 writes are waiting"):
        writer.submit(add("one more"))
    gate.go_on.set()
    await asyncio.gather(*requests)
    assert await writer.run(add("later")) == "later"


async def test_a_commit_that_fails_fails_everything_in_it(
    start: Start, path: Path, health: StoreHealth
) -> None:
    writer = start()
    gate, held = await hold(writer)
    requests = [writer.submit(add(str(number))) for number in range(3)]
    # A hook that says no turns the commit into a rollback.
    writer._connection.set_commit_hook(lambda: True)
    gate.go_on.set()
    results = await asyncio.gather(held, *requests, return_exceptions=True)
    assert [type(each) for each in results] == [SpoolUnavailable] * 4
    assert len({id(each) for each in results}) == 4
    assert not health.broken
    writer._connection.set_commit_hook(None)
    assert await writer.run(names) == []


async def test_an_io_error_ends_the_spool(start: Start, health: StoreHealth) -> None:
    writer = start()
    gate, held = await hold(writer)

    def broken(_: apsw.Connection) -> None:
        raise apsw.IOError("disk I/O error")

    requests = [writer.submit(request) for request in (add("before"), broken, add("behind"))]
    gate.go_on.set()
    results = await asyncio.gather(held, *requests, return_exceptions=True)
    assert [type(each) for each in results[1:]] == [SpoolBroken] * 3
    with pytest.raises(SpoolBroken):
        await writer.run(add("after"))
    assert health.broken


async def test_a_broken_spool_leaves_its_log_to_the_next_start(
    start: Start, health: StoreHealth, path: Path
) -> None:
    writer = start()
    await writer.run(add("kept"))
    health.mark_broken("for the test")
    await writer.close()
    assert path.with_name("relay.db-wal").stat().st_size > 0
    again = database.open_writing(path, PATIENCE)
    assert names(again) == ["kept"]
    again.close()


async def test_what_waits_for_a_spool_that_breaks_is_told(
    start: Start, health: StoreHealth
) -> None:
    writer = start()
    gate, held = await hold(writer)
    request = writer.submit(add("1"))
    health.mark_broken("for the test")
    gate.go_on.set()
    results = await asyncio.gather(held, request, return_exceptions=True)
    assert isinstance(results[1], SpoolBroken)


async def test_a_file_that_was_taken_away_ends_the_spool(start: Start) -> None:
    there = [True]
    writer = start(file_unchanged=lambda: there[0])
    await writer.run(add("1"))
    there[0] = False
    with pytest.raises(SpoolBroken, match="removed or replaced"):
        await writer.run(add("2"))


async def test_the_log_moves_into_the_database_as_it_grows(start: Start, path: Path) -> None:
    writer = start()
    before = path.stat().st_size
    await writer.run(much)
    await writer.run(names)
    assert path.stat().st_size > before + 4096 * 4000


async def test_a_checkpoint_that_cannot_be_synced_ends_the_spool(
    failing: FailingSync, start: Start, health: StoreHealth
) -> None:
    writer = start()
    failing.suffix = "relay.db"
    await writer.run(much)
    await writer.close()
    assert health.broken


async def test_a_commit_that_cannot_be_synced_is_not_acknowledged(
    failing: FailingSync, start: Start, path: Path
) -> None:
    writer = start()
    assert await writer.run(add("1")) == "1"
    failing.suffix = "-wal"
    with pytest.raises(SpoolBroken):
        await writer.run(add("2"))
    # The next sync would succeed, and that would mean nothing.
    failing.suffix = None
    with pytest.raises(SpoolBroken):
        await writer.run(add("3"))
    await writer.close()
    again = database.open_writing(path, PATIENCE)
    assert "1" in names(again)
    assert "3" not in names(again)
    again.close()


# ---- the write queue ------------------------------------------------------------------------
# Work comes out in its order, many together, and what is in no hurry lets others come first.


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
    requests._on_defer_timeout()
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
    assert requests._last_group == 0
    for _ in range(4):
        requests.put(request())
    assert len(thread.take(requests).result(10)) == requests._last_group == 4


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
