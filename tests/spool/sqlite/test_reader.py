import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import apsw
import pytest

from relay.core.errors import SpoolUnavailable
from relay.spool import SpoolBroken
from relay.spool.sqlite import database
from relay.spool.sqlite.database import StoreHealth
from relay.spool.sqlite.reader import LOWEST_PRIORITY, Reader, run_at_low_priority
from tests.spool.conftest import PATIENCE


@pytest.fixture
def health() -> StoreHealth:
    return StoreHealth()


@pytest.fixture
async def reader(
    connection: apsw.Connection, path: Path, health: StoreHealth
) -> AsyncIterator[Reader]:
    reader = Reader(database.open_reading(path, PATIENCE), health)
    yield reader
    await reader.close()


async def test_reading_holds_up_nobody(reader: Reader, connection: apsw.Connection) -> None:
    """The loop goes on, and the writer writes, while a read is under way."""
    go_on = threading.Event()

    def slow(reading: apsw.Connection) -> object:
        with reading:
            before = reading.execute("SELECT count(*) FROM tallies").fetchall()
            go_on.wait(10)
            after = reading.execute("SELECT count(*) FROM tallies").fetchall()
        return before == after

    reading = asyncio.ensure_future(reader.run(slow))
    await asyncio.sleep(0)
    connection.execute("INSERT INTO tallies VALUES (1, 1, 1)")
    go_on.set()
    assert await reading is True


async def test_an_error_of_the_statement_passes(reader: Reader) -> None:
    with pytest.raises(SpoolUnavailable) as told:
        await reader.run(lambda each: each.execute("SELECT * FROM elsewhere"))
    assert isinstance(told.value.__cause__, apsw.SQLError)
    assert await reader.run(lambda each: each.pragma("query_only")) == 1


async def test_damage_ends_the_spool(reader: Reader, health: StoreHealth) -> None:
    def damaged(_: apsw.Connection) -> None:
        raise apsw.CorruptError("database disk image is malformed")

    with pytest.raises(SpoolBroken):
        await reader.run(damaged)
    assert health.broken
    with pytest.raises(SpoolBroken):
        await reader.run(lambda each: each.pragma("query_only"))


async def test_closing_twice_is_closing_once(reader: Reader) -> None:
    await reader.close()
    await reader.close()
    with pytest.raises(SpoolUnavailable, match="closed"):
        await reader.run(lambda each: each.pragma("query_only"))


# ---- the integrity check --------------------------------------------------------------------

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


class Work:
    """Goes on for ever, but for the last of so many times; begins when it is let."""

    def __init__(self, endless: int = 0) -> None:
        self.endless = endless
        self.priorities: list[int] = []
        self.begun = threading.Event()
        self.may_begin = threading.Event()
        self.may_begin.set()

    def __call__(self, connection: apsw.Connection) -> str:
        self.begun.set()
        self.may_begin.wait(20)
        self.priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        if len(self.priorities) <= self.endless:
            connection.execute(ENDLESS).fetchall()
        return "done"


@pytest.fixture
def connect(path: Path) -> partial[apsw.Connection]:
    database.prepare(path, PATIENCE)
    return partial(database.open_reading, path, PATIENCE)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own here")
async def test_everybody_else_goes_first(connect: partial[apsw.Connection]) -> None:
    work = Work()
    assert await run_at_low_priority(connect, work, too_long=lambda: True) == "done"
    assert work.priorities == [LOWEST_PRIORITY]
    assert os.getpriority(os.PRIO_PROCESS, 0) < LOWEST_PRIORITY


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own here")
async def test_what_takes_too_long_is_begun_again_as_an_equal(
    connect: partial[apsw.Connection],
) -> None:
    work = Work(endless=1)
    assert await run_at_low_priority(connect, work, too_long=lambda: True) == "done"
    assert work.priorities == [LOWEST_PRIORITY, os.getpriority(os.PRIO_PROCESS, 0)]


async def test_its_error_is_told(connect: partial[apsw.Connection]) -> None:
    def fail(_: apsw.Connection) -> None:
        raise apsw.CorruptError("damaged")

    with pytest.raises(apsw.CorruptError):
        await run_at_low_priority(connect, fail, too_long=lambda: False)


@pytest.mark.parametrize("early", [True, False])
async def test_cancelled_it_ends_also_when_it_has_hardly_begun(
    early: bool, connect: partial[apsw.Connection]
) -> None:
    work = Work(endless=1)
    if early:
        work.may_begin.clear()
    running = asyncio.ensure_future(run_at_low_priority(connect, work, too_long=lambda: False))
    await asyncio.to_thread(work.begun.wait, 20)
    running.cancel()
    # It has been interrupted by now, and goes on as if nothing had been said.
    await asyncio.sleep(0)
    work.may_begin.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(work.priorities) == 1


async def test_long_work_apart_holds_up_no_other(reader: Reader, path: Path) -> None:
    go_on = threading.Event()

    def slow(reading: apsw.Connection) -> object:
        assert go_on.wait(20)
        return reading.execute("SELECT count(*) FROM tallies").fetchall()

    connect = partial(database.open_reading, path, PATIENCE)
    waiting = asyncio.ensure_future(reader.run_apart(connect, slow))
    assert await reader.run(lambda reading: reading.execute("SELECT 1").fetchall()) == [(1,)]
    assert not waiting.done()
    go_on.set()
    assert await waiting == [(0,)]
    with pytest.raises(SpoolUnavailable):
        await reader.run_apart(connect, lambda reading: reading.execute("SELECT * FROM nothing"))
    await reader.close()
    with pytest.raises(SpoolUnavailable, match="closed"):
        await reader.run_apart(connect, slow)
