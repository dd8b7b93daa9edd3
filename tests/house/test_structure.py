"""The tree is what it says: tests mirror the source, files stay short, layers hold."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
MODULES = sorted(
    path.relative_to(ROOT / "relay")
    for path in (ROOT / "relay").rglob("*.py")
    if path.name not in {"__init__.py", "__main__.py"}
)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_has_its_test(module: Path) -> None:
    folder = Path(*(part.lstrip("_") for part in module.parent.parts))
    assert (ROOT / "tests" / folder / f"test_{module.name}").is_file()


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_is_read_in_one_go(module: Path) -> None:
    assert len((ROOT / "relay" / module).read_text().splitlines()) <= 350


def test_dependencies_point_down() -> None:
    contracts = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert contracts.returncode == 0, contracts.stdout


def test_the_top_level_stays_small() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if tracked.returncode:
        pytest.skip("not a git checkout: what is tracked cannot be known here")
    top = {line.split("/")[0] for line in tracked.stdout.splitlines() if not line.startswith(".")}
    assert top <= {
        *("pyproject.toml", "README.md", "CHANGELOG.md", "SECURITY.md", "Makefile", "LICENSE"),
        *("relay", "config", "deploy", "tests"),
    }
