import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import apsw
import pytest

from relay.core.errors import LeaseLost, SpoolUnavailable
from relay.core.event import Delivered, Done
from relay.spool import Settlement, SpoolBroken, SpoolFull, SpoolOverloaded, Stored
from relay.spool.sqlite import database, events
from relay.spool.sqlite.database import StoreHealth
from relay.spool.sqlite.disk import Ballast
from relay.spool.sqlite.events import Tables, open_tables
from relay.spool.sqlite.intake import NewEvent
from relay.spool.sqlite.queue import Settlements
from relay.spool.sqlite.writer import BATCH_SIZE, Batch, Work, Writer, WriteRequest
from tests.contracts.spool import CountingHandoff
from tests.harness.clock import run_loop_until
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.conftest import PATIENCE, FailingSync
from tests.spool.sqlite.filling import ignore, new

Start = Callable[..., Writer]


def add(name: str) -> Work[str]:
    def work(connection: apsw.Connection) -> str:
        connection.execute("INSERT INTO names (name) VALUES (?)", (name,))
        return name

    return work


def much(connection: apsw.Connection) -> None:
    """Write more than the log is let grow to."""
    connection.execute("CREATE TABLE much (a)")
    connection.execute("INSERT INTO much VALUES (zeroblob(4096 * 4100))")


def names(connection: apsw.Connection) -> list[str]:
    return [name for (name,) in events.fetch(connection, "SELECT name FROM names ORDER BY id")]


class Counted:
    """A connection that counts the statements of each transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.transactions: list[int] = []

    def execute(self, *given: Any) -> object:
        self._count(given[0])
        return self._connection.execute(*given)

    def executemany(self, *given: Any) -> object:
        self._count(given[0])
        return self._connection.executemany(*given)

    def __enter__(self) -> None:
        self._connection.__enter__()

    def __exit__(self, *given: object) -> None:
        leave: Any = self._connection.__exit__
        leave(*given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def _count(self, statement: str) -> None:
        if statement.startswith("BEGIN"):
            self.transactions.append(0)
        if self.transactions:
            self.transactions[-1] += 1


def transactions(writer: Writer) -> list[int]:
    """Return the number of statements in each transaction so far."""
    counted: Any = writer._connection
    found: list[int] = counted.transactions
    return found


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
        shared = open_tables(connection)
        counted = cast("apsw.Connection", Counted(connection))
        writers.append(Writer(counted, shared, health, file_unchanged, ballast, waiting=waiting))
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


# ---- batches --------------------------------------------------------------------------------
# New events that come together are written together, and outcomes wait a moment for them.


class Table:
    """New events under a slot each, their answers, and their settling."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.shared = writer._shared
        self.handoff = CountingHandoff(10_000)
        self.answers: list[object] = []
        self.settled: list[object] = []

    def put(self, key: str, event_id: str | None = None) -> NewEvent:
        event = verified(key=key, event_id=event_id or key, body=b"x" * 100)
        new = NewEvent(event, self.shared.digests, 0, self.answers.append)
        self.handoff.seats.reserve()
        new.seat("billing", self.handoff, self.shared.tokens.next(), RECEIVED)
        self.writer.store(new)
        return new

    def settle(self, *, urgent: bool = False) -> int:
        """Settle all that has been handed over; return how many."""
        leases, self.handoff.taken = self.handoff.taken, []
        given = [Settlement(lease, Done(), Delivered(200)) for lease in leases]
        self.writer.settle(Settlements(given, 0, self.settled.append), urgent=urgent)
        return len(given)

    async def answered(self, number: int) -> None:
        await run_loop_until(lambda: min(len(self.answers), len(self.handoff.taken)) >= number)

    async def written(self, number: int) -> None:
        await run_loop_until(lambda: len(self.settled) >= number)


def planned(writer: Writer) -> str:
    """Return when the next batch goes."""
    if writer._timer is None:
        return "nothing"
    return "in a moment" if isinstance(writer._timer, asyncio.TimerHandle) else "at once"


async def test_a_batch_of_64_is_a_handful_of_statements(start: Start) -> None:
    table = Table(start())
    for number in range(64):
        table.put(f"first {number}")
    await table.answered(64)
    table.settle()
    for number in range(64):
        table.put(f"second {number}")
    await table.written(1)
    [first, second] = transactions(table.writer)
    assert first <= 10
    assert second <= 9
    assert table.settled == [[True] * 64]
    assert {type(answer) for answer in table.answers} == {Stored}


