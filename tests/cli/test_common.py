"""The configuration file is named by option, by variable, or by habit."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from relay.admin.serializers import parse_query
from relay.cli import application
from relay.cli.common import mention_unknown, no_endpoint, query
from relay.config import Settings, load
from relay.core.event import Status
from relay.spool import Query


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


def test_filters_that_were_given_are_read() -> None:
    assert query(parse_query, limit=5, status="dead", key=None) == Query(
        status=Status.DEAD, limit=5
    )
    assert query(parse_query) == Query()
    with pytest.raises(typer.BadParameter, match='no status "none"; there are: pending'):
        query(parse_query, status="none")


def test_an_unknown_endpoint_is_told_with_what_there_is() -> None:
    names = ["vipps", "midtrans"]
    assert no_endpoint("vips", names) == (
        'no endpoint named "vips"; did you mean "vipps"? there are: midtrans, vipps'
    )
    assert no_endpoint("x", names) == 'no endpoint named "x"; there are: midtrans, vipps'


def test_what_may_be_history_is_only_mentioned(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (None, "vipps"):
        mention_unknown(name, settings)
        assert capsys.readouterr().err == ""
    mention_unknown("vips", settings)
    assert capsys.readouterr().err.startswith('nothing found: no endpoint named "vips"; did you')


@pytest.fixture
def settings(config: Path) -> Settings:
    return load(config, {"MIDTRANS_SERVER_KEY": "SB-Mid-server-x", "VIPPS_SECRET": "s"})
