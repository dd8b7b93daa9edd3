from contextlib import closing
from pathlib import Path

import apsw
import pytest

from relay.core.errors import SpoolUnavailable
from relay.spool.sqlite import database, events

PATH = Path("relay.db")
WANTED = database.scripts()
SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"


def test_each_migration_brings_the_file_to_its_version() -> None:
    with closing(apsw.Connection(":memory:")) as connection:
        migrated = database.apply(connection, PATH, WANTED)
        assert (migrated.before, migrated.after) == (0, len(WANTED))
        assert connection.pragma("user_version") == len(WANTED)
        assert connection.pragma("application_id") == database.APPLICATION_ID
        again = database.apply(connection, PATH, WANTED)
        assert (again.before, again.after) == (len(WANTED), len(WANTED))


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
        assert connection.pragma("user_version") == len(WANTED)
        assert database.apply(connection, PATH, WANTED).after == len(WANTED)
        assert "more" not in {name for _, name, _, _ in events.fetch(connection, SCHEMA, ())}


def test_a_newer_file_is_refused_with_what_to_do() -> None:
    with closing(apsw.Connection(":memory:")) as connection:
        database.apply(connection, PATH, WANTED)
        connection.pragma("user_version", 7)
        with pytest.raises(SpoolUnavailable) as raised:
            database.apply(connection, PATH, WANTED[:1])
    assert str(raised.value) == (
        "this spool was written by a newer relay (schema 7, this one knows 1):"
        " upgrade, or point `spool.path` elsewhere"
    )


@pytest.mark.parametrize(
    "foreign", ["CREATE TABLE t (a)", "PRAGMA user_version = 1", "PRAGMA application_id = 5"]
)
def test_somebody_elses_database_is_refused(foreign: str) -> None:
    with closing(apsw.Connection(":memory:")) as connection:
        connection.execute(foreign)
        with pytest.raises(SpoolUnavailable, match="another program"):
            database.apply(connection, PATH, WANTED)