async def test_the_first_event_goes_at_once_and_more_wait_for_each_other(start: Start) -> None:
    """After a batch of many, the next waits for a moment: more are on their way."""
    table = Table(start())
    table.put("alone")
    assert planned(table.writer) == "at once"
    await asyncio.sleep(0)
    assert planned(table.writer) == "nothing"
    await table.answered(1)
    for number in range(4):
        table.put(str(number))
    await table.answered(5)
    table.put("after many")
    assert planned(table.writer) == "in a moment"
    await table.answered(6)
    table.put("after one")
    assert planned(table.writer) == "at once"
    await table.answered(7)


async def test_outcomes_ride_with_the_next_event(start: Start) -> None:
    table = Table(start())
    table.put("1")
    await table.answered(1)
    table.settle()
    assert table.writer._deferred
    before = len(transactions(table.writer))
    table.put("2")
    await table.written(1)
    assert len(transactions(table.writer)) == before + 1


async def test_outcomes_go_alone_after_a_moment(start: Start) -> None:
    table = Table(start())
    table.put("1")
    await table.answered(1)
    table.settle()
    await table.written(1)
    assert table.settled == [[True]]


async def test_urgent_outcomes_go_at_once(start: Start) -> None:
    table = Table(start())
    table.put("1")
    await table.answered(1)
    table.settle(urgent=True)
    assert table.writer._busy
    await table.written(1)


async def test_work_takes_along_what_waits(start: Start) -> None:
    table = Table(start())
    table.put("1")
    await table.answered(1)
    table.settle()
    await table.writer.run(names)
    await table.written(1)
    assert len(transactions(table.writer)) == 2


async def test_what_comes_while_a_batch_is_written_is_the_next_one(start: Start) -> None:
    table = Table(start(waiting=1000))
    gate, held = await hold(table.writer)
    for number in range(BATCH_SIZE + 3):
        table.put(str(number))
    table.settle()
    assert table.writer._batches.empty()
    gate.go_on.set()
    await held
    await table.answered(BATCH_SIZE + 3)
    assert len(transactions(table.writer)) == 3


async def test_one_event_that_cannot_be_stored_leaves_the_others_alone(start: Start) -> None:
    """A statement that fails for one of them has failed for all: each is written by itself."""
    table = Table(start())
    events_of = [table.put(str(number)) for number in range(3)]
    events_of[1].content = None  # type: ignore[assignment]
    await run_loop_until(lambda: len(table.answers) == 3)
    assert sorted(type(answer).__name__ for answer in table.answers) == [
        *("SpoolUnavailable", "Stored", "Stored")
    ]
    await asyncio.sleep(0)
    assert len(table.handoff.taken) == 2


async def test_outcomes_beside_an_event_that_cannot_be_stored_are_recorded(start: Start) -> None:
    table = Table(start())
    table.put("1")
    await table.answered(1)
    table.settle()
    bad = table.put("2")
    bad.content = None  # type: ignore[assignment]
    await table.written(1)
    assert table.settled == [[True]]
    await run_loop_until(lambda: len(table.answers) == 2)
    assert isinstance(table.answers[1], SpoolUnavailable)


async def test_a_name_that_failed_work_has_added_is_none(start: Start) -> None:
    """What it has undone must not be used by the work behind it."""
    writer = start()
    gate, _ = await hold(writer)

    def number(connection: apsw.Connection) -> int:
        return writer._shared.names.number(connection, "billing")

    def undone(connection: apsw.Connection) -> None:
        with connection:
            number(connection)
            raise KeyError("undone")

    failing, adding = writer.submit(undone), writer.submit(number)
    gate.go_on.set()
    results = await asyncio.gather(failing, adding, return_exceptions=True)
    assert isinstance(results[0], KeyError)
    assert await writer.run(names) == ["billing"]
    assert results[1] == 1


async def test_an_event_that_was_withdrawn_is_not_stored(start: Start) -> None:
    table = Table(start())
    gate, held = await hold(table.writer)
    gone = table.put("gone")
    table.put("stays")
    gone.withdraw()
    gate.go_on.set()
    await held
    await table.answered(1)
    kept = await table.writer.run(lambda each: events.fetch(each, "SELECT id FROM events"))
    assert kept == [("stays",)]
    assert (table.answers, table.handoff.seats.free) == ([Stored("stays")], 9_999)


