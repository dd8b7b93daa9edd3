"""Endpoints share what they know of a host, and a restart does not forget it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from netaddr import IPNetwork

from relay.allowlist import Allowlist, Entry
from relay.allowlist.dns_cache import DnsCache
from relay.allowlist.registry import HostRegistry, Knock, KnockResult
from relay.core.clock import SystemClock
from relay.core.request import Address
from tests.allowlist.dns_hosts import (
    GOOD,
    NEW,
    POLICY,
    ExactlyDue,
    SeenChanges,
    addresses,
    dns_host,
    resolver,
)
from tests.harness.clock import ManualClock
from tests.harness.nameserver import BrokenNameserver, gives

HOST = "callback-1.example.org"
LISTED = Entry(IPNetwork("103.208.23.0/24"), "test")


@pytest.fixture
async def server() -> AsyncIterator[BrokenNameserver]:
    async with BrokenNameserver() as server:
        server.on["A"] = gives(*GOOD)
        yield server


def registry(
    directory: Path,
    port: int,
    seen: SeenChanges,
    is_proven: Callable[[Address], bool] = lambda _: False,
) -> HostRegistry:
    clock = SystemClock()
    cache = DnsCache(directory / "dns.json", timedelta(hours=72), clock)
    assert cache.load() is None
    return HostRegistry(
        resolver=resolver(port),
        policy=POLICY,
        knock_interval=timedelta(seconds=5),
        cache=cache,
        clock=clock,
        dice=ExactlyDue(),
        observer=seen,
        is_proven=is_proven,
    )


async def test_a_flood_of_answers_is_told_and_leaves_proven_addresses(
    server: BrokenNameserver, tmp_path: Path
) -> None:
    seen = SeenChanges()
    proven = {ip_address(GOOD[0])}
    hosts = registry(tmp_path, server.port, seen, proven.__contains__)
    allowlist = hosts.allowlist("one", [], [HOST])
    knock = hosts.knock([HOST])
    assert knock is not None
    running = asyncio.ensure_future(hosts.run())
    await seen.result()
    (source,) = allowlist.sources
    for number in range(6):
        server.on["A"] = gives(*(f"20.{number}.0.{at}" for at in range(64)))
        await source.refresh()
    assert allowlist.match(ip_address(GOOD[0])) is not None
    assert allowlist.match(ip_address(GOOD[1])) is None
    assert seen.growth[0] == (HOST, 2, 66)
    assert len(seen.growth) == 6
    running.cancel()
    await asyncio.wait({running})


async def test_a_host_of_two_endpoints_is_looked_up_once(
    server: BrokenNameserver, tmp_path: Path
) -> None:
    seen = SeenChanges()
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
    seen = SeenChanges()
    before = registry(tmp_path, server.port, seen)
    before.allowlist("one", [], [HOST])
    running = asyncio.ensure_future(before.run())
    await seen.result()
    running.cancel()
    await asyncio.wait({running})

    after = registry(tmp_path, 1, SeenChanges()).allowlist("one", [], [HOST])
    assert after.unready() == ()
    assert after.match(ip_address(GOOD[1])) is not None


async def test_an_endpoint_without_host_names_has_nothing_to_knock_for(tmp_path: Path) -> None:
    addresses = registry(tmp_path, 1, SeenChanges())
    assert addresses.knock([]) is None
    assert addresses.knock([HOST]) is not None
    assert addresses.allowlist("one", [LISTED], []).unready() == ()


async def test_hosts_come_and_go_and_what_is_known_stays(
    server: BrokenNameserver, tmp_path: Path
) -> None:
    seen = SeenChanges()
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
    seen = SeenChanges()
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
    seen = SeenChanges()
    addresses = registry(tmp_path, server.port, seen)
    addresses.allowlist("one", [], [HOST])
    addresses.set_hosts([])
    running = asyncio.ensure_future(addresses.run())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running})
    assert server.asked == []


# ---- a knock: early refresh for a refused address -------------------------------------------

INTERVAL = timedelta(seconds=5)
REFRESHED, LIMITED = KnockResult.REFRESHED, KnockResult.LIMITED


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def newcomer() -> AsyncIterator[BrokenNameserver]:
    async with BrokenNameserver() as newcomer:
        newcomer.both(gives(NEW))
        yield newcomer


async def test_an_address_that_dns_has_just_learnt_is_admitted_at_once(
    newcomer: BrokenNameserver, clock: ManualClock
) -> None:
    newcomer.both(gives(GOOD[0]))
    host = dns_host(resolver(newcomer.port), clock)
    await host.refresh()
    allowlist, knock = Allowlist([host]), Knock([host], INTERVAL, clock)
    assert allowlist.match(ip_address(NEW)) is None
    newcomer.both(gives(NEW))
    assert await knock.knock() is REFRESHED
    assert allowlist.match(ip_address(NEW)) is not None


async def test_every_source_is_looked_at_and_one_that_fails_holds_up_none(
    newcomer: BrokenNameserver, clock: ManualClock
) -> None:
    async with BrokenNameserver() as broken:
        fails = dns_host(resolver(broken.port), clock, host="callback-2.example.org")
        works = dns_host(resolver(newcomer.port), clock)
        assert await Knock([fails, works], INTERVAL, clock).knock() is REFRESHED
        assert broken.asked
    assert addresses(works) == {NEW}


async def test_there_is_one_look_in_each_interval(
    newcomer: BrokenNameserver, clock: ManualClock
) -> None:
    knock = Knock([dns_host(resolver(newcomer.port), clock)], INTERVAL, clock)
    assert await knock.knock() is REFRESHED
    for _ in range(4):
        await clock.advance(1)
        assert await knock.knock() is LIMITED
    assert len(newcomer.asked) == 2
    await clock.advance(1)
    assert await knock.knock() is REFRESHED
    assert len(newcomer.asked) == 4


async def test_who_knocks_at_the_same_time_waits_for_the_same_look(
    newcomer: BrokenNameserver, clock: ManualClock
) -> None:
    host = dns_host(resolver(newcomer.port), clock)
    knock = Knock([host], INTERVAL, clock)
    results = await asyncio.gather(*(knock.knock() for _ in range(64)))
    assert set(results) == {REFRESHED}
    assert len(newcomer.asked) == 2


async def test_the_65th_is_turned_away_at_once(
    newcomer: BrokenNameserver, clock: ManualClock
) -> None:
    newcomer.hold.clear()
    knock = Knock([dns_host(resolver(newcomer.port), clock)], INTERVAL, clock)
    waiting = [asyncio.ensure_future(knock.knock()) for _ in range(64)]
    await newcomer.questions(2)
    # Nothing is released until afterwards, so this cannot have waited.
    assert await knock.knock() is LIMITED
    newcomer.hold.set()
    assert set(await asyncio.gather(*waiting)) == {REFRESHED}


async def test_nobody_waits_longer_than_a_second_and_the_look_goes_on(
    newcomer: BrokenNameserver, clock: ManualClock
) -> None:
    newcomer.hold.clear()
    host = dns_host(resolver(newcomer.port, timeout=10), clock)
    knock = Knock([host], INTERVAL, clock)
    first = asyncio.ensure_future(knock.knock())
    await newcomer.questions(2)
    await clock.advance(0.9)
    assert not first.done()
    second = asyncio.ensure_future(knock.knock())
    await clock.advance(0.1)
    assert await first is REFRESHED
    assert addresses(host) == set()

    # The look goes on, for the second and for who comes now.
    third = asyncio.ensure_future(knock.knock())
    await clock.advance(0)
    newcomer.hold.set()
    assert set(await asyncio.gather(second, third)) == {REFRESHED}
    assert addresses(host) == {NEW}
    assert len(newcomer.asked) == 2


async def test_who_gives_up_makes_room_and_does_not_stop_the_look(
    newcomer: BrokenNameserver, clock: ManualClock
) -> None:
    newcomer.hold.clear()
    host = dns_host(resolver(newcomer.port, timeout=10), clock)
    knock = Knock([host], INTERVAL, clock)
    waiting = [asyncio.ensure_future(knock.knock()) for _ in range(64)]
    await newcomer.questions(2)
    for each in waiting:
        each.cancel()
    await asyncio.wait(waiting)
    late = asyncio.ensure_future(knock.knock())
    await clock.advance(0)
    newcomer.hold.set()
    assert await late is REFRESHED
    assert addresses(host) == {NEW}


async def test_closing_gives_up_the_look_under_way(
    newcomer: BrokenNameserver, clock: ManualClock
) -> None:
    newcomer.hold.clear()
    knock = Knock([dns_host(resolver(newcomer.port, timeout=10), clock)], INTERVAL, clock)
    await knock.close()
    waiting = asyncio.ensure_future(knock.knock())
    await newcomer.questions(2)
    await knock.close()
    assert await waiting is REFRESHED
