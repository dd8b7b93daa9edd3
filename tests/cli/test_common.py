"""The configuration file is named by option, by variable, or by habit."""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from relay.admin.serializers import parse_event_query
from relay.cli import application
from relay.cli.common import (
    load_settings,
    query,
    unknown_endpoint,
    warn_unknown_names,
    with_spool,
)
from relay.config.loader import load
from relay.config.settings import Settings
from relay.core.clock import SystemClock
from relay.core.errors import SpoolUnavailable
from relay.core.event import Status
from relay.spool import Spool
from relay.spool.history import Query
from relay.spool.sqlite import open_spool

# ---- options --------------------------------------------------------------------------------


def test_the_variable_names_the_file(config: Path) -> None:
    environ = {
        "MIDTRANS_SERVER_KEY": "SB-Mid-server-x",
        "VIPPS_SECRET": "s",
        "RELAY_CONFIG": str(config),
    }
    result = CliRunner().invoke(application(), ["allowlist", "show"], env=environ)
    assert result.exit_code == 0
    assert "34.101.68.130/32" in result.output


def test_of_many_endpoints_each_is_told_once() -> None:
    names = [f"shop-{number}" for number in range(50)]
    told = unknown_endpoint("midtrans", names)
    assert told == f'no endpoint named "midtrans"; there are: {", ".join(sorted(names))}'


def test_the_habit_is_relay_yaml_here(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(config.parent)
    environ = {"MIDTRANS_SERVER_KEY": "SB-Mid-server-x", "VIPPS_SECRET": "s"}
    result = CliRunner().invoke(application(), ["allowlist", "show"], env=environ)
    assert result.exit_code == 0


def test_filters_that_were_given_are_read() -> None:
    parse = partial(parse_event_query, now=datetime(2026, 1, 5, tzinfo=UTC))
    assert query(parse, limit=5, status="dead", key=None) == Query(status=Status.DEAD, limit=5)
    assert query(parse) == Query()
    with pytest.raises(typer.BadParameter, match='no status "none"; there are: pending'):
        query(parse, status="none")


def test_an_unknown_endpoint_is_told_with_what_there_is() -> None:
    names = ["vipps", "midtrans"]
    assert unknown_endpoint("vips", names) == (
        'no endpoint named "vips"; did you mean "vipps"? there are: midtrans, vipps'
    )
    assert unknown_endpoint("x", names) == 'no endpoint named "x"; there are: midtrans, vipps'


def test_what_may_be_history_is_only_mentioned(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (None, "vipps"):
        warn_unknown_names(name, settings)
        assert capsys.readouterr().err == ""
    warn_unknown_names("vips", settings)
    assert capsys.readouterr().err.startswith('nothing found: no endpoint named "vips"; did you')
    warn_unknown_names(None, settings, "billing")
    assert capsys.readouterr().err == ""
    warn_unknown_names(None, settings, "biling")
    said = 'nothing found: no upstream named "biling"; there are: billing\n'
    assert capsys.readouterr().err == said


@pytest.fixture
def settings(config: Path) -> Settings:
    return load(config, {"MIDTRANS_SERVER_KEY": "SB-Mid-server-x", "VIPPS_SECRET": "s"})


# ---- spools ---------------------------------------------------------------------------------
# A command works on a spool that is there, and closes it.


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDTRANS_SERVER_KEY", "SB-Mid-server-x")
    monkeypatch.setenv("VIPPS_SECRET", "a-secret")


def make(config: Path) -> None:
    async def run() -> None:
        await (await open_spool(config.parent / "relay.db", SystemClock())).close()

    asyncio.run(run())


def test_what_the_work_returns_is_returned(config: Path, environ: None) -> None:
    make(config)
    opened: list[Spool] = []

    async def work(spool: Spool) -> int:
        opened.append(spool)
        return len((await spool.page(Query())).records)

    assert with_spool(load_settings(config), work) == 0
    with pytest.raises(SpoolUnavailable):
        asyncio.run(opened[0].page(Query()))


def test_what_cannot_be_meant_is_a_mistake_in_the_call(config: Path, environ: None) -> None:
    make(config)
    with pytest.raises(typer.BadParameter, match="next"):
        with_spool(load_settings(config), lambda spool: spool.page(Query(after="x")))


def test_a_spool_that_is_not_there_is_not_made(config: Path, environ: None) -> None:
    with pytest.raises(SpoolUnavailable, match="there is no spool"):
        with_spool(load_settings(config), lambda spool: spool.page(Query()))
    assert not (config.parent / "relay.db").exists()


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user to whom only what is everybody's is open."""
    own = os.geteuid()
    if own == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(own)


@pytest.mark.parametrize("closed", ["relay.db", "."])
def test_a_spool_of_another_user_says_who_is_needed(
    closed: str, config: Path, environ: None
) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o777)
        config = config.rename(directory / "relay.yaml")
        make(config)
        (directory / "relay.db").chmod(0o666)
        settings = load_settings(config)
        (directory / closed).chmod(0o555 if closed == "." else 0o400)
        with as_nobody(), pytest.raises(SpoolUnavailable, match="as the user of `relay run`"):
            with_spool(settings, lambda spool: spool.page(Query()))
        directory.chmod(0o777)
