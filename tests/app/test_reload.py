"""Reading the configuration again: one at a time, all or nothing, and never the end of anything."""

import asyncio
import io
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from relay.app.reload import Reloader, check, differences
from relay.config.loader import load_text
from relay.config.settings import Settings
from relay.core.errors import ConfigError
from relay.telemetry import Telemetry
from relay.telemetry.gauges import Snapshot
from relay.telemetry.log import Log, LogWriter
from tests.harness.clock import ManualClock
from tests.harness.deliveries import ENVIRON, configuration

TEXT = configuration("http://127.0.0.1:1")
BROKEN = TEXT.replace("upstream: billing", "upstream: biling", 1)


class Bug(Exception):
    """Nobody foresaw this."""


def settings(text: str = TEXT, directory: Path = Path("/tmp")) -> Settings:
    return load_text(text, "relay.yaml", ENVIRON, directory)


class Bench:
    """A configuration that can be changed, and what becomes of it."""

    def __init__(self) -> None:
        self.text = TEXT
        self.loads = self.renewals = 0
        self.recorded: list[bool] = []
        self.loader: threading.Thread | None = None
        self.may_load = threading.Event()
        self.may_load.set()
        self.taken: list[Settings] = []
        self.fault: Exception | None = None
        self.clock = ManualClock()
        self._log = io.BytesIO()
        self._writer = LogWriter(self._log)
        self.telemetry = Telemetry(Log(self._writer, self.clock))
        self.reloader = Reloader(
            settings(),
            load=self.load,
            switch=self.switch,
            renew=self.renew,
            telemetry=self.telemetry,
            clock=self.clock,
            on_signalled=self.record,
        )

    async def record(self, taken: bool) -> None:
        self.recorded.append(taken)

    def load(self) -> Settings:
        self.loader = threading.current_thread()
        self.loads += 1
        assert self.may_load.wait(20)
        return settings(self.text)

    async def switch(self, wanted: Settings) -> None:
        if self.fault is not None:
            raise self.fault
        self.taken.append(wanted)

    async def renew(self) -> None:
        self.renewals += 1

    def lines(self) -> list[dict[str, Any]]:
        self._writer.close()
        return [orjson.loads(line) for line in self._log.getvalue().splitlines()]

    def metrics(self) -> list[str]:
        text = self.telemetry.expose(Snapshot()).decode()
        return [line for line in text.splitlines() if line.startswith("relay_config_reload")]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.ensure_future(self.reloader.run())
        yield
        task.cancel()
        await asyncio.wait({task})


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_good_file_is_taken_and_told(bench: Bench) -> None:
    bench.text = TEXT.replace("timeout: 2s", "timeout: 3s").replace("name: vipps", "name: mobile")
    await bench.clock.advance(60)
    async with bench.running():
        assert await bench.reloader.reload() == ()
    assert bench.taken == [bench.reloader.running] == [settings(bench.text)]
    success, moment = bench.metrics()
    assert success == "relay_config_reload_success 1.0"
    assert float(moment.split()[1]) == bench.clock.now().timestamp()
    (line,) = bench.lines()
    assert line["event"] == "reloaded"
    assert line["changed"] == ["upstreams.billing", "endpoints.mobile", "endpoints.vipps"]


async def test_a_bad_file_changes_nothing_and_each_mistake_is_told(bench: Bench) -> None:
    bench.telemetry.configured(bench.clock.now())
    before = bench.metrics()
    bench.text = BROKEN
    async with bench.running():
        (problem,) = await bench.reloader.reload()
        assert bench.metrics() == ["relay_config_reload_success 0.0", before[1]]
        bench.text = TEXT
        assert await bench.reloader.reload() == ()
        assert bench.metrics() == before
    assert bench.renewals == 2
    assert problem.where == "endpoints.0.upstream"
    refused, taken = bench.lines()
    assert (refused["event"], refused["level"]) == ("reload_refused", "error")
    assert refused["detail"] == str(problem)
    assert refused["detail"].startswith(f"relay.yaml:{problem.line}:{problem.column}: endpoints.0")
    assert taken["changed"] == []


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("listen", 'listen: [{bind: "127.0.0.1:0"}]', 'listen: [{bind: "127.0.0.1:1"}]'),
        ("admin", "${env:RELAY_ADMIN_TOKEN}", "another-token"),
        ("spool", "path: relay.db", "path: other.db"),
        ("state_dir", "shutdown_grace: 5s", "shutdown_grace: 5s\nstate_dir: /var/tmp"),
    ],
)
async def test_what_takes_a_restart_is_refused(key: str, old: str, new: str, bench: Bench) -> None:
    assert old in TEXT
    bench.text = TEXT.replace(old, new, 1)
    async with bench.running():
        (problem,) = await bench.reloader.reload()
    assert problem.where == key
    assert "restart needed" in problem.message
    assert bench.text.splitlines()[problem.line - 1].startswith(f"{key}:")
    assert bench.taken == []


