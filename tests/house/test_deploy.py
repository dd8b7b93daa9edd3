"""What an operator deploys is accepted by the tool that will read it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.debian
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: relay.service was NOT verified")
    unit = tmp_path / "relay.service"
    # The verifier wants the program to exist where the unit says.
    text = (DEPLOY / "relay.service").read_text()
    unit.write_text(text.replace("/opt/relay/bin/relay", sys.executable))
    found = _run("systemd-analyze", "verify", unit)
    complaints = [line for line in found.stderr.splitlines() if "relay.service" in line]
    assert (found.returncode, complaints) == (0, [])


@pytest.mark.debian
def test_promtool_accepts_the_scrape_configuration() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed: prometheus.yml was NOT checked")
    found = _run("promtool", "check", "config", DEPLOY / "prometheus.yml")
    assert found.returncode == 0, found.stdout + found.stderr
