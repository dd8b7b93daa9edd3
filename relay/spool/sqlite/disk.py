"""The files of a spool: the database, the reserve space for a full disk, the process lock."""

import fcntl
import os
from pathlib import Path
from typing import Final

from relay.core.errors import SpoolUnavailable

# ---- files ----------------------------------------------------------------------------------


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


class FileIdentity:
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


# ---- reserve space (the ballast) ------------------------------------------------------------
# SQLite writes even an update or a deletion to its log first: on a full disk nothing can be
# settled, and what has been delivered would be delivered again.

#: Room for a log that is full, and for moving it into the database.
_SIZE: Final = 32 * 1024 * 1024
#: On a small volume, this part of it.
_PART: Final = 8


class Ballast:
    """Bytes of a volume that are kept, and let go in need. Used by one thread.

    spent: they were let go, or could not be had: there is no room for anything new.
    size: how many there are, or were at last.
    """

    def __init__(self, path: Path) -> None:
        """Take the path of the file; `hold` makes it."""
        self._path = path
        self.spent = False
        self.size = _SIZE

    def hold(self) -> bool:
        """Take up the room if it is there; return whether it was.

        What was let go is taken back whole, and only when as much is free beside it: the room
        that letting go has made is for what is under way.
        """
        try:
            self.spent = not self._allocate()
        except OSError:
            self.release()
        return not self.spent

    def release(self) -> None:
        """Let the room go, in need."""
        self.remove()
        self.spent = True

    def remove(self) -> bool:
        """Remove the file; return whether there was one."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def _allocate(self) -> bool:
        """Make the file, or leave one as it is; return False when there is no room."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            wanted = os.fstat(descriptor).st_size
            if not wanted:
                volume = os.fstatvfs(descriptor)
                wanted = min(_SIZE, volume.f_blocks * volume.f_frsize // _PART)
                if volume.f_bavail * volume.f_frsize < 2 * wanted:
                    return False
            # Blocks, not a hole: a hole takes up nothing.
            os.posix_fallocate(descriptor, 0, wanted)
            self.size = wanted
            return True
        finally:
            os.close(descriptor)


# ---- process lock ---------------------------------------------------------------------------
# The lock is on a file of its own. SQLite's locks on the database are POSIX locks, which a process
# loses when it closes any descriptor of that file.


class ProcessLock:
    """One process's mark that it may hold leases."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Be present from now on; return whether nobody else is. Call it once.

        While it says so, nobody else can enter until `settle`.

        Raises:
            SpoolUnavailable: the file cannot be made.
        """
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o600)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                fcntl.flock(self._descriptor, fcntl.LOCK_SH)
                return False
        except OSError as error:
            raise SpoolUnavailable(f"cannot lock {self._path}: {error.strerror}") from error
        return True

    def downgrade(self) -> None:
        """Let others enter beside us."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def release(self) -> None:
        """Be gone. May be called again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
