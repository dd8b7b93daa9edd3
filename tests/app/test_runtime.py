"""A whole relay in this process: it starts in order, stops in order, and ends when it must."""

import asyncio
import errno
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from relay.app.runtime import Addresses, App, Role
from relay.app.watch import ConfigSource
from relay.config.loader import load, load_text
from relay.config.settings import Settings
from relay.core.clock import SystemClock
from relay.spool import SpoolBroken
from relay.spool.refusals import RefusalQuery
from relay.spool.sqlite import open_spool
from relay.telemetry.log import Log, LogWriter
from tests.harness.deliveries import ENVIRON, configuration, midtrans_body, midtrans_request
from tests.harness.upstream import Upstream
from tests.harness.wire import exchange, request


@dataclass
class Running:
    """A relay that serves; `task` ends with it."""

    addresses: Addresses
    stop: asyncio.Event
    task: asyncio.Task[None]


def settings(directory: Path, text: str) -> Settings:
    return load_text(text, "relay.yaml", ENVIRON, directory)


@asynccontextmanager
async def serving(
    directory: Path, upstream_url: str = "http://127.0.0.1:1", role: Role = Role.ALL
) -> AsyncIterator[Running]:
    writer = LogWriter(io.BytesIO())
    log = Log(writer, SystemClock())
    app = App(
        settings(directory, configuration(upstream_url)), log=log, clock=SystemClock(), role=role
    )
    stop = asyncio.Event()
    started: asyncio.Future[Addresses] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(app.serve(stop, started.set_result))
    try:
        waits: set[asyncio.Future[Any]] = {task, started}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        yield Running(started.result(), stop, task)
    finally:
        stop.set()
        await asyncio.wait({task})
        writer.close()


async def test_both_halves_work_and_end_together(tmp_path: Path) -> None:
    async with Upstream() as upstream, serving(tmp_path, upstream.url) as relay:
        body = midtrans_body()
        reply = await exchange(relay.addresses.public[0], midtrans_request(body))
        assert reply.status == 200
        await upstream.has_received(1)
        assert upstream.received[0].body == body
        relay.stop.set()
        async with asyncio.timeout(10):
            await relay.task
        for address in (relay.addresses.public[0], relay.addresses.admin):
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*address)


@pytest.mark.parametrize(("role", "listeners"), [(Role.EDGE, 1), (Role.DISPATCH, 0)])
async def test_a_role_runs_its_half_alone(role: Role, listeners: int, tmp_path: Path) -> None:
    async with serving(tmp_path, role=role) as relay:
        assert len(relay.addresses.public) == listeners
        for path, expected in (("/livez", 200), ("/readyz", 200)):
            reply = await exchange(relay.addresses.admin, request("GET", path))
            assert reply.status == expected


async def test_dispatching_alone_tells_nothing_of_allowlists(tmp_path: Path) -> None:
    async with serving(tmp_path, role=Role.DISPATCH) as relay:
        metrics = (await exchange(relay.addresses.admin, request("GET", "/metrics"))).body
    assert b"relay_allowlist_addresses{" not in metrics
    assert b'relay_breaker_open{upstream="billing"}' in metrics


async def test_events_of_an_upstream_that_is_gone_are_mentioned(tmp_path: Path) -> None:
    async with serving(tmp_path, role=Role.EDGE) as relay:
        await exchange(relay.addresses.public[0], midtrans_request(midtrans_body()))
    renamed = configuration("http://127.0.0.1:1").replace("billing", "payments")
    stream = io.BytesIO()
    writer = LogWriter(stream)
    clock = SystemClock()
    app = App(settings(tmp_path, renamed), log=Log(writer, clock), clock=clock)
    stop = asyncio.Event()
    await app.serve(stop, lambda _: stop.set())
    writer.close()
    (line,) = [each for each in stream.getvalue().splitlines() if b"upstream_missing" in each]
    assert b'"upstream":"billing"' in line


async def test_a_taken_port_ends_the_start_and_leaves_nothing_open(tmp_path: Path) -> None:
    async with serving(tmp_path) as first:
        host, port = first.addresses.public[0]
        text = configuration("http://127.0.0.1:1").replace("127.0.0.1:0", f"{host}:{port}", 1)
        writer = LogWriter(io.BytesIO())
        (tmp_path / "second").mkdir()
        clock = SystemClock()
        app = App(settings(tmp_path / "second", text), log=Log(writer, clock), clock=clock)
        with pytest.raises(OSError) as taken:  # noqa: PT011 - its number is looked at
            await app.serve(asyncio.Event(), lambda _: None)
        assert taken.value.errno == errno.EADDRINUSE
        writer.close()


async def test_a_spool_that_was_taken_away_ends_the_process(tmp_path: Path) -> None:
    async with serving(tmp_path) as relay:
        for name in ("relay.db", "relay.db-wal", "relay.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        reply = await exchange(relay.addresses.public[0], midtrans_request(midtrans_body()))
        assert reply.status == 502
        with pytest.raises(SpoolBroken):
            async with asyncio.timeout(15):
                await relay.task


async def test_what_changes_before_anybody_watches_is_read(tmp_path: Path) -> None:
    """The file is another one by the time that the relay serves than when it was read."""
    config = tmp_path / "relay.yaml"
    config.write_text(configuration("http://127.0.0.1:1"))
    reading = ConfigSource(config, lambda path: load(path, ENVIRON))
    first = reading()
    config.write_text(config.read_text().replace("/midtrans/notification", "/hook"))
    writer, clock = LogWriter(io.BytesIO()), SystemClock()
    app = App(first, log=Log(writer, clock), clock=clock, load=reading, watched=reading.seen)
    stop = asyncio.Event()
    started: asyncio.Future[Addresses] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(app.serve(stop, started.set_result))
    hook = midtrans_request(midtrans_body()).replace(b"/midtrans/notification", b"/hook")
    address = (await started).public[0]
    async with asyncio.timeout(20):
        while (await exchange(address, hook)).status != 200:
            pass
    stop.set()
    await task
    writer.close()


async def test_a_kept_refusal_has_an_id_of_its_own_kind(tmp_path: Path) -> None:
    async with serving(tmp_path) as relay:
        forged = midtrans_body(gross_amount="10000.00").replace(b"10000.00", b"10.00")
        reply = await exchange(relay.addresses.public[0], midtrans_request(forged))
        assert reply.status == 401
    spool = await open_spool(tmp_path / "relay.db", SystemClock())
    (kept,) = (await spool.refusals.page(RefusalQuery())).refusals
    assert kept.refused.id.startswith("ref_")
    assert len(kept.refused.id) == len("ref_") + 32
    await spool.close()
