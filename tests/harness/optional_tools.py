"""Packages from npm, installed into a directory that goes with the test run."""

import shutil
import subprocess
from pathlib import Path

import pytest

_QUIET = ("--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts")


def install(directory: Path, *packages: str) -> Path:
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


def node(directory: Path, script: str, given: str) -> str:
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
