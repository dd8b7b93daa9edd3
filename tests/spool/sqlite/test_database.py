import errno
import stat
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest

from relay.core.clock import Epoch
from relay.core.errors import SpoolUnavailable
from relay.spool import SpoolBroken
from relay.spool.sqlite import database, events, open_spool
from relay.spool.sqlite.database import StoreHealth, agree_on_epoch, is_transient
from tests.harness.clock import ManualClock
from tests.harness.deliveries import numbered
from tests.spool.conftest import PATIENCE


def beside(path: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in path.parent.iterdir()}


def test_commits_are_synced(connection: apsw.Connection) -> None:
    assert connection.pragma("journal_mode") == "wal"
    assert connection.pragma("synchronous") == 2


def test_statements_are_planned_once(connection: apsw.Connection) -> None:
    assert connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, -1) == 1


def test_every_file_is_its_owners_alone(connection: apsw.Connection, path: Path) -> None:
    connection.execute("DELETE FROM events WHERE seq = 1; PRAGMA user_version = 1")
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert modes == {"relay.db": 0o600, "relay.db-wal": 0o600, "relay.db-shm": 0o600}


def test_where_nothing_can_be_durable_nothing_is_opened() -> None:
    """A database in memory has no log and no disk."""
    with pytest.raises(SpoolUnavailable, match="cannot be written durably: journal_mode memory"):
        database.open_writing(Path(":memory:"), PATIENCE)


def test_preparing_twice_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    newest = database.newest_of(database.scripts())
    assert database.prepare(path, PATIENCE) == database.Migrated(0, newest)
    before = beside(path)
    assert database.prepare(path, PATIENCE) == database.Migrated(newest, newest)
    assert beside(path) == before


def test_a_migration_tells_that_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_STEPS", 100)
    went_on: list[int] = []
    done = database.prepare(tmp_path / "relay.db", PATIENCE, lambda: went_on.append(1))
    assert (done.before, done.after) == (0, database.newest_of(database.scripts()))
    assert len(went_on) > 10


