"""Cutting the log; that it moves into the database as it grows is in `test_writer.py`."""

from pathlib import Path

import apsw
import pytest

from relay.spool.sqlite import body_tokens, database
from relay.spool.sqlite.checkpoints import Checkpoints
from relay.spool.sqlite.database import StoreHealth
from relay.spool.sqlite.events import Tables, open_tables
from tests.spool.conftest import PATIENCE, FailingSync
from tests.spool.sqlite.test_body_tokens import BODY, store

TOKEN = b"a-secret-that-goes"


def log_of(path: Path) -> bytes:
    return path.with_name(f"{path.name}-wal").read_bytes()


@pytest.fixture
def now() -> list[float]:
    return [100.0]


@pytest.fixture
def checkpoints(connection: apsw.Connection, shared: Tables, now: list[float]) -> Checkpoints:
    return Checkpoints(connection, shared, StoreHealth(), clock=lambda: now[0])


def mask(connection: apsw.Connection, shared: Tables) -> None:
    assert body_tokens.expire(connection, shared, 2**62, 10) == 1


def test_nothing_of_a_masked_token_stays_in_the_log(
    connection: apsw.Connection, shared: Tables, path: Path, checkpoints: Checkpoints
) -> None:
    store(connection, shared, BODY % b"x")
    checkpoints.run(full=False)
    assert TOKEN in log_of(path)
    mask(connection, shared)
    checkpoints.run(full=False)
    assert log_of(path) == b""
    assert TOKEN not in path.read_bytes()
    assert shared.masked == set()
    assert connection.execute("PRAGMA busy_timeout").fetchall() == [(50,)]


def test_while_somebody_reads_it_waits_and_then_is_cut(
    connection: apsw.Connection,
    shared: Tables,
    path: Path,
    checkpoints: Checkpoints,
    now: list[float],
) -> None:
    store(connection, shared, BODY % b"x")
    reader = database.open_reading(path, PATIENCE)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM events").fetchall()
    mask(connection, shared)
    checkpoints.run(full=False)
    assert TOKEN in log_of(path)
    reader.execute("COMMIT")
    checkpoints.run(full=False)
    assert TOKEN in log_of(path)
    now[0] += 10
    checkpoints.run(full=False)
    assert log_of(path) == b""
    reader.close()


def test_a_cut_that_cannot_be_synced_ends_the_spool(
    failing: FailingSync, path: Path, now: list[float]
) -> None:
    connection = database.open_writing(path, PATIENCE)
    shared, health = open_tables(connection), StoreHealth()
    checkpoints = Checkpoints(connection, shared, health, clock=lambda: now[0])
    store(connection, shared, BODY % b"x")
    mask(connection, shared)
    failing.suffix = "relay.db"
    checkpoints.run(full=False)
    assert health.broken
    failing.suffix = None
    connection.close()
