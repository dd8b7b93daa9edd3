import stat
import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from relay.core.errors import SpoolUnavailable
from relay.spool.sqlite import database, events
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
    newest = len(database.scripts())
    assert database.prepare(path, PATIENCE) == database.Migrated(0, newest)
    before = beside(path)
    assert database.prepare(path, PATIENCE) == database.Migrated(newest, newest)
    assert beside(path) == before


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
        newer.pragma("user_version", 7)
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
    connection.execute("INSERT INTO tallies VALUES ('a', 'b', 1)")
    database.leave_log(connection)
    connection.close()
    assert path.with_name("relay.db-wal").stat().st_size > 0
    with closing(database.open_writing(path, PATIENCE)) as again:
        assert events.fetch(again, "SELECT events FROM tallies", ()) == [(1,)]
