"""Certificates follow their files while relay runs, and never become worse."""

import asyncio
import io
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import orjson
import pytest
import trustme

from relay.app.maintenance import (
    FILL_INTERVAL,
    LOOK_INTERVAL,
    POLL_INTERVAL,
    CertificateReloader,
    ReferenceJob,
    RetentionJob,
)
from relay.core.errors import SpoolUnavailable
from relay.core.event import Dead, Delivered, Done, Rejected
from relay.edge.tls import ServerTls
from relay.spool.history import FILLING
from relay.spool.sqlite import SqliteSpool, open_spool
from relay.telemetry import Telemetry
from relay.telemetry.gauges import Snapshot
from relay.telemetry.log import Log, LogWriter
from tests.contracts.refusals import BOUNDS, ids, refused
from tests.harness.clock import ManualClock
from tests.harness.deliveries import verified

NEXT_YEAR = datetime(2027, 1, 5, tzinfo=UTC)
LATER = datetime(2028, 1, 5, tzinfo=UTC)


@dataclass
class Kept:
    """A renewal that runs, and what it says."""

    certificates: CertificateReloader
    clock: ManualClock
    directory: Path
    authority: trustme.CA
    _log: io.BytesIO
    _writer: LogWriter

    def issue(self, until: datetime, *, key_too: bool = True) -> None:
        """Put a new certificate where the listener's is."""
        issue(self.authority, self.directory, until, key_too=key_too)

    async def looks(self) -> None:
        """Let one look pass."""
        await self.clock.advance(POLL_INTERVAL)
        # The look itself goes to a thread; asking for one waits for it.
        await self.certificates.poll()

    def lines(self) -> list[dict[str, Any]]:
        self._writer.close()
        return [orjson.loads(line) for line in self._log.getvalue().splitlines()]


def issue(authority: trustme.CA, directory: Path, until: datetime, *, key_too: bool = True) -> None:
    leaf = authority.issue_cert("pay.example.com", not_after=until)
    (directory / "fullchain.pem").write_bytes(leaf.cert_chain_pems[0].bytes())
    if key_too:
        (directory / "privkey.pem").write_bytes(leaf.private_key_pem.bytes())


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    authority = trustme.CA()
    issue(authority, tmp_path, NEXT_YEAR)
    log, clock = io.BytesIO(), ManualClock()
    writer = LogWriter(log)
    tls = ServerTls(tmp_path / "fullchain.pem", tmp_path / "privkey.pem")
    certificates = CertificateReloader({"0.0.0.0:443": tls}, clock, Log(writer, clock))
    running = asyncio.ensure_future(certificates.run())
    yield Kept(certificates, clock, tmp_path, authority, log, writer)
    running.cancel()
    await asyncio.wait({running})
    writer.close()


async def test_files_that_stay_are_left_alone(kept: Kept) -> None:
    await kept.looks()
    assert kept.certificates.ends == {"0.0.0.0:443": NEXT_YEAR}
    assert kept.lines() == []


async def test_a_new_pair_is_taken_and_its_end_is_told(kept: Kept) -> None:
    ends = kept.certificates.ends
    kept.issue(LATER)
    await kept.looks()
    assert ends == {"0.0.0.0:443": LATER}
    (line,) = kept.lines()
    assert line["event"] == "certificate_renewed"
    assert line["listener"] == "0.0.0.0:443"
    assert line["not_after"] == LATER.isoformat()


async def test_half_a_pair_is_not_taken_and_said_once_until_it_is_whole(kept: Kept) -> None:
    kept.issue(LATER, key_too=False)
    for _ in range(3):
        await kept.looks()
    assert kept.certificates.ends == {"0.0.0.0:443": NEXT_YEAR}
    kept.issue(LATER)
    await kept.looks()
    assert kept.certificates.ends == {"0.0.0.0:443": LATER}
    said, renewed = kept.lines()
    assert (said["event"], said["level"]) == ("certificate_kept", "error")
    assert "do not fit together" in said["detail"]
    assert renewed["event"] == "certificate_renewed"


async def test_it_is_said_what_a_file_holds_instead(kept: Kept) -> None:
    certificate, key = kept.directory / "fullchain.pem", kept.directory / "privkey.pem"
    certificate.write_bytes(key.read_bytes())
    await kept.looks()
    (line,) = kept.lines()
    assert (
        f"{certificate} holds a private key, where a certificate in PEM belongs" in line["detail"]
    )


async def test_a_file_that_is_gone_is_named(kept: Kept) -> None:
    (kept.directory / "privkey.pem").unlink()
    await kept.looks()
    (line,) = kept.lines()
    assert "stays in use" in line["detail"]
    assert "fullchain.pem" in line["detail"]
    assert kept.certificates.ends == {"0.0.0.0:443": NEXT_YEAR}


