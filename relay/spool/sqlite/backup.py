"""A copy of a spool in use: SQLite's backup API within one read transaction, checked, then named.

The read transaction keeps the state from its beginning in view while others go on writing; without
it, SQLite would start again at each of their commits. The write-ahead log cannot be reset
meanwhile. The copy has its name only once it is whole and on disk.
"""

import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote

import apsw

from relay.core.errors import SpoolUnavailable
from relay.spool.sqlite import database, disk, upkeep

#: Pages of a step: 4 MiB, a few milliseconds.
_STEP: Final = 1024

#: Steps between syncs: a volume that has to write down a whole spool at once holds up the syncs of
#: the relay that works on it.
_SYNC_EVERY: Final = 16

_BUSY_TIMEOUT: Final = timedelta(seconds=5)

# Where SQLite's header of a file has the application's number.
_HEADER: Final = 72
_MAGIC: Final = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class Copied:
    """A finished copy: its size, and the version of its tables."""

    bytes: int
    schema: int


def copy(path: Path, target: Path, advance: Callable[[int, int], None]) -> Copied:
    """Copy the spool in `path` to `target`, which may be an older copy; it is replaced as a whole.

    What was stored before the call is in it. Processes that work on the spool go on.

    advance: called with the pages that are done and all of them, after each step. What it raises
        ends the copying.

    Raises:
        SpoolUnavailable: it cannot be read or written, is damaged, or `target` is something else.
    """
    _check_target(path.resolve(), target)
    prefix = f".{target.name}."
    try:
        _remove_left_over(target.parent, prefix)
        descriptor, name = tempfile.mkstemp(prefix=prefix, dir=target.parent)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise SpoolUnavailable(f"cannot write {target}: {error.strerror}") from error
    partial = Path(name)
    try:
        with closing(_fill(path, partial)) as steps:
            for step, (done, pages) in enumerate(steps, 1):
                if step % _SYNC_EVERY == 0:
                    os.fdatasync(descriptor)
                advance(done, pages)
        schema = _verified(partial)
        os.fsync(descriptor)
        partial.replace(target)
        disk.sync_directory(target.parent)
    except apsw.Error as error:
        raise SpoolUnavailable(f"the copy to {target} cannot be made: {error}") from error
    except OSError as error:
        raise SpoolUnavailable(f"cannot write {target}: {error.strerror}") from error
    finally:
        os.close(descriptor)
        with suppress(FileNotFoundError):
            partial.unlink()
    return Copied(target.stat().st_size, schema)


def _check_target(path: Path, target: Path) -> None:
    """Refuse to write over the spool, its other files, or what is no spool at all."""
    found = target.resolve()
    # Its log, the log's index, its ballast, or what would be taken for one of them.
    is_sibling = found.parent == path.parent and found.name.startswith(f"{path.name}-")
    if found == path or is_sibling:
        raise SpoolUnavailable(f"{target} belongs to the spool itself; name another file")
    try:
        with found.open("rb", buffering=0) as existing:
            regular = stat.S_ISREG(os.fstat(existing.fileno()).st_mode)
            header = existing.read(_HEADER) if regular else b""
    except FileNotFoundError:
        return
    except OSError as error:
        raise SpoolUnavailable(f"cannot write {target}: {error.strerror}") from error
    application = int.from_bytes(header[68:_HEADER])
    if not header.startswith(_MAGIC) or application != database.APPLICATION_ID:
        raise SpoolUnavailable(f"{target} exists and is no copy of a spool; name another file")


def _remove_left_over(directory: Path, prefix: str) -> None:
    """Remove what killed processes have left half copied; one that is at work holds a lock."""
    for each in directory.iterdir():
        if not each.name.startswith(prefix) or not each.is_file() or each.is_symlink():
            continue
        with each.open("rb") as file, suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            each.unlink(missing_ok=True)


def _fill(path: Path, partial: Path) -> Generator[tuple[int, int]]:
    """Copy step by step; yield after each the pages that are done, and all of them."""
    with (
        closing(database.open_reading(path, _BUSY_TIMEOUT)) as source,
        closing(apsw.Connection(str(partial), flags=apsw.SQLITE_OPEN_READWRITE)) as written,
        source,
    ):
        # The transaction begins with its first read.
        source.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        database.check(source, path, database.newest_of(database.scripts()))
        with written.backup("main", source, "main") as backup:
            while not backup.done:
                backup.step(_STEP)
                yield backup.page_count - backup.remaining, backup.page_count


def _verified(partial: Path) -> int:
    """Check every page of the copy; return the version of its tables."""
    # Immutable: no log and no index of it appear beside the file.
    address = f"file:{quote(str(partial.absolute()))}?immutable=1"
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    with closing(apsw.Connection(address, flags=flags)) as connection:
        if found := upkeep.check_integrity(connection):
            raise SpoolUnavailable(f"the spool is damaged, and so would be its copy: {found[0]}")
        return int(connection.pragma("user_version"))
