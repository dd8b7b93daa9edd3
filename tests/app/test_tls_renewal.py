"""Files that TLS to upstreams is made from are polled, whether anything else is reloaded or not."""

import io
from pathlib import Path
from typing import Any

import orjson
import pytest

from relay.app.tls_renewal import TlsRenewal
from relay.app.upstream_tls import TlsFiles, TlsKey
from relay.core.errors import ConfigError, Problem
from relay.telemetry.log import Log, LogWriter
from tests.harness.clock import ManualClock

UNFIT = ConfigError([Problem("relay.yaml", 5, 12, "upstreams.billing.tls", "do not fit together")])


class Rebuilding:
    """Stands for the settings in use: `rebuild` reads the files anew, or fails with `error`."""

    def __init__(self, directory: Path) -> None:
        self.files = TlsFiles(directory / "ca.pem")
        self.error: Exception | None = None
        self.rebuilt = 0
        self.keys: list[TlsKey] = []
        self._log = io.BytesIO()
        self._writer = LogWriter(self._log)
        self.clock = ManualClock()
        log = Log(self._writer, self.clock)
        self.renewal = TlsRenewal(lambda: self.keys, self.rebuild, self.clock, log)

    async def rebuild(self) -> None:
        self.rebuilt += 1
        if self.error is not None:
            raise self.error
        self.keys = [(TlsFiles(), ()), (self.files, await self.files.fingerprint())]

    def lines(self) -> list[dict[str, Any]]:
        self._writer.close()
        return [orjson.loads(line) for line in self._log.getvalue().splitlines()]


@pytest.fixture
async def rebuilding(tmp_path: Path) -> Rebuilding:
    made = Rebuilding(tmp_path)
    (tmp_path / "ca.pem").write_text("one")
    await made.rebuild()
    return made


async def test_files_that_stay_are_left_alone(rebuilding: Rebuilding) -> None:
    await rebuilding.renewal.poll()
    assert rebuilding.rebuilt == 1
    assert rebuilding.lines() == []


async def test_a_file_that_has_changed_is_taken_once(
    rebuilding: Rebuilding, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text("another")
    await rebuilding.renewal.poll()
    await rebuilding.renewal.poll()
    assert rebuilding.rebuilt == 2
    [line] = rebuilding.lines()
    assert (line["event"], line["level"]) == ("upstream_tls_renewed", "info")
    assert line["files"] == [str(tmp_path / "ca.pem")]


async def test_what_is_unfit_is_told_once_and_tried_again(
    rebuilding: Rebuilding, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text("half")
    rebuilding.error = UNFIT
    for _ in range(3):
        await rebuilding.renewal.poll()
    rebuilding.error = None
    await rebuilding.renewal.poll()
    assert rebuilding.rebuilt == 5
    kept, renewed = rebuilding.lines()
    assert (kept["event"], kept["level"]) == ("upstream_tls_kept", "error")
    assert "upstreams.billing.tls: do not fit together" in kept["detail"]
    assert renewed["event"] == "upstream_tls_renewed"


async def test_a_fault_ends_no_polling(rebuilding: Rebuilding, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").unlink()
    rebuilding.error = RuntimeError("a fault")
    await rebuilding.renewal.poll()
    rebuilding.error = None
    await rebuilding.renewal.poll()
    fault, renewed = rebuilding.lines()
    assert (fault["event"], renewed["event"]) == ("reload_fault", "upstream_tls_renewed")
