"""Whether another process may hold leases on this spool: known by a lock that ends with a process.

The lock is on a file of its own. SQLite's locks on the database are POSIX locks, which a process
loses when it closes any descriptor of that file.
"""

import fcntl
import os
from pathlib import Path

from relay.errors import SpoolUnavailable


class Presence:
    """One process's mark that it may hold leases."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def enter(self) -> bool:
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

    def settle(self) -> None:
        """Let others enter beside us."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def leave(self) -> None:
        """Be gone. May be called again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
