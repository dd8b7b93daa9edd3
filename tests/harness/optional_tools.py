"""What not every machine has: npm, a small volume, promtool. Tests skip, loudly, without."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# ---- npm ------------------------------------------------------------------------------------

_QUIET = ("--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts")


def npm_install(directory: Path, *packages: str) -> Path:
    """Install packages and return the directory; skip, saying what was not compared, if not."""
    wanted = ", ".join(packages)
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip(f"NOT COMPARED with {wanted}: npm or node is absent (packages nodejs, npm)")
    try:
        done = subprocess.run(
            ["npm", "install", "--prefix", directory, *_QUIET, "--fetch-retries=0", *packages],
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"NOT COMPARED with {wanted}: npm did not answer in time")
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("npm error")]
        pytest.skip(f"NOT COMPARED with {wanted}: {'; '.join(['npm failed', *said[:2]])}")
    return directory


def run_node(directory: Path, script: str, given: str) -> str:
    """Run a script beside the installed packages, give it standard input, and return its output."""
    done = subprocess.run(
        ["node", "-e", script],
        cwd=directory,
        input=given,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- a small volume -------------------------------------------------------------------------
# To be filled up. Needs root and `mount`; says so loudly without.

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


# ---- promtool -------------------------------------------------------------------------------


def promtool(*words: str | Path, given: str = "", left: str) -> str:
    """Run promtool, which has to find nothing wrong, and return what it said.

    left: what is said of the skip where promtool is absent, as `metrics were NOT checked`.
    """
    if shutil.which("promtool") is None:
        pytest.skip(f"promtool is not installed: {left}")
    done = subprocess.run(
        ["promtool", *words], input=given, capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
