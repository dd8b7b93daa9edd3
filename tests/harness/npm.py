"""Packages from npm, installed once a test run into a directory that goes with it."""

import shutil
import subprocess
from pathlib import Path

import pytest


def install(directory: Path, *packages: str) -> Path:
    """Install packages and return the directory; skip, loudly, where that cannot be done."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip(f"node and npm are not installed: {', '.join(packages)} NOT compared")
    done = subprocess.run(
        [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", directory, *packages],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"npm could not install {', '.join(packages)}, NOT compared: {done.stderr}")
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
