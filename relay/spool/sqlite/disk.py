"""The files of a spool: the database, the reserve space for a full disk, the process lock."""

import fcntl
import os
from pathlib import Path
from typing import Final

from relay.core.errors import SpoolUnavailable

# ---- files ----------------------------------------------------------------------------------


def create(path: Path) -> None:
    """Create an empty file that only its owner may read; leave one that exists as it is.

    SQLite gives the log and its index the same mode. The directory is synced: the
    sync of a new file's content does not make its name durable.

    Raises:
        SpoolUnavailable: it cannot be created there.
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


def size(path: Path) -> int:
    """Return the bytes of the database, its log and the log's index."""
    return sum(_size(path.with_name(path.name + suffix)) for suffix in ("", "-wal", "-shm"))


def log_size(path: Path) -> int:
    """Return the bytes of the database's write-ahead log."""
    return _size(path.with_name(f"{path.name}-wal"))


def free(path: Path) -> int:
    """Return the bytes on the volume that are free for this user."""
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

#: Space for a log that is full, and for moving it into the database.
_SIZE: Final = 32 * 1024 * 1024
#: On a small volume, its size divided by this.
_VOLUME_FRACTION: Final = 8


class Ballast:
    """A file that reserves space on a volume, and is removed in need. Used by one thread.

    spent: it was removed, or could not be allocated: there is no space for anything new.
    size: its bytes, or those that it had last.
    """

    def __init__(self, path: Path) -> None:
        """Take the path of the file; `reserve` creates it."""
        self._path = path
        self.spent = False
        self.size = _SIZE

    def reserve(self) -> bool:
        """Allocate the file if there is space for it; return whether there was.

        It is allocated whole, and only when as much is free besides: the space that removing it
        has made is for outcomes of stored events.
        """
        try:
            self.spent = not self._allocate()
        except OSError:
            self.release()
        return not self.spent

    def release(self) -> None:
        """Remove the file in need; there is no space for anything new from now on."""
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
        """Create the file, or leave one as it is; return False when there is no space."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            wanted = os.fstat(descriptor).st_size
            if not wanted:
                volume = os.fstatvfs(descriptor)
                wanted = min(_SIZE, volume.f_blocks * volume.f_frsize // _VOLUME_FRACTION)
                if volume.f_bavail * volume.f_frsize < 2 * wanted:
                    return False
            # Blocks, not a hole: a hole reserves nothing.
            os.posix_fallocate(descriptor, 0, wanted)
            self.size = wanted
            return True
        finally:
            os.close(descriptor)


# ---- process lock ---------------------------------------------------------------------------
# The lock is on a file of its own. SQLite's locks on the database are POSIX locks, which a process
# loses when it closes any descriptor of that file.


class ProcessLock:
    """A file lock that says: this process may hold leases."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock, exclusively if no other process holds it; return whether it is. Call once.

        While it is exclusive, other processes wait until `downgrade`.

        Raises:
            SpoolUnavailable: the file cannot be created or locked.
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
        """Share the lock with other processes."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def release(self) -> None:
        """Release the lock. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
