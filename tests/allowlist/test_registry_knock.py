import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from ipaddress import ip_address

import pytest

from relay.allowlist import Allowlist
from relay.allowlist.registry import Knock, KnockResult
from tests.harness.clock import ManualClock
from tests.harness.dnshost import GOOD, NEW, addresses, dns_host, resolver
from tests.harness.nameserver import BrokenNameserver, gives

INTERVAL = timedelta(seconds=5)
REFRESHED, LIMITED = KnockResult.REFRESHED, KnockResult.LIMITED


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def server() -> AsyncIterator[BrokenNameserver]:
    async with BrokenNameserver() as server:
        server.both(gives(NEW))
        yield server


async def test_an_address_that_dns_has_just_learnt_is_admitted_at_once(
    server: BrokenNameserver, clock: ManualClock
) -> None:
    server.both(gives(GOOD[0]))
    host = dns_host(resolver(server.port), clock)
    await host.refresh()
    allowlist, knock = Allowlist([host]), Knock([host], INTERVAL, clock)
    assert allowlist.match(ip_address(NEW)) is None
    server.both(gives(NEW))
    assert await knock.knock() is REFRESHED
    assert allowlist.match(ip_address(NEW)) is not None


async def test_every_source_is_looked_at_and_one_that_fails_holds_up_none(
    server: BrokenNameserver, clock: ManualClock
) -> None:
    async with BrokenNameserver() as broken:
        fails = dns_host(resolver(broken.port), clock, host="callback-2.example.org")
        works = dns_host(resolver(server.port), clock)
        assert await Knock([fails, works], INTERVAL, clock).knock() is REFRESHED
        assert broken.asked
    assert addresses(works) == {NEW}


async def test_there_is_one_look_in_each_interval(
    server: BrokenNameserver, clock: ManualClock
) -> None:
    knock = Knock([dns_host(resolver(server.port), clock)], INTERVAL, clock)
    assert await knock.knock() is REFRESHED
    for _ in range(4):
        await clock.advance(1)
        assert await knock.knock() is LIMITED
    assert len(server.asked) == 2
    await clock.advance(1)
    assert await knock.knock() is REFRESHED
    assert len(server.asked) == 4


async def test_who_knocks_at_the_same_time_waits_for_the_same_look(
    server: BrokenNameserver, clock: ManualClock
) -> None:
    host = dns_host(resolver(server.port), clock)
    knock = Knock([host], INTERVAL, clock)
    results = await asyncio.gather(*(knock.knock() for _ in range(64)))
    assert set(results) == {REFRESHED}
    assert len(server.asked) == 2


async def test_the_65th_is_turned_away_at_once(
    server: BrokenNameserver, clock: ManualClock
) -> None:
    server.hold.clear()
    knock = Knock([dns_host(resolver(server.port), clock)], INTERVAL, clock)
    waiting = [asyncio.ensure_future(knock.knock()) for _ in range(64)]
    await server.questions(2)
    # Nothing is released until afterwards, so this cannot have waited.
    assert await knock.knock() is LIMITED
    server.hold.set()
    assert set(await asyncio.gather(*waiting)) == {REFRESHED}


async def test_nobody_waits_longer_than_a_second_and_the_look_goes_on(
    server: BrokenNameserver, clock: ManualClock
) -> None:
    server.hold.clear()
    host = dns_host(resolver(server.port, timeout=10), clock)
    knock = Knock([host], INTERVAL, clock)
    first = asyncio.ensure_future(knock.knock())
    await server.questions(2)
    await clock.advance(0.9)
    assert not first.done()
    second = asyncio.ensure_future(knock.knock())
    await clock.advance(0.1)
    assert await first is REFRESHED
    assert addresses(host) == set()

    # The look goes on, for the second and for who comes now.
    third = asyncio.ensure_future(knock.knock())
    await clock.advance(0)
    server.hold.set()
    assert set(await asyncio.gather(second, third)) == {REFRESHED}
    assert addresses(host) == {NEW}
    assert len(server.asked) == 2


async def test_who_gives_up_makes_room_and_does_not_stop_the_look(
    server: BrokenNameserver, clock: ManualClock
) -> None:
    server.hold.clear()
    host = dns_host(resolver(server.port, timeout=10), clock)
    knock = Knock([host], INTERVAL, clock)
    waiting = [asyncio.ensure_future(knock.knock()) for _ in range(64)]
    await server.questions(2)
    for each in waiting:
        each.cancel()
    await asyncio.wait(waiting)
    late = asyncio.ensure_future(knock.knock())
    await clock.advance(0)
    server.hold.set()
    assert await late is REFRESHED
    assert addresses(host) == {NEW}


async def test_closing_gives_up_the_look_under_way(
    server: BrokenNameserver, clock: ManualClock
) -> None:
    server.hold.clear()
    knock = Knock([dns_host(resolver(server.port, timeout=10), clock)], INTERVAL, clock)
    await knock.close()
    waiting = asyncio.ensure_future(knock.knock())
    await server.questions(2)
    await knock.close()
    assert await waiting is REFRESHED
