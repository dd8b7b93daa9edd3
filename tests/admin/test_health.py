"""Readiness, gauges and the allowlist are what the parts say at the moment."""

import io
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf
from pathlib import Path

import apsw
import pytest
from netaddr import IPNetwork

from relay.admin.health import Health, Readiness
from relay.allowlist import AddressChange, Allowlist, Entry, Mode, SourceStatus, StaticSource
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

    def changes(self) -> list[AddressChange]:
        return []

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
        upstreams=("billing",),
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


def state(
    spool: SqliteSpool,
    clock: ManualClock,
    *endpoints: Endpoint,
    statuses: Sequence[SourceStatus] = (),
    breakers: Mapping[str, bool] = {"billing": False},
    certificates: Mapping[str, datetime] = {},
    stopping: bool = False,
    paused: Mapping[str, bool] = {},
) -> Health:
    async def who_is_paused() -> Mapping[str, bool]:
        return paused

    return Health(
        clock=clock,
        spool=spool,
        endpoints=endpoints,
        statuses=lambda: statuses,
        breakers=lambda: breakers,
        connections=lambda: 0,
        certificates=certificates,
        live=lambda: True,
        upstreams=breakers.keys,
        stopping=lambda: stopping,
        paused=who_is_paused,
    )


async def test_an_enforced_source_without_addresses_is_not_ready_for_ten_seconds(
    spool: SqliteSpool, clock: ManualClock
) -> None:
    source = Unheard()
    enforced = endpoint("enforced", Allowlist([source]), Mode.ENFORCE)
    reported = endpoint("reported", Allowlist([source]), Mode.REPORT)
    found = state(spool, clock, enforced, reported)
    unknown = "endpoint enforced: no addresses of host.example yet"
    assert await found.readiness() == Readiness((unknown,), ())
    await clock.advance(9.9)
    assert (await found.readiness()).reasons == (unknown,)
    await clock.advance(0.1)
    # One sender's DNS is no reason to turn all the others away.
    assert await found.readiness() == Readiness((), (unknown,))
    source.known = [Entry(IPNetwork("104.45.17.199"), "dns", "host.example")]
    source.generation += 1
    assert await found.readiness() == Readiness((), ())


async def test_a_source_that_answers_ends_the_start(spool: SqliteSpool, clock: ManualClock) -> None:
    known = StaticSource("x", [("104.45.17.199", "test")])
    found = state(spool, clock, endpoint("vipps", Allowlist([known]), Mode.ENFORCE))
    assert await found.readiness() == Readiness((), ())


async def test_what_is_amiss_besides_is_told(spool: SqliteSpool, clock: ManualClock) -> None:
    await spool.put(verified())
    an_hour = timedelta(hours=1)
    found = state(
        spool,
        clock,
        statuses=[
            SourceStatus("a.example", 1, clock.now() - an_hour, "servfail"),
            SourceStatus("b.example", 1, clock.now() - an_hour, None),
        ],
        breakers={"books": True, "ledger": False},
        certificates={"0.0.0.0:443": clock.now(), "0.0.0.0:8443": clock.now() + an_hour},
    )
    assert await found.readiness() == Readiness(
        (),
        (
            "host a.example: servfail; last answered 3600 s ago",
            "upstream books: left alone after failures in a row",
            "upstream billing: events wait for it, and it is not configured",
            "listener 0.0.0.0:443: its certificate has ended",
        ),
    )


async def test_a_process_that_ends_is_not_ready(spool: SqliteSpool, clock: ManualClock) -> None:
    found = state(spool, clock, stopping=True)
    assert await found.readiness() == Readiness(("stopping",), ())


async def test_a_spool_that_cannot_answer_is_not_ready_and_shows_no_gauges(
    spool: SqliteSpool, clock: ManualClock
) -> None:
    found = state(spool, clock)
    await spool.close()
    (reason,) = (await found.readiness()).reasons
    assert reason.startswith("spool: ")
    assert (await found.snapshot()).spool_bytes is None


async def test_a_spool_that_takes_no_write_is_not_ready(clock: ManualClock, tmp_path: Path) -> None:
    spool = await open_spool(tmp_path / "locked.db", clock, busy_timeout=timedelta(milliseconds=50))
    other = apsw.Connection(str(tmp_path / "locked.db"))
    other.execute("BEGIN IMMEDIATE")
    (reason,) = (await state(spool, clock).readiness()).reasons
    assert reason.startswith("spool: ")
    other.execute("ROLLBACK")
    other.close()
    assert (await state(spool, clock).readiness()).reasons == ()
    await spool.close()


async def test_the_snapshot_tells_the_moment(spool: SqliteSpool, clock: ManualClock) -> None:
    listed = StaticSource("x", [("103.208.23.0/24", "test"), ("104.45.17.199", "test")])
    await spool.put(verified())
    await clock.advance(90)
    found = state(
        spool,
        clock,
        endpoint("vipps", Allowlist([listed]), Mode.ENFORCE),
        statuses=[
            SourceStatus("a.example", 1, clock.now() - timedelta(seconds=30), None),
            SourceStatus("b.example", 0, None, "timeout"),
        ],
        breakers={"billing": True},
    )
    snapshot = await found.snapshot()
    assert snapshot.spool_events == {("midtrans", "pending"): 1}
    assert snapshot.spool_oldest_pending_seconds == {"billing": 90.0}
    assert snapshot.breaker_open == {"billing": True}
    assert snapshot.allowlist_addresses == {"vipps": 2}
    assert snapshot.allowlist_age_seconds == {"a.example": 30.0, "b.example": inf}
    assert snapshot.allowlist_mode == {"vipps": "enforce"}


async def test_the_allowlist_is_shown_with_origins(spool: SqliteSpool, clock: ManualClock) -> None:
    listed = StaticSource("x", [("104.45.17.199", "test")])
    found = state(spool, clock, endpoint("vipps", Allowlist([listed]), Mode.ENFORCE))
    (shown,) = found.allowlist()
    assert shown == {
        "endpoint": "vipps",
        "mode": "enforce",
        "entries": [
            {
                "network": "104.45.17.199/32",
                "origin": "test",
                "host": None,
                "first_seen": None,
                "last_seen": None,
            }
        ],
        "sources": [{"name": "x", "addresses": 1, "refreshed_at": None, "last_error": None}],
        "changes": [],
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


async def test_a_paused_upstream_is_told_and_no_reason_to_turn_senders_away(
    spool: SqliteSpool, clock: ManualClock
) -> None:
    found = state(spool, clock, paused={"billing": True, "ledger": False})
    said = "upstream billing: paused; nothing is delivered until it is resumed"
    assert await found.readiness() == Readiness((), (said,))
    assert (await found.snapshot()).upstream_paused == {"billing": True, "ledger": False}
