"""Endpoints share what they know of a host, and a restart does not forget it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from netaddr import IPNetwork

from relay.allowlist import Entry
from relay.allowlist.dns_cache import DnsCache
from relay.allowlist.registry import HostRegistry
from relay.core.clock import SystemClock
from tests.harness.dnshost import GOOD, POLICY, Seen, Still, resolver
from tests.harness.nameserver import BrokenNameserver, gives

HOST = "callback-1.example.org"
LISTED = Entry(IPNetwork("103.208.23.0/24"), "test")


@pytest.fixture
async def server() -> AsyncIterator[BrokenNameserver]:
    async with BrokenNameserver() as server:
        server.on["A"] = gives(*GOOD)
        yield server


def registry(directory: Path, port: int, seen: Seen) -> HostRegistry:
    clock = SystemClock()
    cache = DnsCache(directory / "dns.json", timedelta(hours=72), clock)
    assert cache.load() is None
    return HostRegistry(
        resolver=resolver(port),
        policy=POLICY,
        knock_interval=timedelta(seconds=5),
        cache=cache,
        clock=clock,
        dice=Still(),
        observer=seen,
    )


async def test_a_host_of_two_endpoints_is_looked_up_once(
    server: BrokenNameserver, tmp_path: Path
) -> None:
    seen = Seen()
    addresses = registry(tmp_path, server.port, seen)
    one = addresses.allowlist("one", [LISTED], [HOST])
    two = addresses.allowlist("two", [], [HOST])
    assert two.unready() == (HOST,)
    running = asyncio.ensure_future(addresses.run())
    await seen.result()
    for allowlist in (one, two):
        entry = allowlist.match(ip_address(GOOD[0]))
        assert entry is not None
        assert entry.host == HOST
    assert one.match(ip_address("103.208.23.6")) == LISTED
    assert two.match(ip_address("103.208.23.6")) is None
    assert sorted(kind for _, kind, _ in server.asked) == ["A", "AAAA"]
    assert [status.name for status in addresses.statuses()] == [HOST]
    running.cancel()
    await asyncio.wait({running})


async def test_what_was_known_is_there_after_a_restart_without_dns(
    server: BrokenNameserver, tmp_path: Path
) -> None:
    seen = Seen()
    before = registry(tmp_path, server.port, seen)
    before.allowlist("one", [], [HOST])
    running = asyncio.ensure_future(before.run())
    await seen.result()
    running.cancel()
    await asyncio.wait({running})

    after = registry(tmp_path, 1, Seen()).allowlist("one", [], [HOST])
    assert after.unready() == ()
    assert after.match(ip_address(GOOD[1])) is not None


async def test_an_endpoint_without_host_names_has_nothing_to_knock_for(tmp_path: Path) -> None:
    addresses = registry(tmp_path, 1, Seen())
    assert addresses.knock([]) is None
    assert addresses.knock([HOST]) is not None
    assert addresses.allowlist("one", [LISTED], []).unready() == ()


async def test_hosts_come_and_go_and_what_is_known_stays(
    server: BrokenNameserver, tmp_path: Path
) -> None:
    seen = Seen()
    addresses = registry(tmp_path, server.port, seen)
    kept = addresses.allowlist("one", [], [HOST])
    running = asyncio.ensure_future(addresses.run())
    await seen.result()
    asked = len(server.asked)

    other = "callback-2.example.org"
    added = addresses.allowlist("two", [], [HOST, other])
    addresses.set_hosts([HOST, other])
    await seen.result()
    assert added.unready() == ()
    # The one that stayed was not looked up again.
    assert len(server.asked) == asked + 2
    assert {status.name for status in addresses.statuses()} == {HOST, other}

    addresses.set_hosts([other])
    assert [status.name for status in addresses.statuses()] == [other]
    # Who still holds the old list finds what was known.
    assert kept.match(ip_address(GOOD[0])) is not None
    server.on["A"] = server.on["AAAA"] = gives()
    again = addresses.allowlist("three", [], [HOST])
    assert again.unready() == ()
    assert again.match(ip_address(GOOD[0])) is not None
    running.cancel()
    await asyncio.wait({running})


async def test_other_name_servers_are_asked_from_the_next_look_on(
    server: BrokenNameserver, tmp_path: Path
) -> None:
    seen = Seen()
    addresses = registry(tmp_path, 1, seen)
    allowlist = addresses.allowlist("one", [], [HOST])
    knock = addresses.knock([HOST])
    assert knock is not None
    addresses.reconfigure(resolver(server.port), POLICY, timedelta(seconds=5))
    await knock.knock()
    assert allowlist.match(ip_address(GOOD[0])) is not None


async def test_a_host_that_is_not_followed_any_more_is_not_looked_up(
    server: BrokenNameserver, tmp_path: Path
) -> None:
    seen = Seen()
    addresses = registry(tmp_path, server.port, seen)
    addresses.allowlist("one", [], [HOST])
    addresses.set_hosts([])
    running = asyncio.ensure_future(addresses.run())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running})
    assert server.asked == []
