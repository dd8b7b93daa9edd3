"""Host names followed through Debian's own name server."""

import asyncio
from datetime import timedelta
from ipaddress import ip_address

import pytest

from relay.allowlist import Allowlist, LookupResult
from relay.allowlist.dns_source import DnsSource
from relay.allowlist.registry import Knock, KnockResult
from tests.harness.clock import ManualClock
from tests.harness.dnshost import GOOD, KNOWN, NEW, SHORT, SIX, Seen, addresses, dns_host, resolver
from tests.harness.nsd import Nsd

pytestmark = pytest.mark.debian


def at(nsd: Nsd, clock: ManualClock, seen: Seen) -> DnsSource:
    return dns_host(resolver(nsd.port), clock, host=f"callback-1.{nsd.zone}", seen=seen)


async def test_a_real_server_is_followed_through_a_chain(
    real: Nsd, clock: ManualClock, seen: Seen
) -> None:
    await real.publish(
        "callback-1 40 IN CNAME edge\n"
        "edge 250 IN CNAME pool\n"
        f"pool 300 IN A {GOOD[0]}\npool 300 IN A {GOOD[1]}\npool 280 IN AAAA {SIX}"
    )
    host = at(real, clock, seen)
    running = asyncio.ensure_future(host.run())
    assert await seen.result() is LookupResult.OK
    assert addresses(host) == KNOWN

    # The zone changes; the lowest TTL of the chain says when that is noticed.
    await real.publish(f"callback-1 300 IN A {NEW}")
    await clock.advance(39)
    assert addresses(host) == KNOWN
    await clock.advance(1)
    assert await seen.result() is LookupResult.OK
    assert addresses(host) == {*KNOWN, NEW}
    running.cancel()
    await asyncio.wait({running})


async def test_a_knock_admits_an_address_the_moment_a_real_server_has_it(
    real: Nsd, clock: ManualClock, seen: Seen
) -> None:
    await real.publish(f"callback-1 300 IN A {GOOD[0]}")
    host = at(real, clock, seen)
    allowlist, knock = Allowlist([host]), Knock([host], timedelta(seconds=5), clock)
    assert await knock.knock() is KnockResult.REFRESHED
    assert allowlist.match(ip_address(NEW)) is None

    await real.publish(f"callback-1 300 IN A {NEW}")
    await clock.advance(5)
    assert await knock.knock() is KnockResult.REFRESHED
    entry = allowlist.match(ip_address(NEW))
    assert entry is not None
    assert entry.host == "callback-1.example.org"
    assert allowlist.match(ip_address(GOOD[0])) is not None


async def test_a_name_that_a_real_server_gives_up_is_kept(
    real: Nsd, clock: ManualClock, seen: Seen
) -> None:
    await real.publish(f"callback-1 60 IN A {GOOD[0]}")
    host = at(real, clock, seen)
    await host.refresh()
    assert await seen.result() is LookupResult.OK

    await real.publish("callback-1 60 IN TXT gone")
    await host.refresh()
    assert await seen.result() is LookupResult.EMPTY
    await real.publish("")
    await host.refresh()
    assert await seen.result() is LookupResult.NXDOMAIN
    await real.stop()
    host_after = dns_host(resolver(real.port, timeout=SHORT), clock, host=f"callback-1.{real.zone}")
    await host_after.refresh()
    assert host_after.status().last_error == "A: timeout; AAAA: timeout"
    assert addresses(host) == {GOOD[0]}
