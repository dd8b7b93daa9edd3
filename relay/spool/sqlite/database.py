"""The database file: migrations, connections and their settings, fatal errors, the shared epoch."""

import errno
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Final
from urllib.parse import quote

import apsw

from relay.core.clock import Epoch
from relay.core.errors import SpoolUnavailable
from relay.spool import SpoolBroken
from relay.spool.sqlite import disk, events

# ---- migrations -----------------------------------------------------------------------------
# The number of the last one applied is SQLite's `user_version`. A migration is never edited once
# released: another one follows. Each leaves tables that the version before can still work with, so
# that processes may be upgraded one after the other.

# "RELY", in the header of the file: tells a spool from another program's database.
APPLICATION_ID: Final = 0x52454C59

#: The version that the first migration creates. Those before it were never released.
BASELINE: Final = 5


@dataclass(frozen=True, slots=True)
class Migrated:
    """The versions of the tables before and after; 0 stands for a file without tables."""

    before: int
    after: int


def scripts() -> tuple[str, ...]:
    """Return the SQL of every migration; the first takes version 0 to `BASELINE`."""
    folder = resources.files(__package__) / "schema"
    found = sorted(folder.iterdir(), key=lambda script: script.name)
    return tuple(script.read_text(encoding="utf-8") for script in found)


def newest_of(wanted: tuple[str, ...]) -> int:
    """Return the version that these migrations lead to."""
    return BASELINE + len(wanted) - 1 if wanted else 0


def check(connection: apsw.Connection, path: Path, known: int) -> int:
    """Return the version of the tables in this file, which may be empty.

    Raises:
        SpoolUnavailable: it is not a spool, or one of a version before `BASELINE` or after
            `known`.
    """
    elsewhere = "point `spool.path` elsewhere"
    try:
        # In one transaction: another process may be creating the tables meanwhile.
        with connection:
            application = connection.pragma("application_id")
            version: int = connection.pragma("user_version")
            tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()[0][0]
    except apsw.NotADBError as error:
        raise SpoolUnavailable(f"{path} is not a spool: {elsewhere}") from error
    if application != APPLICATION_ID and (application, version, tables) != (0, 0, 0):
        raise SpoolUnavailable(f"{path} is a database of another program: {elsewhere}")
    if 0 < version < BASELINE:
        raise SpoolUnavailable(
            f"this spool was written by a development version (schema {version}, this one knows"
            f" {BASELINE} and later): let that version deliver what it holds, then remove the file"
        )
    if version > known:
        raise SpoolUnavailable(
            f"this spool was written by a newer relay (schema {version}, this one knows {known}):"
            f" upgrade, or {elsewhere}"
        )
    return version


def apply(connection: apsw.Connection, path: Path, wanted: tuple[str, ...]) -> Migrated:
    """Apply the missing ones of these migrations, each in a transaction of its own.

    Several processes may do so at the same time: each checks again once it holds the write lock.

    Raises:
        SpoolUnavailable: the file is not a spool, or one of a newer version.
    """
    newest = newest_of(wanted)
    before = version = check(connection, path, newest)
    while version < newest:
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = check(connection, path, newest)
            if version < newest:
                version = max(version + 1, BASELINE)
                connection.execute(wanted[version - BASELINE])
                connection.pragma("application_id", APPLICATION_ID)
                connection.pragma("user_version", version)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
    return Migrated(before, version)


# ---- transient and fatal errors -------------------------------------------------------------

# A write that finds no space has stored nothing, and there may be space later.
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

# After a failed sync the kernel may call the lost pages clean and let the next sync succeed.
_SYNC: Final = frozenset({apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC})

_BREAKING: Final = (
    apsw.IOError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.FormatError,
    apsw.ReadOnlyError,
    apsw.PermissionsError,
    apsw.ProtocolError,
    apsw.InternalError,
    apsw.MisuseError,
)


