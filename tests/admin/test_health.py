"""Readiness, gauges and the allowlist are what the parts say at the moment."""

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import apsw
import pytest
from netaddr import IPNetwork

from relay.admin.health import Health
from relay.allowlist import Allowlist, Entry, Mode, SourceStatus, StaticSource
from relay.core.secret import Secret
from relay.ingest.admission import Endpoint
from relay.providers import EndpointOptions, Provider
from relay.providers.builtin import provider_named
from relay.spool.sqlite import SqliteSpool, open_spool
from relay.telemetry import Telemetry
from relay.telemetry.log import Log, LogWriter
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED, verified

PROVIDER: Provider = provider_named("vipps")


@dataclass
class Unheard:
    """A host name that DNS has not answered yet."""

    known: list[Entry] = field(default_factory=list)
    generation: int = 0

    def entries(self) -> list[Entry]:
        return self.known

    def status(self) -> SourceStatus:
        return SourceStatus("host.example", len(self.known), None, "timeout")

    async def run(self) -> None: ...

    async def refresh(self) -> None: ...


def endpoint(name: str, allowlist: Allowlist, mode: Mode) -> Endpoint:
    return Endpoint(
        name=name,
        path=f"/{name}",
        methods=("POST",),
        shapes=(),
        provider="vipps",
        environment="test",
        upstream="billing",
        inspector=PROVIDER.bind(EndpointOptions(secrets=(Secret("s"),))),
        headers=(),
        allowlist=allowlist,
        mode=mode,
        knock=None,
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(RECEIVED)


@pytest.fixture
async def spool(tmp_path: Path, clock: ManualClock) -> AsyncIterator[SqliteSpool]:
    spool = await open_spool(tmp_path / "relay.db", clock)
    yield spool
    await spool.close()


def state(spool: SqliteSpool, clock: ManualClock, *endpoints: Endpoint) -> Health:
    refreshed = clock.now() - timedelta(seconds=30)
    return Health(
        clock=clock,
        spool=spool,
        endpoints=endpoints,
        statuses=lambda: [
            SourceStatus("a.example", 1, refreshed, None),
            SourceStatus("b.example", 0, None, "timeout"),
        ],
        breakers=lambda: {"billing": True},
        connections=lambda: 0,
        certificates={},
        live=lambda: True,
        upstreams=lambda: ("billing",),
    )


async def test_an_enforced_source_without_addresses_is_not_ready(
    spool: SqliteSpool, clock: ManualClock
) -> None:
    source = Unheard()
    enforced = endpoint("enforced", Allowlist([source]), Mode.ENFORCE)
    reported = endpoint("reported", Allowlist([source]), Mode.REPORT)
    found = state(spool, clock, enforced, reported)
    assert await found.unready() == ["endpoint enforced: no addresses of host.example yet"]
    source.known = [Entry(IPNetwork("104.45.17.199"), "dns", "host.example")]
    source.generation += 1
    assert await found.unready() == []


async def test_a_spool_that_cannot_answer_is_not_ready_and_shows_no_gauges(
    spool: SqliteSpool, clock: ManualClock
) -> None:
    found = state(spool, clock)
    await spool.close()
    (reason,) = await found.unready()
    assert reason.startswith("spool: ")
    assert (await found.snapshot()).spool_bytes is None


async def test_a_spool_that_takes_no_write_is_not_ready(clock: ManualClock, tmp_path: Path) -> None:
    spool = await open_spool(tmp_path / "locked.db", clock, busy_timeout=timedelta(milliseconds=50))
    other = apsw.Connection(str(tmp_path / "locked.db"))
    other.execute("BEGIN IMMEDIATE")
    (reason,) = await state(spool, clock).unready()
    assert reason.startswith("spool: ")
    other.execute("ROLLBACK")
    other.close()
    assert await state(spool, clock).unready() == []
    await spool.close()


async def test_the_snapshot_tells_the_moment(spool: SqliteSpool, clock: ManualClock) -> None:
    listed = StaticSource("x", [("103.208.23.0/24", "test"), ("104.45.17.199", "test")])
    await spool.put(verified())
    await clock.advance(90)
    found = state(spool, clock, endpoint("vipps", Allowlist([listed]), Mode.ENFORCE))
    snapshot = await found.snapshot()
    assert snapshot.spool_events == {("midtrans", "pending"): 1}
    assert snapshot.spool_oldest_pending_seconds == {"billing": 90.0}
    assert snapshot.breaker_open == {"billing": True}
    assert snapshot.allowlist_addresses == {"vipps": 2}
    assert snapshot.allowlist_age_seconds == {"a.example": 30.0}
    assert snapshot.allowlist_mode == {"vipps": "enforce"}


async def test_the_allowlist_is_shown_with_origins(spool: SqliteSpool, clock: ManualClock) -> None:
    listed = StaticSource("x", [("104.45.17.199", "test")])
    found = state(spool, clock, endpoint("vipps", Allowlist([listed]), Mode.ENFORCE))
    (shown,) = found.allowlist()
    assert shown == {
        "endpoint": "vipps",
        "mode": "enforce",
        "entries": [
            {"network": "104.45.17.199/32", "origin": "test", "host": None, "last_seen": None}
        ],
    }


async def test_an_upstream_that_is_gone_is_told_while_events_wait_for_it(
    spool: SqliteSpool, clock: ManualClock
) -> None:
    await spool.put(verified(key="1", upstream="billing"))
    assert (await state(spool, clock).snapshot()).upstream_missing == frozenset()
    await spool.put(verified(key="2", upstream="ledger"))
    assert (await state(spool, clock).snapshot()).upstream_missing == {"ledger"}
    writer = LogWriter(io.BytesIO())
    shown = Telemetry(Log(writer, clock)).expose(await state(spool, clock).snapshot())
    writer.close()
    assert b'relay_upstream_missing{upstream="ledger"} 1.0' in shown
