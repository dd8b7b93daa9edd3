"""Opening a spool's file: both of its connections, and the keys that it is sealed with."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import apsw

from relay.core.errors import SpoolUnavailable
from relay.core.sealing import SealingKey
from relay.spool.sqlite import database, disk
from relay.spool.sqlite.disk import Ballast
from relay.spool.sqlite.keyring import Keyring

# A volume with less free space counts as full.
_MIN_FREE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Opened:
    """An open file, where it really lies."""

    path: Path
    writing: apsw.Connection
    reading: apsw.Connection
    keyring: Keyring


def open_file(path: Path, busy_timeout: timedelta, keys: Sequence[SealingKey]) -> Opened:
    """Open a spool, created and migrated as needed, whose rows can be read with these keys.

    Raises:
        SpoolUnavailable: as `open_spool`.
    """
    # SQLite puts its log beside the file itself, not beside a link to it.
    found = path.resolve()
    try:
        return _connect(found, busy_timeout, keys)
    except SpoolUnavailable:
        # Opening writes a little, too. On a full disk the ballast of the last process makes room.
        if disk.free(found) >= _MIN_FREE_BYTES or not Ballast(sibling(found, "ballast")).remove():
            raise
        return _connect(found, busy_timeout, keys)


def sibling(path: Path, suffix: str) -> Path:
    """Return the path of another file of a spool."""
    return path.with_name(f"{path.name}-{suffix}")


def _connect(path: Path, busy_timeout: timedelta, keys: Sequence[SealingKey]) -> Opened:
    database.prepare(path, busy_timeout)
    writing, keyring = database.open_writing(path, busy_timeout), Keyring()
    try:
        keyring.use(writing, keys)
        return Opened(path, writing, database.open_reading(path, busy_timeout), keyring)
    except (apsw.Error, SpoolUnavailable) as error:
        writing.close()
        if isinstance(error, apsw.Error):
            raise database.unavailable(error) from error
        raise
