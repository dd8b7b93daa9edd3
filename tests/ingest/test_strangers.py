"""Strangers are counted by network, bounded in memory, and written behind the answers."""

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest

from relay.core.request import ClientAddress, Headers, RequestHead, Via
from relay.ingest.strangers import StrangerCounter
from relay.spool.sqlite import SqliteSpool, open_spool
from relay.spool.strangers import Stranger, StrangerLimits, StrangerQuery
from relay.telemetry import Telemetry
from relay.telemetry.log import Log, LogWriter
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED


@dataclass
class Bench:
    clock: ManualClock
    spool: SqliteSpool
    counter: StrangerCounter

    def refuse(self, client: str, *, target: str = "/hook", fits: bool = False) -> None:
        address = ip_address(client)
        head = RequestHead("POST", target, Headers(), address, RECEIVED)
        self.counter.count("shop", head, ClientAddress(address, Via.PEER), fits=fits)

    async def written(self) -> dict[str, Stranger]:
        """Return what is written at the end."""
        await self.counter.flush()
        found = await self.spool.strangers.find(StrangerQuery(limit=10_000))
        return {each.network: each for each in found}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock, writer = ManualClock(), LogWriter(io.BytesIO())
    spool = await open_spool(tmp_path / "relay.db", clock)
    telemetry = Telemetry(Log(writer, clock))
    bounds = StrangerLimits(per_endpoint=10_000)
    counter = StrangerCounter(spool.strangers, clock=clock, telemetry=telemetry, bounds=bounds)
    yield Bench(clock, spool, counter)
    await spool.close()
    writer.close()


async def test_a_network_is_one_row_whatever_its_addresses(bench: Bench) -> None:
    for client in ("2001:db8::1", "2001:db8::2:3", "2001:db8:0:1::1", "192.0.2.1", "192.0.2.1"):
        bench.refuse(client)
    # The number of an IPv4 address is also one of IPv6.
    bench.refuse("::c000:201")
    found = await bench.written()
    assert {network: each.times for network, each in found.items()} == {
        "2001:db8::/64": 2,
        "2001:db8:0:1::/64": 1,
        "192.0.2.1": 2,
        "::/64": 1,
    }
    assert found["2001:db8::/64"].address == "2001:db8::2:3"


async def test_the_last_path_is_kept_without_its_query(bench: Bench) -> None:
    bench.refuse("192.0.2.1", target="/hook?token=canary")
    bench.refuse("192.0.2.2", target="/" + "x" * 1000)
    found = await bench.written()
    assert found["192.0.2.1"].path == "/hook"
    assert len(found["192.0.2.2"].path) == 200


async def test_a_flood_takes_no_memory_and_hides_no_signature_that_fits(bench: Bench) -> None:
    bench.refuse("192.0.2.1")
    for number in range(5000):
        bench.refuse(f"2001:db8:{number:x}::1")
    for _ in range(9):
        bench.refuse("192.0.2.1")
    bench.refuse("198.51.100.1", fits=True)
    bench.refuse("198.51.100.2")
    found = await bench.written()
    assert len(found) == 2049
    # What came before it is counted on, and what fits finds room in any case.
    assert found["192.0.2.1"].times == 10
    assert found["198.51.100.1"].signature_fits
    assert "198.51.100.2" not in found


async def test_what_fits_is_bounded_too(bench: Bench) -> None:
    for number in range(5000):
        bench.refuse(f"2001:db8:{number:x}::1", fits=True)
    assert len(await bench.written()) == 2048 + 1024


async def test_it_is_written_soon_and_counted_on(bench: Bench) -> None:
    running = asyncio.ensure_future(bench.counter.run())
    for times, fits in ((1, False), (2, True)):
        bench.refuse("192.0.2.1", fits=fits)
        found: tuple[Stranger, ...] = ()
        while [each.times for each in found] != [times]:
            await bench.clock.advance(0.6)
            found = await bench.spool.strangers.find(StrangerQuery())
        assert found[0].signature_fits is fits
    running.cancel()
    await asyncio.wait({running})


async def test_without_a_spool_it_is_lost_in_silence(bench: Bench) -> None:
    bench.refuse("192.0.2.1")
    await bench.spool.close()
    await bench.counter.flush()
    # It counts on: another process may have made room.
    bench.refuse("192.0.2.1")


async def test_times_are_those_of_the_requests(bench: Bench) -> None:
    bench.refuse("192.0.2.1")
    later = RECEIVED + timedelta(seconds=9)
    address = ip_address("192.0.2.1")
    head = RequestHead("POST", "/hook", Headers(), address, later)
    bench.counter.count("shop", head, ClientAddress(address, Via.PEER), fits=False)
    found = (await bench.written())["192.0.2.1"]
    assert (found.first_at, found.last_at) == (RECEIVED, later)
