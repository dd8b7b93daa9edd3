"""The two lines that everybody types, what `make` and CI do, and what a package says of itself."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from hashlib import sha256
from pathlib import Path

import pytest
from trove_classifiers import classifiers

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
TEST_LINE = (
    "python3 -m venv .venv && .venv/bin/pip install -q -e '.[dev]'"
    " && .venv/bin/pytest -q -n auto --dist loadfile"
)
DEMO_LINE = "python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/relay demo"
LICENCE_HASH = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


def _make(*arguments: str) -> str:
    if shutil.which("make") is None:
        pytest.skip("make is not installed: the Makefile was NOT tried")
    # `make test` itself must not be what is looked at.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=True, env=environ
    )
    return done.stdout


def _commands(text: str) -> list[str]:
    """Return the commands of `make -n`, each on one line; marking what is done is none."""
    lines = re.sub(r"\s*\\\n\s*", " ", text).splitlines()
    return [line.strip() for line in lines if not line.startswith("touch ")]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 200


@pytest.mark.parametrize(
    ("heading", "line"), [("## Run the tests", TEST_LINE), ("## See it work", DEMO_LINE)]
)
def test_the_first_line_of_code_is_the_one_to_type(heading: str, line: str) -> None:
    section = README.split(f"\n{heading}\n")[1].split("\n## ")[0]
    assert section.split("```")[1].splitlines()[1] == line


def test_ci_runs_the_line_of_the_readme() -> None:
    script = (ROOT / ".ci/run").read_text()
    (reading,) = re.findall(r"^line=\$\(.*\)$", script, re.MULTILINE)
    assert '\nbash -euo pipefail -c "$line"\n' in script
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f'{reading}\nprintf %s "$line"'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == TEST_LINE


@pytest.mark.debian
def test_make_runs_the_line_of_the_readme() -> None:
    assert " && ".join(_commands(_make("-n", "-B", "test"))) == TEST_LINE


@pytest.mark.debian
def test_make_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    listed = [line.split()[0] for line in _make().splitlines()]
    assert sorted(listed) == sorted(phony.split())


@pytest.mark.debian
@pytest.mark.parametrize("target", re.findall(r"\bmake ([a-z-]+)", (ROOT / ".ci/run").read_text()))
def test_ci_calls_targets_that_there_are(target: str) -> None:
    assert _commands(_make("-n", target))


def test_ci_calls_make_for_all_that_comes_after_the_tests() -> None:
    called = re.findall(r"\bmake ([a-z-]+)", (ROOT / ".ci/run").read_text())
    assert called == ["crash", "browser", "interop", "fuzz", "lint"]


@pytest.mark.debian
def test_lint_is_everything_that_must_pass() -> None:
    assert [
        line.split("/")[-1] for line in _commands(_make("-n", "-o", ".venv/bin/pytest", "lint"))
    ] == [
        "ruff check .",
        "ruff format --check .",
        "mypy",
        "lint-imports",
    ]


def _built(source: Path, target: Path) -> zipfile.ZipFile:
    build = "import sys, hatchling.build as b; print(b.build_wheel(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-c", build, target], cwd=source, capture_output=True, check=True
    )
    (wheel,) = target.glob("*.whl")
    return zipfile.ZipFile(wheel)


def test_a_package_says_what_it_is(tmp_path: Path) -> None:
    with _built(ROOT, tmp_path) as wheel:
        (folder,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
        said = Parser().parsestr(wheel.read(f"{folder}/METADATA").decode())
        licence = wheel.read(f"{folder}/licenses/LICENSE").decode()
    assert said["License-Expression"] == "Apache-2.0"
    assert said["Author"] == "The relay authors"
    assert said["Keywords"]
    assert set(said.get_all("Classifier", [])) <= classifiers
    assert licence == (ROOT / "LICENSE").read_text()


def test_the_licence_is_the_whole_apache_licence() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert text.count("Copyright 2026 The relay authors\n") == 1
    plain = text.replace(
        "Copyright 2026 The relay authors", "Copyright [yyyy] [name of copyright owner]"
    )
    assert sha256(plain.encode()).hexdigest() == LICENCE_HASH


def test_the_image_is_built_from_all_that_a_build_needs(tmp_path: Path) -> None:
    stage = (ROOT / "deploy/Dockerfile").read_text().split("\nFROM ")[1]
    for copied in re.findall(r"^COPY (.*)$", stage, re.MULTILINE):
        *names, target = copied.split()
        for name in names:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, tmp_path / "source" / target)
            else:
                (tmp_path / "source").mkdir(exist_ok=True)
                shutil.copy(ROOT / name, tmp_path / "source")
    with _built(tmp_path / "source", tmp_path) as wheel:
        assert "relay/cli/__init__.py" in wheel.namelist()


def test_every_python_of_the_classifiers_may_install_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = [each.split(" :: ")[-1] for each in project["classifiers"] if " :: 3." in each]
    assert project["requires-python"] == f">={versions[0]}"
