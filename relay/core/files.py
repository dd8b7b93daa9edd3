"""Files that others write while we run: whether they are still the ones that were read.

A path is followed to its end each time, so the swap of a symbolic link on the way, as Kubernetes
does it, is a change like any other.
"""

import errno
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

#: What the system says of a file; None for one that it does not find.
Stamp = tuple[int, ...] | None
#: The same of several files.
Fingerprint = tuple[Stamp, ...]


def fingerprint(paths: Iterable[Path]) -> Fingerprint:
    """Return what tells these files from others at the same paths. Raises nothing."""
    return tuple(_of(path) for path in paths)


def stamps(paths: Iterable[Path]) -> Mapping[Path, Stamp]:
    """Return the same by path. Raises nothing."""
    return {path: _of(path) for path in paths}


def refuse_irregular(path: Path) -> None:
    """Return when this is a file with content: whoever opens a pipe may wait for ever.

    Raises:
        OSError: it is none, or not there; `filename` and `strerror` say so.
        ValueError: this cannot be the path of a file.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - the error names the path
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def read(path: Path, most: int) -> bytes:
    """Return the first bytes of a file, at most so many.

    Raises:
        OSError, ValueError: as `refuse_irregular`, or it cannot be read.
    """
    refuse_irregular(path)
    with path.open("rb") as file:
        return file.read(most)


def _of(path: Path) -> Stamp:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    # The time of the last change of the inode is beyond what `touch -d` or `cp -p` can set back.
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