def is_disk_full(error: apsw.Error, system_errno: int) -> bool:
    """Return whether a write found the disk full, or a quota or a limit on files used up."""
    if isinstance(error, apsw.FullError):
        return True
    return (
        isinstance(error, apsw.IOError)
        and getattr(error, "extendedresult", apsw.SQLITE_OK) not in _SYNC
        and system_errno in _NO_ROOM
    )


def is_transient(error: apsw.Error, system_errno: int) -> bool:
    """Return whether later work may succeed; `system_errno` is the connection's, read at once."""
    extended = getattr(error, "extendedresult", apsw.SQLITE_OK)
    if extended in _SYNC:
        return False
    if extended == apsw.SQLITE_IOERR_NOMEM:
        return True
    if is_disk_full(error, system_errno):
        return True
    return not isinstance(error, _BREAKING)


def unavailable(error: apsw.Error | OSError) -> SpoolUnavailable:
    """Return this package's error for one of SQLite or of the operating system."""
    return SpoolUnavailable(f"the spool cannot be used now: {error}")


class StoreHealth:
    """Whether this spool can be trusted: a fatal error on one connection breaks all of them."""

    def __init__(self) -> None:
        # Plain: each call asks.
        self.broken = False
        self._reason: str | None = None

    def check(self) -> None:
        """Return if the spool may be used.

        Raises:
            SpoolBroken: a fatal error has been found.
        """
        if self.broken:
            raise self.failure()

    def failure(self) -> SpoolBroken:
        """Return a new exception with the reason why the spool is broken."""
        return SpoolBroken(self._reason)

    def classify(self, error: apsw.Error, connection: apsw.Connection) -> SpoolUnavailable:
        """Return the exception for an error that this connection has just raised."""
        if is_transient(error, connection.system_errno):
            return unavailable(error)
        return self.mark_broken(str(error))

    def mark_broken(self, why: str) -> SpoolBroken:
        """Break the spool for good; return the exception. The first reason stays."""
        if not self.broken:
            self._reason = f"the spool is broken and needs a restart: {why}"
            self.broken = True
        return self.failure()


class FileIdentity:
    """The device and inode of the file at a path, to notice that it was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened = self._identity()

    def unchanged(self) -> bool:
        """Return whether it is still the same file; what is written to a removed one is lost."""
        return self._identity() == self._opened

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino


# ---- connections ----------------------------------------------------------------------------

_FULL: Final = 2
_CACHE_KIB: Final = 4 * 1024
# A burst makes the write-ahead log grow; it is truncated to this size afterwards.
_LOG_SIZE_LIMIT: Final = 64 * 1024 * 1024
_MAX_RETRIES: Final = 100
_STATEMENTS: Final = 512  # the most there can be


def prepare(
    path: Path, busy_timeout: timedelta, advance: Callable[[], None] | None = None
) -> Migrated:
    """Create the file if it does not exist, and migrate its tables.

    advance: is called after so many steps of SQLite's again and again: a migration may read every
        row, and how long that takes nobody knows.

    Raises:
        SpoolUnavailable: it cannot be created or opened, is not a spool, or is a newer one.
    """
    disk.create(path)
    wanted = scripts()
    try:
        if not path.with_name(path.name + "-journal").exists():
            _check_untouched(path, newest_of(wanted))
        with closing(_open(path, apsw.SQLITE_OPEN_READWRITE, busy_timeout)) as connection:
            connection.pragma("synchronous", _FULL)
            if advance is not None:
                connection.set_progress_handler(partial(_advanced, advance), _STEPS)
            return apply(connection, path, wanted)
    except apsw.Error as error:
        raise unavailable(error) from error


#: Steps of SQLite's that take some ten milliseconds.
_STEPS: Final = 500_000


def _advanced(advance: Callable[[], None]) -> bool:
    advance()
    # True would interrupt the statement.
    return False


def open_writing(path: Path, busy_timeout: timedelta) -> apsw.Connection:
    """Return a connection whose commits are on disk when they return.

    Raises:
        SpoolUnavailable: the file cannot be opened, or its settings do not hold.
    """
    try:
        connection = _open(path, apsw.SQLITE_OPEN_READWRITE, busy_timeout)
        mode = _enable_log(connection)
        connection.pragma("synchronous", _FULL)
        connection.pragma("cache_size", -_CACHE_KIB)
        connection.pragma("journal_size_limit", _LOG_SIZE_LIMIT)
        synchronous = connection.pragma("synchronous")
    except apsw.Error as error:
        raise unavailable(error) from error
    if (mode, synchronous) != ("wal", _FULL):
        # Some network file systems cannot do it; nothing may be acknowledged without.
        raise SpoolUnavailable(
            f"{path} cannot be written durably: journal_mode {mode}, synchronous {synchronous}"
        )
    return connection


def open_reading(path: Path, busy_timeout: timedelta) -> apsw.Connection:
    """Return a connection that cannot write.

    Raises:
        SpoolUnavailable: the file cannot be opened.
    """
    try:
        connection = _open(path, apsw.SQLITE_OPEN_READONLY, busy_timeout)
        connection.pragma("query_only", 1)
    except apsw.Error as error:
        raise unavailable(error) from error
    return connection


def keep_log_on_close(connection: apsw.Connection) -> None:
    """Keep the write-ahead log when this connection is closed."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)


