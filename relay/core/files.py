"""Fingerprints of files that other programs write, and the replacing of those that relay writes.

A fingerprint tells whether a file has changed since it was read. A path is followed to its end each
time, so the swap of a symbolic link on the way, as Kubernetes does it, is a change like any other.
"""

import errno
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

#: Device, inode, size and times of a file; None for one that is not there.
Stamp = tuple[int, ...] | None
#: The same of several files.
Fingerprint = tuple[Stamp, ...]


def fingerprint(paths: Iterable[Path]) -> Fingerprint:
    """Return the stamps of these files, equal until one is changed or replaced. Raises nothing."""
    return tuple(_of(path) for path in paths)


def stamps(paths: Iterable[Path]) -> Mapping[Path, Stamp]:
    """Return the stamps by path. Raises nothing."""
    return {path: _of(path) for path in paths}


def refuse_irregular(path: Path) -> None:
    """Raise unless this is a regular file: opening a pipe may block for ever.

    Raises:
        OSError: it is another kind of file, or not there; `filename` and `strerror` say which.
        ValueError: this cannot be the path of a file.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - the error names the path
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def read(path: Path, most: int) -> bytes:
    """Return the first `most` bytes of a file, or all of it.

    Raises:
        OSError, ValueError: as `refuse_irregular`, or it cannot be read.
    """
    refuse_irregular(path)
    with path.open("rb") as file:
        return file.read(most)


def replace(path: Path, content: bytes) -> None:
    """Replace the file atomically and durably: a reader, also after a crash, finds it whole.

    Raises:
        OSError: it could not be done for certain; the file is whole, old or new.
    """
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _of(path: Path) -> Stamp:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    # The time of the last change of the inode is beyond what `touch -d` or `cp -p` can set back.
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
