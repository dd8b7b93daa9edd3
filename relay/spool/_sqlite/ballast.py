"""A file that takes up room until the disk is full, so that what is under way can be finished.

SQLite writes even an update or a deletion to its log first: on a full disk nothing can be settled,
and what has been delivered would be delivered again.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

#: Room for a log that is full, and for moving it into the database.
_SIZE: Final = 32 * 1024 * 1024
#: On a small volume, this part of what is free.
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
        """Take up the room if it is there; return whether it was."""
        try:
            self.spent = not self._allocate()
        except OSError:
            self.release()
        return not self.spent

    def release(self) -> None:
        """Let the room go, in need."""
        self.remove()
        self.spent = True

    def remove(self) -> None:
        """Remove the file, at the end."""
        with suppress(OSError):
            self._path.unlink()

    def _allocate(self) -> bool:
        """Make the file, or leave one as it is; return False when there is no room at all."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            held = os.fstat(descriptor).st_size
            if not held:
                volume = os.fstatvfs(descriptor)
                held = min(_SIZE, volume.f_bavail * volume.f_frsize // _PART)
            if held:
                # Blocks, not a hole: a hole takes up nothing.
                os.posix_fallocate(descriptor, 0, held)
                self.size = held
            return bool(held)
        finally:
            os.close(descriptor)