async def test_a_file_that_comes_back_is_taken(kept: Kept) -> None:
    (kept.directory / "privkey.pem").unlink()
    (kept.directory / "fullchain.pem").unlink()
    await kept.looks()
    kept.issue(LATER)
    await kept.looks()
    assert kept.certificates.ends == {"0.0.0.0:443": LATER}
    assert [line["event"] for line in kept.lines()] == ["certificate_kept", "certificate_renewed"]


@pytest.mark.parametrize("name", ["fullchain.pem", "privkey.pem"])
async def test_a_pipe_is_not_waited_for(name: str, kept: Kept) -> None:
    (kept.directory / name).unlink()
    os.mkfifo(kept.directory / name)
    await kept.looks()
    (kept.directory / name).unlink()
    kept.issue(LATER)
    await kept.looks()
    assert kept.certificates.ends == {"0.0.0.0:443": LATER}
    said, _ = kept.lines()
    assert f"cannot read {kept.directory / name}: it is not a regular file" in said["detail"]


async def test_the_end_that_is_told_is_that_of_what_is_served(tmp_path: Path) -> None:
    """A pair that comes between the reading of one file and of the other is found later."""
    authority = trustme.CA()
    issue(authority, tmp_path, NEXT_YEAR)
    changes = [LATER]

    class Changing(ServerTls):
        """Serves a pair that is exchanged just before it is taken."""

        def renew(self) -> None:
            if changes:
                issue(authority, tmp_path, changes.pop())
            super().renew()

    tls = Changing(tmp_path / "fullchain.pem", tmp_path / "privkey.pem")
    log, clock = io.BytesIO(), ManualClock()
    writer = LogWriter(log)
    certificates = CertificateReloader({"0.0.0.0:443": tls}, clock, Log(writer, clock))
    issue(authority, tmp_path, NEXT_YEAR)
    for _ in range(2):
        await certificates.poll()
    assert certificates.ends == {"0.0.0.0:443": LATER}
    writer.close()


# ---- retention ------------------------------------------------------------------------------
# What was kept long enough goes, and trouble with the spool only postpones it.

DAY = 86400.0


@dataclass
class Bench:
    """A spool whose retention job runs."""

    spool: SqliteSpool
    clock: ManualClock
    log: io.BytesIO
    writer: LogWriter
    telemetry: Telemetry

    def value(self, name: str) -> float:
        """Return the value of a series about bodies of what was never delivered."""
        series = f'relay_undelivered_{name}{{endpoint="midtrans"}} '
        for line in self.telemetry.expose(Snapshot()).decode().splitlines():
            if line.startswith(series):
                return float(line.removeprefix(series))
        return 0

    async def pass_days(self, days: float) -> None:
        """Let time pass until the retention job has seen it and waits again."""
        await self.clock.advance(days * DAY)
        await self.waits()

    async def waits(self) -> None:
        """Return when the retention job waits for its next round."""
        async with asyncio.timeout(10):
            while not self.clock.sleeping:  # noqa: ASYNC110 - its step ends in another thread
                await asyncio.sleep(0)

    async def has_body(self, event_id: str) -> bool | None:
        """Say whether the body is there; None when the whole record is gone."""
        found = await self.spool.get(event_id)
        return None if found is None else found[1] is not None


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = ManualClock()
    log = io.BytesIO()
    writer = LogWriter(log)
    spool = await open_spool(tmp_path / "relay.db", clock, busy_timeout=timedelta(milliseconds=50))
    keeping = RetentionJob(
        spool,
        retain=timedelta(days=10),
        retain_keys=timedelta(days=20),
        clock=clock,
        telemetry=(telemetry := Telemetry(Log(writer, clock))),
    )
    running = asyncio.ensure_future(keeping.run())
    bench = Bench(spool, clock, log, writer, telemetry)
    # Behind its first round: what a test does is not half of that.
    await bench.waits()
    yield bench
    running.cancel()
    await asyncio.wait({running})
    await spool.close()
    writer.close()


async def deliver(bench: Bench) -> str:
    event = verified(received_at=bench.clock.now())
    await bench.spool.put(event)
    claimed = await bench.spool.claim(event.upstreams[0], 1, timedelta(minutes=1), ordered=False)
    await bench.spool.settle(claimed.leases[0], Done(), Delivered(200))
    return event.event_id


async def test_the_body_goes_first_and_the_key_later(bench: Bench) -> None:
    event_id = await deliver(bench)
    await bench.pass_days(9)
    assert await bench.has_body(event_id) is True
    await bench.pass_days(2)
    await bench.pass_days(0.1)
    assert await bench.has_body(event_id) is False
    await bench.pass_days(10)
    await bench.pass_days(0.1)
    assert await bench.has_body(event_id) is None


async def test_what_waits_for_delivery_stays(bench: Bench) -> None:
    event = verified(received_at=bench.clock.now())
    await bench.spool.put(event)
    await bench.pass_days(100)
    assert await bench.has_body(event.event_id) is True


