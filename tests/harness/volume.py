"""A small volume of its own, to be filled up. Needs root and `mount`; says so loudly without."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_BLOCK = 64 * 1024


@contextmanager
def small_volume(at: Path, mebibytes: int) -> Iterator[Path]:
    """Mount an empty volume of this size here."""
    at.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(at)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"NOT PROVEN: no volume can be mounted here (needs root): {error}")
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True, capture_output=True)


def fill(volume: Path) -> Path:
    """Take up all room with a file of somebody else's; removing it gives the room back."""
    path = volume / "somebody-elses"
    with path.open("ab", buffering=0) as file:
        for size in (_BLOCK, 4096):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return path
