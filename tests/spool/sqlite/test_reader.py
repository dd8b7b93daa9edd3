import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from relay.core.errors import SpoolUnavailable
from relay.spool import SpoolBroken
from relay.spool.sqlite import database
from relay.spool.sqlite.database import StoreHealth
from relay.spool.sqlite.reader import Reader
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
    connection.execute("INSERT INTO tallies VALUES ('a', 'b', 1)")
    go_on.set()
    assert await reading is True


async def test_an_error_of_the_statement_passes(reader: Reader) -> None:
    with pytest.raises(SpoolUnavailable, match="no such table"):
        await reader.run(lambda each: each.execute("SELECT * FROM elsewhere"))
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
