"""Whether files are still the ones that were read: by what the system says of them.

A path is followed to its end each time, so the swap of a symbolic link on the way, as Kubernetes
does it, is a change like any other.
"""

from collections.abc import Iterable
from pathlib import Path

#: What the system says of each file; None for one that it does not find.
Fingerprint = tuple[tuple[int, ...] | None, ...]


def fingerprint(paths: Iterable[Path]) -> Fingerprint:
    """Return what tells these files from others at the same paths. Raises nothing."""
    return tuple(_of(path) for path in paths)


def _of(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    # The time of the last change of the inode is beyond what `touch -d` or `cp -p` can set back.
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
