"""What an operator deploys is accepted by the tool that will read it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import unit_sandbox
from tests.harness.optional_tools import promtool

DEPLOY = Path(__file__).parent.parent.parent / "deploy"


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    found = _run(Path(sys.executable).parent / "hadolint", DEPLOY / "Dockerfile")
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_image_does_not_run_as_root() -> None:
    users = [
        line.split()[1]
        for line in (DEPLOY / "Dockerfile").read_text().splitlines()
        if line.startswith("USER ")
    ]
    assert users == ["10001:10001"]


UNITS = [*sorted(path.name for path in DEPLOY.glob("*.service")), "relay-firewall.timer"]


@pytest.mark.debian
@pytest.mark.parametrize("name", UNITS)
def test_systemd_accepts_the_unit(name: str, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip(f"systemd-analyze is not installed: {name} was NOT verified")
    for each in UNITS:
        # The verifier wants the programs to exist where the unit says.
        text = (DEPLOY / each).read_text().replace("=/opt/relay/bin/relay", f"={sys.executable}")
        (tmp_path / each).write_text(text.replace("=/usr/sbin/nft", f"={sys.executable}"))
    found = _run("systemd-analyze", "verify", tmp_path / name)
    complaints = [line for line in found.stderr.splitlines() if "relay" in line]
    assert (found.returncode, complaints) == (0, [])


@pytest.mark.debian
@pytest.mark.parametrize(("name", "most"), [("relay", 1.6), ("relay-firewall", 2.0)])
def test_the_unit_is_exposed_as_little_as_it_says(name: str, most: float) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip(f"systemd-analyze is not installed: {name}.service was NOT judged")
    found = _run("systemd-analyze", "security", "--offline=true", DEPLOY / f"{name}.service")
    exposure = re.search(rf"Overall exposure level for {name}.service: ([0-9.]+)", found.stdout)
    assert exposure is not None, found.stdout + found.stderr
    assert float(exposure[1]) <= most


def test_a_mistake_in_the_configuration_is_not_tried_again() -> None:
    """Exit code 2 counts of the main process alone: nothing may read the file before it does."""
    service = unit_sandbox.service(DEPLOY / "relay.service")
    assert service["RestartPreventExitStatus"] == ["2"]
    assert "ExecStartPre" not in service


@pytest.mark.debian
def test_promtool_accepts_the_scrape_configuration() -> None:
    left = "prometheus.yml was NOT checked"
    promtool("check", "config", DEPLOY / "prometheus.yml", left=left)
