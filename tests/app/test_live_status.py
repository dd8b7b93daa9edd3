"""The status of a running process tells of the configuration in force."""

import io
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from relay.admin.health import Health
from relay.app.live_status import LiveStatus
from relay.config import Settings, load_text
from relay.config.digest import digest
from relay.core.errors import Problem
from relay.spool.sqlite import SqliteSpool, open_spool
from relay.telemetry import Telemetry
from relay.telemetry.log import Log, LogWriter
from tests.harness.clock import ManualClock
from tests.harness.deliveries import ENVIRON, configuration


class Bench:
    """A status whose settings can be exchanged."""

    def __init__(self, spool: SqliteSpool, clock: ManualClock, folder: Path) -> None:
        self._folder = folder
        self.settings = self.read("http://127.0.0.1:1/one")
        self.writer = LogWriter(io.BytesIO())
        self.telemetry = Telemetry(Log(self.writer, clock))
        health = Health(
            clock=clock,
            spool=spool,
            endpoints=[],
            statuses=list,
            breakers=lambda: {"billing": True},
            connections=lambda: 0,
            certificates={},
            live=lambda: True,
            upstreams=lambda: ("billing",),
            stopping=lambda: False,
        )
        self._status = LiveStatus(
            spool,
            spool.activity,
            settings=lambda: self.settings,
            health=health,
            telemetry=self.telemetry,
            clock=clock,
            role="all",
        )

    def read(self, upstream: str) -> Settings:
        return load_text(configuration(upstream), "relay.yaml", ENVIRON, self._folder)

    async def status(self) -> Any:
        return await self._status.read()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def bench(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Bench]:
    spool = await open_spool(tmp_path / "relay.db", clock)
    bench = Bench(spool, clock, tmp_path)
    yield bench
    await spool.close()
    bench.writer.close()


async def test_the_node_is_this_process_since_its_start(bench: Bench, clock: ManualClock) -> None:
    began = clock.now()
    await clock.advance(timedelta(hours=1).total_seconds())
    [node] = (await bench.status())["nodes"]
    assert node["role"] == "all"
    assert node["name"]
    assert node["since"] == began.isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def test_after_a_reload_it_tells_of_the_configuration_in_force(bench: Bench) -> None:
    one = await bench.status()
    assert one["nodes"][0]["configuration"] == digest(bench.settings)
    bench.settings = bench.read("http://127.0.0.1:1/two")
    other = await bench.status()
    assert other["nodes"][0]["configuration"] == digest(bench.settings)
    assert other["nodes"] != one["nodes"]
    assert other["upstreams"][0]["url"] == "http://127.0.0.1:1/two/hooks"


async def test_a_reload_that_was_refused_needs_somebody_until_one_is_taken(
    bench: Bench, clock: ManualClock
) -> None:
    def kinds(status: Any) -> list[str]:
        return [each["kind"] for each in status["attention"] if each["kind"] != "disk_low"]

    bench.telemetry.reload_refused([Problem("relay.yaml", 1, 1, "listen", "not so")])
    assert kinds(await bench.status()) == ["upstream_down", "reload_refused"]
    bench.telemetry.reloaded(clock.now(), ())
    assert kinds(await bench.status()) == ["upstream_down"]