async def test_bodies_of_what_was_never_delivered_stay_until_keys_go_and_that_is_told(
    bench: Bench,
) -> None:
    event = verified(received_at=bench.clock.now())
    await bench.spool.put(event)
    claimed = await bench.spool.claim(event.upstreams[0], 1, timedelta(minutes=1), ordered=False)
    await bench.spool.settle(claimed.leases[0], Dead(), Rejected(500))
    await bench.pass_days(18.5)
    assert await bench.has_body(event.event_id) is True
    assert bench.value("expiring") == 0
    await bench.pass_days(1)
    await bench.pass_days(0.1)
    assert await bench.has_body(event.event_id) is True
    assert bench.value("expiring") == 1
    await bench.pass_days(1)
    await bench.pass_days(0.1)
    await bench.pass_days(0.1)
    assert await bench.has_body(event.event_id) is False
    assert (bench.value("expiring"), bench.value("removed_total")) == (0, 1)
    bench.writer.close()
    assert b'"event":"undelivered_removed"' in bench.log.getvalue()


async def test_a_locked_spool_is_left_alone_until_the_next_round(
    bench: Bench, tmp_path: Path
) -> None:
    event_id = await deliver(bench)
    other = apsw.Connection(str(tmp_path / "relay.db"))
    other.execute("BEGIN IMMEDIATE")
    await bench.pass_days(11)
    other.execute("ROLLBACK")
    other.close()
    assert await bench.has_body(event_id) is True
    await bench.pass_days(0.1)
    await bench.pass_days(0.1)
    assert await bench.has_body(event_id) is False
    bench.writer.close()
    assert b"prune_failed" in bench.log.getvalue()


async def test_refusals_go_when_bodies_go(bench: Bench) -> None:
    old = refused(1)
    kept = replace(old, head=replace(old.head, received_at=bench.clock.now()))
    await bench.spool.refusals.keep([kept], BOUNDS)
    await bench.pass_days(9)
    assert await ids(bench.spool.refusals) == ["ref_001"]
    await bench.pass_days(2)
    await bench.pass_days(0.1)
    assert await ids(bench.spool.refusals) == []


async def test_a_token_goes_within_a_day_also_where_its_event_waits(bench: Bench) -> None:
    event = verified(received_at=bench.clock.now(), body=b'{"token": "secret"}', tokens=("/token",))
    await bench.spool.put(event)
    await bench.pass_days(0.9)
    found = await bench.spool.get(event.event_id)
    assert found is not None
    assert found[1] is not None
    assert found[1].body == event.delivery.body
    await bench.pass_days(0.1)
    await bench.pass_days(0.01)
    found = await bench.spool.get(event.event_id)
    assert found is not None
    assert found[1] is not None
    assert found[1].body == b'{"token":"***"}'


# ---- references -----------------------------------------------------------------------------


class CountedIndex:
    """An index that says how often it was filled, and with how much."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.unindexed = 0
        self.outlived = 0

    async def fill(self, least: int) -> bool:
        self.asked.append(least)
        filled = self.unindexed >= least
        self.unindexed -= min(self.unindexed, FILLING) * filled
        return filled

    async def prune(self) -> bool:
        self.outlived -= 1
        return self.outlived >= 0


async def test_references_are_filled_in_when_enough_came_and_at_the_latest_each_hour() -> None:
    clock, index = ManualClock(), CountedIndex()
    writer = LogWriter(io.BytesIO())
    job = ReferenceJob(index, clock=clock, telemetry=Telemetry(Log(writer, clock)))
    index.unindexed = 2 * FILLING + 5
    assert [await job.step() for _ in range(3)] == [True, True, False]
    assert index.unindexed == 5
    await clock.advance(FILL_INTERVAL - 1)
    assert not await job.step()
    assert set(index.asked) == {FILLING}
    index.outlived = 2
    await clock.advance(1)
    assert [await job.step() for _ in range(5)] == [True, True, True, False, False]
    assert index.asked[4:] == [1, *(FILLING,) * 4]
    assert (index.unindexed, index.outlived) == (0, -1)
    writer.close()


async def test_an_index_in_trouble_is_filled_later() -> None:
    class Broken(CountedIndex):
        async def fill(self, least: int) -> bool:
            self.asked.append(least)
            raise SpoolUnavailable("the disk is full")

    clock, index, log = ManualClock(), Broken(), io.BytesIO()
    writer = LogWriter(log)
    job = ReferenceJob(index, clock=clock, telemetry=Telemetry(Log(writer, clock)))
    running = asyncio.ensure_future(job.run())
    for _ in range(3):
        await clock.advance(LOOK_INTERVAL)
    running.cancel()
    await asyncio.wait({running})
    writer.close()
    assert len(index.asked) >= 3
    assert log.getvalue().count(b'"references_delayed"') == 1
