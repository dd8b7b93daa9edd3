"""What is installed is what is in the tree, and nothing older than its security fixes."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent.parent

#: The oldest version without a known hole that matters here.
FLOORS = {
    "aiohttp": "3.14.3",  # request smuggling and memory exhaustion, CVE-2023-47641 to 2026-34525
    "apsw": "3.51.3",  # bundles SQLite 3.51.3, which mends the WAL reset corruption
    "cryptography": "46.0.7",  # CVE-2026-39892
    "dnspython": "2.6.1",  # TuDoor, CVE-2023-29483
    "jinja2": "3.1.6",  # CVE-2025-27516
    "pyyaml": "5.4",  # CVE-2020-14343
}


@pytest.mark.parametrize("package", FLOORS)
def test_no_version_with_a_known_hole_is_allowed(package: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {each.name: each for each in map(Requirement, project["dependencies"])}
    floors = [spec for spec in wanted[package].specifier if spec.operator == ">="]
    assert floors
    assert Version(floors[0].version) >= Version(FLOORS[package])


def test_the_wheel_holds_exactly_what_git_tracks(tmp_path: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "relay", "config/senders"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if tracked.returncode or not tracked.stdout:
        pytest.skip("not a git checkout: what is tracked cannot be known here")
    build = "import sys, hatchling.build as b; print(b.build_wheel(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-c", build, tmp_path], cwd=ROOT, capture_output=True, check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    inside = {
        name
        for name in zipfile.ZipFile(wheel).namelist()
        if not name.split("/")[0].endswith("info")
    }
    wanted = [name.replace("config/senders/", "relay/senders/") for name in tracked.stdout.split()]
    assert inside == set(wanted)
