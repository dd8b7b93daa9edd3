"""A command works on a spool that is there, and closes it."""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer

from relay.cli.common import load_settings, with_spool
from relay.core.clock import SystemClock
from relay.core.errors import SpoolUnavailable
from relay.spool import Query, Spool
from relay.spool.sqlite import open_spool


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDTRANS_SERVER_KEY", "SB-Mid-server-x")
    monkeypatch.setenv("VIPPS_SECRET", "a-secret")


def make(config: Path) -> None:
    async def run() -> None:
        await (await open_spool(config.parent / "relay.db", SystemClock())).close()

    asyncio.run(run())


def test_what_the_work_returns_is_returned(config: Path) -> None:
    make(config)
    opened: list[Spool] = []

    async def work(spool: Spool) -> int:
        opened.append(spool)
        return len((await spool.page(Query())).records)

    assert with_spool(load_settings(config), work) == 0
    with pytest.raises(SpoolUnavailable):
        asyncio.run(opened[0].page(Query()))


def test_what_cannot_be_meant_is_a_mistake_in_the_call(config: Path) -> None:
    make(config)
    with pytest.raises(typer.BadParameter, match="next"):
        with_spool(load_settings(config), lambda spool: spool.page(Query(after="x")))


def test_a_spool_that_is_not_there_is_not_made(config: Path) -> None:
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
def test_a_spool_of_another_user_says_who_is_needed(closed: str, config: Path) -> None:
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
