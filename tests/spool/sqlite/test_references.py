"""The index of references: its parts, what breaks off, and how few steps each one takes."""

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw
import pytest

from relay.core.errors import SpoolUnavailable
from relay.spool.sqlite import SqliteSpool, events, open_spool, references
from relay.spool.sqlite.events import Tables
from tests.contracts.finding import found, keep
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.conftest import PATIENCE
from tests.spool.sqlite.filling import put
from tests.spool.sqlite.plans import plans, scans


@pytest.fixture
async def spool(path: Path) -> AsyncIterator[SqliteSpool]:
    spool = await open_spool(path, ManualClock(RECEIVED), busy_timeout=PATIENCE)
    yield spool
    await spool.close()


def fetch(path: Path, statement: str, *values: Any) -> list[events.Row]:
    connection = apsw.Connection(str(path))
    try:
        return events.fetch(connection, statement, values)
    finally:
        connection.close()


async def test_a_part_is_sorted_and_ends_with_its_last_event(
    spool: SqliteSpool, path: Path
) -> None:
    await keep(spool, "b", "a")
    assert await spool.references.fill(1)
    await keep(spool, "c", first=2)
    await spool.put(verified(key="more", references=(("x", "c"), ("y", "a"), ("z", "c"))))
    assert await spool.references.fill(1)
    assert fetch(path, "SELECT * FROM refs ORDER BY part") == [
        *((2, "a", 2), (2, "b", 1), (4, "a", 4), (4, "c", 3), (4, "c", 4))
    ]
    assert fetch(path, "SELECT part, seq FROM refs_to") == [(2, 4)]


async def test_a_filling_that_breaks_off_is_done_again(spool: SqliteSpool, path: Path) -> None:
    texts = [f"ORDER-{number:05}" for number in range(1500)]
    ids = await keep(spool, *texts)
    written = references.add
    steps: list[int] = []

    def breaking(*given: Any, **more: Any) -> bool:
        steps.append(len(more["rows"] or ()))
        if len(steps) == 2:
            raise SpoolUnavailable("broken off")
        return written(*given, **more)

    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(references, "add", breaking)
        with suppress(SpoolUnavailable):
            await spool.references.fill(1)
    # What was written is behind what is whole, and is neither found nor in the way.
    assert steps == [1000, 500]
    assert fetch(path, "SELECT count(*), (SELECT seq FROM refs_to) FROM refs") == [(1000, 0)]
    assert await found(spool, "ORDER-00007") == [ids[-8]]
    await keep(spool, "new", first=1500)
    assert await spool.references.fill(1)
    assert fetch(path, "SELECT count(*), count(DISTINCT part), max(seq) FROM refs") == [
        (1501, 1, 1501)
    ]
    assert await found(spool, "ORDER-00007") == [ids[-8]]


async def test_of_two_processes_one_fills_a_part(spool: SqliteSpool, path: Path) -> None:
    await keep(spool, *(f"ORDER-{number:05}" for number in range(1500)))
    other = await open_spool(path, ManualClock(RECEIVED), busy_timeout=PATIENCE)
    written = references.add
    fillings: list[bool] = []

    def overtaken(connection: apsw.Connection, *given: Any, **more: Any) -> bool:
        if not fillings:
            # The other one begins here, and takes it over.
            [(begun, seq)] = events.fetch(connection, "SELECT part, seq FROM refs_to")
            fillings.append(references.begin(connection, begun, seq))
        return written(connection, *given, **more)

    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(references, "add", overtaken)
        assert not await spool.references.fill(1)
    assert fillings == [True]
    assert fetch(path, "SELECT count(*) FROM refs") == [(0,)]
    assert await other.references.fill(1)
    assert not await spool.references.fill(1)
    assert fetch(path, "SELECT count(*), count(DISTINCT seq) FROM refs") == [(1500, 1500)]
    await other.close()


def test_one_that_was_looked_at_before_another_began_does_not_begin(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, verified(references=(("id", "ORDER-1"),)))
    before = references.due(connection, 1)
    assert before == (0, 0, 1)
    assert references.begin(connection, 0, 0)
    assert not references.begin(connection, 0, 0)
    assert references.clear(connection, 0, 0) is None
    assert references.clear(connection, 1, 0) == 0


@pytest.mark.parametrize("head", [b"", b"{", b"\xff", b"[]", b'[1,2,3,4,5,6,7,8,9,0,1,["x",[1]]]'])
async def test_a_damaged_head_stops_nothing(spool: SqliteSpool, path: Path, head: bytes) -> None:
    ids = await keep(spool, "ORDER-1", "ORDER-2")
    fetch(path, "UPDATE events SET head = ? WHERE seq = 1", head)
    assert await found(spool, "ORDER") == ids[:1]
    assert await spool.references.fill(1)
    assert await found(spool, "ORDER") == ids[:1]


async def test_a_part_goes_when_what_it_is_of_is_gone(spool: SqliteSpool, path: Path) -> None:
    for first in (0, 2):
        await keep(spool, "a", "b", first=first)
        await spool.references.fill(1)
    assert not await spool.references.prune()
    fetch(path, "DELETE FROM events WHERE seq < 3")
    fetch(path, "DELETE FROM queue WHERE seq < 3")
    assert await spool.references.prune()
    assert fetch(path, "SELECT DISTINCT part FROM refs") == [(4,)]
    assert not await spool.references.prune()


# ---- how SQLite goes about it ---------------------------------------------------------------


@pytest.fixture
def filled(connection: apsw.Connection, shared: Tables) -> apsw.Connection:
    """Give a connection to a spool with three parts, and events that are in none."""
    for number in range(40):
        named = (("order_id", f"ORDER-{number:03}"),)
        put(connection, shared, verified(key=f"{number}", references=named))
        if number % 10 == 9 and number < 35:
            [(begun, seq)] = events.fetch(connection, "SELECT part, seq FROM refs_to")
            references.begin(connection, begun, seq)
            rows = references.read(connection, seq, number + 1)
            references.add(connection, begun + 1, seq, number + 1, rows)
            references.add(connection, begun + 1, seq, number + 1, None)
    return connection


def test_nothing_of_it_reads_a_whole_table(filled: apsw.Connection) -> None:
    steps = plans(filled, lambda connection: references.due(connection, 1))
    steps += plans(filled, lambda connection: references.read(connection, 0, 10))
    steps += plans(filled, lambda connection: references.clear(connection, 3, 30))
    steps += plans(filled, references.outlived)
    steps += plans(filled, lambda connection: references.remove(connection, 10, [1]))
    assert steps
    assert not scans(steps)