async def test_no_answer_waits_for_an_attempt(start: Start) -> None:
    """Each is answered an iteration of the loop before its event is handed over."""
    table = Table(start())
    for number in range(40):
        table.put(str(number))
    seen: list[tuple[int, int]] = []
    while len(table.handoff.taken) < 40:
        await asyncio.sleep(0)
        seen.append((len(table.answers), len(table.handoff.taken)))
    answered = [0, *(answers for answers, _ in seen)]
    assert max(after - before for before, after in pairwise(answered)) <= 16
    for (answers, _), (_, taken) in pairwise(seen):
        assert taken <= answers


async def test_events_without_a_slot_are_notified(path: Path, health: StoreHealth) -> None:
    connection = database.open_writing(path, PATIENCE)
    notified: list[str] = []
    writer = Writer(
        connection,
        open_tables(connection),
        health,
        lambda: True,
        Ballast(path.with_name("ballast")),
        notify=notified.append,
    )
    new = NewEvent(verified(), writer._shared.digests, 0, lambda _: None)
    writer.store(new)
    await run_loop_until(lambda: bool(notified))
    assert notified == ["billing"]
    await writer.close()


async def test_closing_writes_what_waits_and_takes_nothing_more(start: Start) -> None:
    table = Table(start(waiting=1000))
    for number in range(BATCH_SIZE + 3):
        table.put(str(number))
    work = table.writer.submit(names)
    await table.writer.close()
    assert work.done()
    await table.answered(BATCH_SIZE + 3)
    with pytest.raises(SpoolUnavailable, match="closed"):
        table.put("late")
    with pytest.raises(SpoolUnavailable, match="closed"):
        table.settle()


async def test_too_many_new_events_are_refused_and_those_before_stay(start: Start) -> None:
    table = Table(start(waiting=2))
    table.put("1")
    table.put("2")
    with pytest.raises(SpoolOverloaded, match="2 writes are waiting"):
        table.put("3")
    await table.answered(2)


# ---- what goes together ---------------------------------------------------------------------


def work_request(*, is_intake: bool = False) -> WriteRequest:
    future = asyncio.get_running_loop().create_future()
    return WriteRequest(lambda _: None, future, is_intake=is_intake)


async def test_a_full_disk_takes_outcomes_and_nothing_new(shared: Tables) -> None:
    event, group = new(shared, verified()), Settlements([], 0, ignore)
    inward, outward = work_request(is_intake=True), work_request()
    batch = Batch([event], [group], [inward, outward])
    intake, outcomes = batch.intake(), batch.outcomes()
    assert (intake.new, intake.settled, intake.requests) == ([event], [], [inward])
    assert (outcomes.new, outcomes.settled, outcomes.requests) == ([], [group], [outward])
    assert (len(batch), len(intake), len(outcomes)) == (4, 2, 2)


async def test_each_piece_can_be_written_alone(shared: Tables) -> None:
    event, group, work = new(shared, verified()), Settlements([], 0, ignore), work_request()
    parts = Batch([event], [group], [work]).parts()
    assert [(part.new, part.settled, part.requests) for part in parts] == [
        ([event], [], []),
        ([], [group], []),
        ([], [], [work]),
    ]


async def test_what_fails_together_has_an_exception_each(shared: Tables) -> None:
    event, group, work = new(shared, verified()), Settlements([], 0, ignore), work_request()
    event.result = Stored("a")
    batch = Batch([event], [group], [work])
    batch.fail(lambda: SpoolFull("full"))
    errors = [each.error for part in (batch.new, batch.settled, batch.requests) for each in part]
    assert [type(error) for error in errors] == [SpoolFull] * 3
    assert len({id(error) for error in errors}) == 3
    answers: list[object] = []
    event.done = answers.append
    event.resolve()
    assert answers == [event.error]
    work.resolve()
    assert isinstance(work.future.exception(), SpoolFull)


async def test_a_request_whose_caller_is_gone_resolves_nothing() -> None:
    work = work_request()
    work.future.cancel()
    work.error = SpoolUnavailable("too late")
    work.resolve()
    with pytest.raises(asyncio.CancelledError):
        work.future.result()


async def test_a_request_gives_its_result(connection: apsw.Connection) -> None:
    work = work_request()
    work.result = connection.pragma("user_version")
    work.resolve()
    assert await work.future == work.result