def _open(path: Path, flags: int, busy_timeout: timedelta) -> apsw.Connection:
    # Each row of an `executemany` takes another place among the prepared statements: with fewer
    # places, a batch would drive all others out, and each would be prepared anew.
    connection = apsw.Connection(str(path), flags=flags, statementcachesize=_STATEMENTS)
    connection.set_busy_timeout(int(busy_timeout / timedelta(milliseconds=1)))
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


def _enable_log(connection: apsw.Connection) -> str:
    """Turn on the write-ahead log and return the journal mode that is in effect.

    The first one to open a new file does so; SQLite does not wait when several try at once.
    """
    for _ in range(_MAX_RETRIES):
        try:
            return str(connection.pragma("journal_mode", "wal"))
        except apsw.BusyError:
            # This does wait, until the other process has finished.
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("ROLLBACK")
    raise apsw.BusyError("too many processes are opening the file at once")


def _check_untouched(path: Path, known: int) -> None:
    """Refuse a foreign file before anything touches it: no lock, no log, no recovery."""
    address = f"file:{quote(str(path.absolute()))}?immutable=1"
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    # Another process may be creating the tables right now; they are checked again under the lock.
    with (
        suppress(apsw.CorruptError),
        closing(apsw.Connection(address, flags=flags)) as connection,
    ):
        check(connection, path, known)


# ---- one steady time for all processes ------------------------------------------------------
# Each process could read the wall clock when it starts. Once that clock has been set in between,
# they would disagree about when a lease ends, and deliver each other's events. So the first process
# since the machine was booted writes the epoch down, and the others use it.

_READ_EPOCH: Final = "SELECT boot, began FROM epoch"

_WRITE_EPOCH: Final = """
INSERT INTO epoch (one, boot, began) VALUES (1, :boot, :began)
ON CONFLICT (one) DO UPDATE SET boot = excluded.boot, began = excluded.began
WHERE boot <> excluded.boot
"""


def agree_on_epoch(connection: apsw.Connection, ours: Epoch) -> Epoch:
    """Return the epoch of steady time on this spool: ours, if there is none since this boot.

    It is ours as well where the spool cannot be written now, as on a full disk: that prevents no
    start.
    """
    try:
        if _read_epoch(connection).get(ours.boot) is None:
            values = {"boot": ours.boot, "began": events.micros(ours.began)}
            connection.execute(_WRITE_EPOCH, values)
        began = _read_epoch(connection)[ours.boot]
    except apsw.Error:
        return ours
    return Epoch(ours.boot, events.moment(began))


def _read_epoch(connection: apsw.Connection) -> dict[str, int]:
    return {str(boot): int(began) for boot, began in events.fetch(connection, _READ_EPOCH, ())}
