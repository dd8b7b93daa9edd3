"""The numbered migrations of the tables, and applying those that are missing.

The number of the last one applied is SQLite's `user_version`. A migration is never edited once
released: another one follows. Each leaves tables that the version before can still work with, so
that processes may be upgraded one after the other.
"""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import apsw

from relay.errors import SpoolUnavailable

# "RELY"; lies in the header of the file and tells a spool from somebody else's database.
APPLICATION_ID: Final = 0x52454C59


@dataclass(frozen=True, slots=True)
class Migrated:
    """The versions of the tables before and after; 0 is a file without any."""

    before: int
    after: int


def scripts() -> tuple[str, ...]:
    """Return the SQL of every migration; the first takes version 0 to 1."""
    folder = resources.files(__package__) / "schema"
    found = sorted(folder.iterdir(), key=lambda script: script.name)
    return tuple(script.read_text(encoding="utf-8") for script in found)


def check(connection: apsw.Connection, path: Path, known: int) -> int:
    """Return the version of the tables in this file, which may be empty.

    Raises:
        SpoolUnavailable: it is not a spool, or one of a newer version than `known`.
    """
    elsewhere = "point `spool.path` elsewhere"
    try:
        # In one transaction: somebody else may be making the tables meanwhile.
        with connection:
            application = connection.pragma("application_id")
            version: int = connection.pragma("user_version")
            tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()[0][0]
    except apsw.NotADBError as error:
        raise SpoolUnavailable(f"{path} is not a spool: {elsewhere}") from error
    if application != APPLICATION_ID and (application, version, tables) != (0, 0, 0):
        raise SpoolUnavailable(f"{path} is a database of another program: {elsewhere}")
    if version > known:
        raise SpoolUnavailable(
            f"this spool was written by a newer relay (schema {version}, this one knows {known}):"
            f" upgrade, or {elsewhere}"
        )
    return version


def apply(connection: apsw.Connection, path: Path, wanted: tuple[str, ...]) -> Migrated:
    """Apply what is missing of these migrations, each in a transaction of its own.

    Several processes may do so at the same time: each looks again once it holds the write lock.

    Raises:
        SpoolUnavailable: the file is not a spool, or one of a newer version.
    """
    before = version = check(connection, path, len(wanted))
    while version < len(wanted):
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = check(connection, path, len(wanted))
            if version < len(wanted):
                connection.execute(wanted[version])
                version += 1
                connection.pragma("application_id", APPLICATION_ID)
                connection.pragma("user_version", version)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
    return Migrated(before, version)
