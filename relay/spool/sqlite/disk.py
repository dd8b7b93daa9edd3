"""The spool's file: making it, knowing it again, and how much room there is."""

import os
from pathlib import Path

from relay.errors import SpoolUnavailable


def create(path: Path) -> None:
    """Make an empty file that only its owner may read; leave one that exists as it is.

    SQLite gives the files that it puts beside it the same mode. The directory is synced: the
    sync of a new file's content does not make its name durable.

    Raises:
        SpoolUnavailable: it cannot be made there.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        sync_directory(path.parent)
    except FileExistsError:
        # Opening it here would be wrong: closing any descriptor of a file gives up every POSIX
        # lock that this process holds on it, those of another connection among them.
        return
    except OSError as error:
        raise SpoolUnavailable(f"cannot create the spool {path}: {error.strerror}") from error


def sync_directory(path: Path) -> None:
    """Return when the names in this directory are on disk."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class Watch:
    """Remembers which file lies at a path."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._look()

    def holds(self) -> bool:
        """Return whether it is still the same file; what is written to another one is lost."""
        return self._look() == self._seen

    def _look(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino


def size(path: Path) -> int:
    """Return the bytes of the database and of what lies beside it."""
    return sum(_size(path.with_name(path.name + suffix)) for suffix in ("", "-wal", "-shm"))


def log_size(path: Path) -> int:
    """Return the bytes of the database's write-ahead log."""
    return _size(path.with_name(f"{path.name}-wal"))


def free(path: Path) -> int:
    """Return the bytes left for us on the volume."""
    volume = os.statvfs(path.parent)
    return volume.f_bavail * volume.f_frsize


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
