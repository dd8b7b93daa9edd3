"""A file that takes up room until the disk is full, so that what is under way can be finished.

SQLite writes even an update or a deletion to its log first: on a full disk nothing can be settled,
and what has been delivered would be delivered again.
"""

import os
from pathlib import Path
from typing import Final

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
