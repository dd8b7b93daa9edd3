"""Opening the file: refusing a foreign one, applying migrations, and the settings that matter."""

from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote

import apsw

from relay.errors import SpoolUnavailable
from relay.spool._sqlite import files, migrations
from relay.spool._sqlite.faults import unavailable
from relay.spool._sqlite.migrations import Migrated

_FULL: Final = 2
_CACHE_KIB: Final = 4 * 1024
# A burst makes the write-ahead log grow; this is what it keeps afterwards.
_LOG_KEEPS: Final = 64 * 1024 * 1024
_TURNS: Final = 100


def prepare(path: Path, patience: timedelta) -> Migrated:
    """Make the file if need be, and bring its tables up to date.

    Raises:
        SpoolUnavailable: it cannot be made or opened, is not a spool, or is a newer one.
    """
    files.create(path)
    wanted = migrations.scripts()
    try:
        if not path.with_name(path.name + "-journal").exists():
            _look(path, len(wanted))
        with closing(_open(path, apsw.SQLITE_OPEN_READWRITE, patience)) as connection:
            connection.pragma("synchronous", _FULL)
            return migrations.apply(connection, path, wanted)
    except apsw.Error as error:
        raise unavailable(error) from error


def open_writing(path: Path, patience: timedelta) -> apsw.Connection:
    """Return a connection whose commits are on disk when they return.

    Raises:
        SpoolUnavailable: the file cannot be opened, or its settings do not hold.
    """
    try:
        connection = _open(path, apsw.SQLITE_OPEN_READWRITE, patience)
        mode = _keep_log(connection)
        connection.pragma("synchronous", _FULL)
        connection.pragma("cache_size", -_CACHE_KIB)
        connection.pragma("journal_size_limit", _LOG_KEEPS)
        synchronous = connection.pragma("synchronous")
    except apsw.Error as error:
        raise unavailable(error) from error
    if (mode, synchronous) != ("wal", _FULL):
        # Some network file systems cannot do it; nothing may be acknowledged without.
        raise SpoolUnavailable(
            f"{path} cannot be written durably: journal_mode {mode}, synchronous {synchronous}"
        )
    return connection


def open_reading(path: Path, patience: timedelta) -> apsw.Connection:
    """Return a connection that cannot write.

    Raises:
        SpoolUnavailable: the file cannot be opened.
    """
    try:
        connection = _open(path, apsw.SQLITE_OPEN_READONLY, patience)
        connection.pragma("query_only", 1)
    except apsw.Error as error:
        raise unavailable(error) from error
    return connection


def leave_log(connection: apsw.Connection) -> None:
    """Let closing this connection leave the write-ahead log alone."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)


def _open(path: Path, flags: int, patience: timedelta) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=flags)
    connection.set_busy_timeout(int(patience / timedelta(milliseconds=1)))
    # Without it SQLite, since it looks at values to choose among partial indexes, plans a
    # statement anew each time other values are bound.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
    connection.pragma("cell_size_check", 1)
    # Sorting a long history must not depend on room for temporary files.
    connection.pragma("temp_store", 2)
    return connection


def _keep_log(connection: apsw.Connection) -> str:
    """Turn on the write-ahead log and return the journal mode that is in effect.

    The first one to open a new file does so; SQLite does not wait when several try at once.
    """
    for _ in range(_TURNS):
        try:
            return str(connection.pragma("journal_mode", "wal"))
        except apsw.BusyError:
            # This does wait, until whoever is at it has finished.
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("ROLLBACK")
    raise apsw.BusyError("too many processes are opening the file at once")


def _look(path: Path, known: int) -> None:
    """Refuse a foreign file before anything touches it: no lock, no log, no recovery."""
    address = f"file:{quote(str(path.absolute()))}?immutable=1"
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    # Somebody may be filling the file right now; it will be looked at again under its lock.
    with (
        suppress(apsw.CorruptError),
        closing(apsw.Connection(address, flags=flags)) as connection,
    ):
        migrations.check(connection, path, known)
