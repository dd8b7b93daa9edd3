"""What is installed is what is in the tree, and nothing older than its security fixes."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
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
        ["git", "ls-files", "relay", "config/senders", "deploy/share"],
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
        # What is installed beside `bin` and `lib`.
        re.sub(r"^relay-[^/]*\.data/data/", "", name)
        for name in zipfile.ZipFile(wheel).namelist()
        if not name.split("/")[0].endswith("info")
    }
    moved = {"config/senders/": "relay/senders/", "deploy/share/": "share/"}
    wanted = set(tracked.stdout.split())
    for source, target in moved.items():
        wanted = {name.replace(source, target) for name in wanted}
    assert inside == wanted


# ---- locked requirements: `make lock` renews them -------------------------------------------

LOCKED = ("requirements.txt", "build-requirements.txt")


def locked(name: str) -> dict[str, Requirement]:
    """Return what a file of deploy/ locks, by name."""
    text = (ROOT / "deploy" / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found: dict[str, Requirement] = {}
    for line in lines:
        words, *digests = line.split(" --hash=sha256:")
        requirement = Requirement(words)
        assert digests, line
        assert [spec.operator for spec in requirement.specifier] == ["=="], line
        found[canonicalize_name(requirement.name)] = requirement
    return found


@pytest.mark.parametrize("name", LOCKED)
def test_a_lock_names_no_registry(name: str) -> None:
    text = (ROOT / "deploy" / name).read_text()
    assert not re.search(r"://|^-|--(?!hash=sha256:)", text, re.MULTILINE)


def test_what_is_locked_is_what_is_needed() -> None:
    """When this fails: make lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for name, wanted in (
        ("requirements.txt", project["project"]["dependencies"]),
        ("build-requirements.txt", project["build-system"]["requires"]),
    ):
        there = locked(name)
        for requirement in map(Requirement, wanted):
            version = next(iter(there[canonicalize_name(requirement.name)].specifier)).version
            assert requirement.specifier.contains(version), f"{name}: {requirement}"
