"""The configuration file is named by option, by variable, or by habit."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from relay.cli import application


def test_the_variable_names_the_file(config: Path) -> None:
    environ = {
        "MIDTRANS_SERVER_KEY": "SB-Mid-server-x",
        "VIPPS_SECRET": "s",
        "RELAY_CONFIG": str(config),
    }
    result = CliRunner().invoke(application(), ["allowlist", "show"], env=environ)
    assert result.exit_code == 0
    assert "34.101.68.130/32" in result.output


def test_the_habit_is_relay_yaml_here(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(config.parent)
    environ = {"MIDTRANS_SERVER_KEY": "SB-Mid-server-x", "VIPPS_SECRET": "s"}
    result = CliRunner().invoke(application(), ["allowlist", "show"], env=environ)
    assert result.exit_code == 0