def test_the_same_again_takes_no_restart() -> None:
    check(settings(), settings())
    with pytest.raises(ConfigError):
        check(settings(), settings(TEXT, Path("/var/tmp")))


def test_keys_of_the_spool_are_exchanged_under_way_and_its_place_is_not() -> None:
    sealed = TEXT.replace("path: relay.db", f"path: relay.db, encrypt: ['{'0' * 64}']")
    check(settings(), settings(sealed))
    check(settings(sealed), settings())
    assert differences(settings(), settings(sealed)) == ("spool",)
    with pytest.raises(ConfigError):
        check(settings(), settings(sealed.replace("relay.db", "other.db")))


async def test_a_fault_of_ours_leaves_what_runs(bench: Bench) -> None:
    bench.fault = Bug()
    async with bench.running():
        (problem,) = await bench.reloader.reload()
        assert "see the log" in problem.message
        assert bench.metrics()[0] == "relay_config_reload_success 0.0"
        bench.fault = None
        assert await bench.reloader.reload() == ()
    assert [line["event"] for line in bench.lines()][:2] == ["reload_fault", "reload_refused"]


async def test_a_storm_of_signals_is_one_reload_at_a_time(bench: Bench) -> None:
    bench.may_load.clear()
    async with bench.running():
        first = asyncio.ensure_future(bench.reloader.reload())
        while not bench.loads:  # noqa: ASYNC110 - the load begins in a thread
            await asyncio.sleep(0)
        for _ in range(100):
            bench.reloader.request()
        later = [asyncio.ensure_future(bench.reloader.reload()) for _ in range(100)]
        await asyncio.sleep(0)
        assert bench.loads == 1
        # Those who came while one was under way are owed one that began after they had asked.
        bench.text = BROKEN
        bench.may_load.set()
        await first
        assert {len(await each) for each in later} == {1}
    assert bench.loads == 2


async def test_a_signal_before_the_start_is_not_forgotten(bench: Bench) -> None:
    bench.reloader.request()
    async with bench.running():
        while not bench.taken:  # noqa: ASYNC110 - nobody else is told
            await asyncio.sleep(0)


async def test_whoever_asks_at_the_end_is_told_so(bench: Bench) -> None:
    bench.may_load.clear()
    async with bench.running():
        asked = [asyncio.ensure_future(bench.reloader.reload())]
        while not bench.loads:  # noqa: ASYNC110 - the load begins in a thread
            await asyncio.sleep(0)
        asked.append(asyncio.ensure_future(bench.reloader.reload()))
        await asyncio.sleep(0)
    bench.may_load.set()
    asked.append(asyncio.ensure_future(bench.reloader.reload()))
    for each in asked:
        (problem,) = await each
        assert "stopping" in problem.message
    assert bench.taken == []


async def test_what_does_not_come_back_holds_up_no_end(bench: Bench) -> None:
    bench.may_load.clear()
    async with bench.running():
        bench.reloader.request()
        while not bench.loads:  # noqa: ASYNC110 - the load begins in a thread
            await asyncio.sleep(0)
    # A thread that the end of the process would wait for, as those of asyncio, is none of these.
    thread = bench.loader
    assert thread is not None
    assert thread.daemon
    bench.may_load.set()
    thread.join(20)
    assert not thread.is_alive()


def test_differences_are_named_and_nothing_of_their_content() -> None:
    after = settings(TEXT.replace("a-token", "b").replace("body: 64KiB", "body: 32KiB"))
    assert differences(settings(), after) == ("limits",)
    assert differences(settings(), settings()) == ()


async def test_what_a_signal_asks_for_is_recorded_once_for_each_reload(bench: Bench) -> None:
    async with bench.running():
        await bench.reloader.reload()
        assert bench.recorded == []
        for _ in range(3):
            bench.reloader.request(signalled=True)
        await bench.reloader.reload()
        await bench.reloader.reload()
        assert bench.recorded == [True]
        bench.text = BROKEN
        bench.reloader.request(signalled=True)
        await bench.reloader.reload()
        await bench.reloader.reload()
    assert bench.recorded == [True, False]