def test_many_may_open_a_new_file_at_the_same_time(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    ready = threading.Barrier(8)
    opened: list[object] = []

    def open_it() -> None:
        ready.wait()
        try:
            database.prepare(path, timedelta(seconds=5))
            with closing(database.open_writing(path, timedelta(seconds=5))) as connection:
                opened.append(connection.pragma("journal_mode"))
        except SpoolUnavailable as error:
            opened.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened == ["wal"] * 8


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_foreign_database_is_left_untouched(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "relay.db"
    with closing(apsw.Connection(str(path))) as foreign:
        foreign.pragma("journal_mode", mode)
        foreign.execute("CREATE TABLE theirs (a)")
    before = beside(path)
    with pytest.raises(SpoolUnavailable, match="another program"):
        database.prepare(path, PATIENCE)
    assert beside(path) == before


def test_a_file_of_another_kind_is_left_untouched(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    path.write_text("Dear diary,\n" * 1000)
    before = beside(path)
    with pytest.raises(SpoolUnavailable, match="is not a spool"):
        database.prepare(path, PATIENCE)
    assert beside(path) == before


def test_a_newer_file_is_left_untouched(path: Path) -> None:
    with closing(apsw.Connection(str(path))) as newer:
        newer.pragma("user_version", 70)
    before = beside(path)
    with pytest.raises(SpoolUnavailable, match="newer relay"):
        database.prepare(path, PATIENCE)
    assert beside(path) == before


def test_a_file_that_was_never_finished_is_begun_again(tmp_path: Path) -> None:
    """A crash between making the file and the first commit leaves it empty."""
    path = tmp_path / "relay.db"
    path.touch()
    assert database.prepare(path, PATIENCE).before == 0


def test_a_path_may_hold_what_an_address_may_not(tmp_path: Path) -> None:
    path = tmp_path / "a?b#c%d.db"
    database.prepare(path, PATIENCE)
    assert path.exists()


def test_a_directory_is_no_spool(tmp_path: Path) -> None:
    with pytest.raises(SpoolUnavailable, match="cannot be used"):
        database.prepare(tmp_path, PATIENCE)


def test_the_readers_connection_cannot_write(path: Path) -> None:
    with (
        closing(database.open_writing(path, PATIENCE)),
        closing(database.open_reading(path, PATIENCE)) as reading,
        pytest.raises(apsw.ReadOnlyError),
    ):
        reading.execute("DELETE FROM events")


def test_a_log_that_is_to_be_left_survives_closing(path: Path) -> None:
    connection = database.open_writing(path, PATIENCE)
    connection.execute("INSERT INTO tallies VALUES (1, 1, 1)")
    database.keep_log_on_close(connection)
    connection.close()
    assert path.with_name("relay.db-wal").stat().st_size > 0
    with closing(database.open_writing(path, PATIENCE)) as again:
        assert events.fetch(again, "SELECT deliveries FROM tallies", ()) == [(1,)]


# ---- the shared epoch -----------------------------------------------------------------------

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_the_first_since_the_start_says_what_the_time_is(path: Path) -> None:
    database.prepare(path, PATIENCE)
    connection = database.open_writing(path, PATIENCE)
    first, second = Epoch("a", NOON), Epoch("b", NOON + HOUR)
    assert agree_on_epoch(connection, first) == first
    assert agree_on_epoch(connection, Epoch("a", NOON - HOUR)) == first
    # The machine was started again: what was said before means nothing now.
    assert agree_on_epoch(connection, second) == second
    assert agree_on_epoch(connection, Epoch("b", NOON)) == second
    connection.close()


def test_a_spool_that_cannot_be_written_keeps_nobody_from_starting(path: Path) -> None:
    database.prepare(path, PATIENCE)
    connection = database.open_reading(path, PATIENCE)
    assert agree_on_epoch(connection, Epoch("a", NOON)) == Epoch("a", NOON)
    connection.close()


@pytest.mark.parametrize("off", [HOUR, -HOUR])
async def test_processes_whose_clocks_differ_leave_each_other_their_leases(
    off: timedelta, path: Path
) -> None:
    first = await open_spool(path, ManualClock(boot="a"))
    second = await open_spool(path, late := ManualClock(ManualClock().now() + off, boot="a"))
    await first.put(numbered(1))
    lease = timedelta(minutes=1)
    assert len((await first.claim("billing", 5, lease, ordered=False)).leases) == 1
    assert (await second.claim("billing", 5, lease, ordered=False)).leases == ()
    await late.advance(61)
    assert len((await second.claim("billing", 5, lease, ordered=False)).leases) == 1
    await first.close()
    await second.close()


# ---- faults ---------------------------------------------------------------------------------


def fault(code: int) -> apsw.Error:
    error = apsw.exception_for(code)
    assert isinstance(error, apsw.Error)
    return error


@pytest.mark.parametrize(
    "code",
    [
        apsw.SQLITE_BUSY,
        apsw.SQLITE_LOCKED,
        apsw.SQLITE_FULL,
        apsw.SQLITE_NOMEM,
        apsw.SQLITE_IOERR_NOMEM,
        apsw.SQLITE_CONSTRAINT_UNIQUE,
        apsw.SQLITE_TOOBIG,
        apsw.SQLITE_CANTOPEN,
    ],
)
def test_these_pass(code: int) -> None:
    assert is_transient(fault(code), 0)


@pytest.mark.parametrize(
    "code",
    [
        apsw.SQLITE_IOERR,
        apsw.SQLITE_IOERR_READ,
        apsw.SQLITE_IOERR_WRITE,
        apsw.SQLITE_IOERR_FSYNC,
        apsw.SQLITE_CORRUPT,
        apsw.SQLITE_NOTADB,
        apsw.SQLITE_READONLY_DBMOVED,
    ],
)
def test_these_do_not(code: int) -> None:
    assert not is_transient(fault(code), errno.EIO)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_write_that_finds_no_room_passes_and_a_sync_does_not(number: int) -> None:
    assert is_transient(fault(apsw.SQLITE_IOERR_WRITE), number)
    assert not is_transient(fault(apsw.SQLITE_IOERR_FSYNC), number)
    assert not is_transient(fault(apsw.SQLITE_IOERR_DIR_FSYNC), number)


def test_the_first_reason_stays(connection: apsw.Connection) -> None:
    health = StoreHealth()
    health.check()
    assert not isinstance(health.classify(fault(apsw.SQLITE_BUSY), connection), SpoolBroken)
    health.check()
    assert isinstance(health.classify(apsw.CorruptError("first"), connection), SpoolBroken)
    health.mark_broken("something else")
    with pytest.raises(SpoolBroken, match="needs a restart: first"):
        health.check()
    assert issubclass(SpoolBroken, SpoolUnavailable)


def test_a_file_that_was_replaced_is_another_one(tmp_path: Path) -> None:
    path, spare = tmp_path / "relay.db", tmp_path / "spare"
    path.touch()
    spare.touch()
    watch = database.FileIdentity(path)
    path.write_text("grown")
    assert watch.unchanged()
    spare.rename(path)
    assert not watch.unchanged()
    path.unlink()
    assert not watch.unchanged()


# ---- migrations -----------------------------------------------------------------------------

PATH = Path("relay.db")
WANTED = database.scripts()
NEWEST = database.newest_of(WANTED)
SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"


def test_each_migration_brings_the_file_to_its_version() -> None:
    with closing(apsw.Connection(":memory:")) as connection:
        migrated = database.apply(connection, PATH, WANTED)
        assert (migrated.before, migrated.after) == (0, NEWEST)
        assert connection.pragma("user_version") == NEWEST
        assert connection.pragma("application_id") == database.APPLICATION_ID
        again = database.apply(connection, PATH, WANTED)
        assert (again.before, again.after) == (NEWEST, NEWEST)


@pytest.mark.parametrize("version", range(len(WANTED) + 1))
def test_a_migrated_file_has_the_tables_of_a_fresh_one(version: int) -> None:
    with (
        closing(apsw.Connection(":memory:")) as fresh,
        closing(apsw.Connection(":memory:")) as older,
    ):
        database.apply(fresh, PATH, WANTED)
        database.apply(older, PATH, WANTED[:version])
        database.apply(older, PATH, WANTED)
        assert events.fetch(older, SCHEMA, ()) == events.fetch(fresh, SCHEMA, ())
        assert len(events.fetch(fresh, SCHEMA, ())) > 10


def test_a_migration_that_fails_changes_nothing() -> None:
    broken = (*WANTED, "CREATE TABLE more (a); CREATE TABLE more (a)")
    with closing(apsw.Connection(":memory:")) as connection:
        with pytest.raises(apsw.SQLError):
            database.apply(connection, PATH, broken)
        assert not connection.in_transaction
        assert connection.pragma("user_version") == NEWEST
        assert database.apply(connection, PATH, WANTED).after == NEWEST
        assert "more" not in {name for _, name, _, _ in events.fetch(connection, SCHEMA, ())}


def test_a_newer_file_is_refused_with_what_to_do() -> None:
    with closing(apsw.Connection(":memory:")) as connection:
        database.apply(connection, PATH, WANTED)
        connection.pragma("user_version", 70)
        with pytest.raises(SpoolUnavailable) as raised:
            database.apply(connection, PATH, WANTED[:1])
    assert str(raised.value) == (
        "this spool was written by a newer relay (schema 70, this one knows 5):"
        " upgrade, or point `spool.path` elsewhere"
    )


@pytest.mark.parametrize("version", range(1, database.BASELINE))
def test_a_file_of_a_development_version_is_left_untouched(tmp_path: Path, version: int) -> None:
    path = tmp_path / "relay.db"
    with closing(apsw.Connection(str(path))) as older:
        older.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY)")
        older.pragma("application_id", database.APPLICATION_ID)
        older.pragma("user_version", version)
    before = beside(path)
    with pytest.raises(SpoolUnavailable) as raised:
        database.prepare(path, PATIENCE)
    assert str(raised.value) == (
        f"this spool was written by a development version (schema {version}, this one knows 5 and"
        " later): let that version deliver what it holds, then remove the file"
    )
    assert beside(path) == before


@pytest.mark.parametrize(
    "foreign", ["CREATE TABLE t (a)", "PRAGMA user_version = 1", "PRAGMA application_id = 5"]
)
def test_somebody_elses_database_is_refused(foreign: str) -> None:
    with closing(apsw.Connection(":memory:")) as connection:
        connection.execute(foreign)
        with pytest.raises(SpoolUnavailable, match="another program"):
            database.apply(connection, PATH, WANTED)
