import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from random import Random

import pytest
from dnslib import DNSRecord

from relay.allowlist import Allowlist, Answer, Change, Family, LookupResult
from relay.allowlist.dns_cache import DnsCache
from relay.allowlist.dns_source import DnsSource
from relay.allowlist.networks import Nameserver
from relay.allowlist.registry import Knock, KnockResult
from relay.allowlist.resolver import MAX_ANSWER_BYTES, AnswerTooLong, Backend, Resolver
from tests.allowlist.dns_hosts import (
    GOOD,
    KNOWN,
    NEW,
    POLICY,
    SHORT,
    SIX,
    KeptRecord,
    SeenChanges,
    addresses,
    dns_host,
    resolver,
)
from tests.harness.clock import ManualClock
from tests.harness.nameserver import (
    LOOPBACK,
    Behaviour,
    BrokenNameserver,
    Nsd,
    Transport,
    answers_code,
    cname_loop,
    floods,
    garbage,
    gives,
    silent,
    truncates,
)
from tests.harness.wire import self_signed

OK, SERVFAIL = LookupResult.OK, LookupResult.SERVFAIL

# ---- what is asked ----------------------------------------------------------------------------


async def test_both_families_are_asked_for_the_absolute_name(
    server: BrokenNameserver, host: DnsSource
) -> None:
    await host.refresh()
    assert sorted(server.asked) == [
        ("callback-1.example.org.", "A", "udp"),
        ("callback-1.example.org.", "AAAA", "udp"),
    ]


async def test_a_chain_is_followed_and_its_lowest_ttl_decides(
    server: BrokenNameserver, clock: ManualClock, seen: SeenChanges
) -> None:
    chain = [("edge.example.net", 60), ("pool.example.net", 120)]
    server.on["A"] = gives(*GOOD, ttl=300, chain=chain)
    host = dns_host(resolver(server.port), clock, seen=seen)
    running = asyncio.ensure_future(host.run())
    assert await seen.result() is OK
    assert addresses(host) == set(GOOD)
    await clock.advance(59)
    assert len(server.asked) == 2
    await clock.advance(1)
    assert await seen.result() is OK
    running.cancel()
    await asyncio.wait({running})


async def test_an_answer_too_long_for_udp_is_taken_over_tcp(
    server: BrokenNameserver, clock: ManualClock
) -> None:
    sixty_four = [f"20.50.{number}.1" for number in range(64)]
    server.on["A"] = gives(*sixty_four)
    server.on["AAAA"] = truncates(over_tcp=gives(*[f"2a01:111::{n:x}" for n in range(1, 65)]))
    host = dns_host(resolver(server.port), clock)
    await host.refresh()
    assert len(host.entries()) == 128
    assert ("callback-1.example.org.", "AAAA", "tcp") in server.asked


@pytest.mark.parametrize(
    "first", [silent, garbage, answers_code("SERVFAIL"), answers_code("REFUSED"), cname_loop]
)
async def test_the_next_name_server_is_asked_when_one_fails(
    first: Behaviour, server: BrokenNameserver, clock: ManualClock
) -> None:
    server.on = {"A": gives(*GOOD), "AAAA": gives(SIX)}
    async with BrokenNameserver() as broken:
        broken.both(first)
        host = dns_host(resolver(broken.port, server.port, timeout=1), clock)
        await host.refresh()
    assert broken.asked
    assert addresses(host) == KNOWN


async def test_a_lost_datagram_is_asked_again_within_the_timeout(
    server: BrokenNameserver, clock: ManualClock, seen: SeenChanges
) -> None:
    lost: set[object] = set()

    def loses_the_first(request: DNSRecord, transport: Transport) -> Sequence[bytes]:
        if request.q.qtype in lost:
            return gives(*GOOD)(request, transport)
        lost.add(request.q.qtype)
        return []

    server.on["A"] = loses_the_first
    host = dns_host(resolver(server.port, timeout=1.2), clock, seen=seen)
    await host.refresh()
    assert await seen.result() is OK
    assert addresses(host) == set(GOOD)


async def test_the_timeout_holds_for_all_servers_together(clock: ManualClock) -> None:
    async with BrokenNameserver() as one, BrokenNameserver() as two:
        one.both(silent)
        two.both(silent)
        host = dns_host(resolver(one.port, two.port, one.port, timeout=SHORT), clock)
        before = asyncio.get_running_loop().time()
        await host.refresh()
        assert asyncio.get_running_loop().time() - before < 2 * SHORT
    assert host.status().last_error == "A: timeout; AAAA: timeout"


async def test_without_name_servers_the_systems_are_asked() -> None:
    # Only that it can be made and asked: what the system answers is not ours.
    answers = await Resolver([], timedelta(seconds=0.05)).look_up("callback-1.example.invalid")
    assert all(not answer.addresses for answer in answers.values())


async def test_a_name_server_can_be_asked_over_tls(clock: ManualClock, tmp_path: Path) -> None:
    server_side, client_side = self_signed(tmp_path, "dns.example.com")
    async with BrokenNameserver(tls=server_side) as server:
        server.both(gives(*GOOD))
        right = Nameserver(LOOPBACK, server.port, tls=True, name="dns.example.com")
        host = dns_host(Resolver([right], timedelta(seconds=2), client_side), clock)
        await host.refresh()
        assert addresses(host) == set(GOOD)
        assert {transport for _, _, transport in server.asked} == {"tcp"}


@pytest.mark.parametrize("name", ["other.example.com", None])
async def test_a_certificate_for_another_name_is_a_failure(
    name: str | None, clock: ManualClock, tmp_path: Path
) -> None:
    server_side, client_side = self_signed(tmp_path, "dns.example.com")
    async with BrokenNameserver(tls=server_side) as server:
        server.both(gives(NEW))
        wrong = Nameserver(LOOPBACK, server.port, tls=True, name=name)
        host = dns_host(Resolver([wrong], timedelta(seconds=2), client_side), clock)
        await host.refresh()
        assert server.asked == []
    assert host.status().last_error == "A: servfail; AAAA: servfail"


async def test_a_certificate_of_an_unknown_authority_is_a_failure(
    clock: ManualClock, tmp_path: Path
) -> None:
    server_side, _ = self_signed(tmp_path, "dns.example.com")
    async with BrokenNameserver(tls=server_side) as server:
        server.both(gives(NEW))
        right = Nameserver(LOOPBACK, server.port, tls=True, name="dns.example.com")
        host = dns_host(Resolver([right], timedelta(seconds=2)), clock)
        await host.refresh()
    assert host.status().last_error == "A: servfail; AAAA: servfail"


def test_what_is_no_host_name_cannot_be_followed(clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="not a host name"):
        dns_host(resolver(53), clock, host="10.0.0.1")


# ---- one look at a time, and what goes wrong in it --------------------------------------------


async def test_who_asks_at_the_same_time_shares_one_look(
    server: BrokenNameserver, host: DnsSource
) -> None:
    server.asked.clear()
    await asyncio.gather(*(host.refresh() for _ in range(50)))
    assert len(server.asked) == 2


async def test_a_look_goes_on_when_who_asked_gives_up(
    server: BrokenNameserver, clock: ManualClock, seen: SeenChanges
) -> None:
    server.on["A"] = gives(NEW)
    server.hold.clear()
    host = dns_host(resolver(server.port), clock, seen=seen)
    impatient = asyncio.ensure_future(host.refresh())
    await server.questions(2)
    impatient.cancel()
    await asyncio.wait({impatient})
    server.hold.set()
    assert await seen.result() is OK
    assert addresses(host) == {NEW}


async def test_run_takes_the_look_under_way_with_it(
    server: BrokenNameserver, clock: ManualClock
) -> None:
    server.hold.clear()
    host = dns_host(resolver(server.port, timeout=60), clock)
    running = asyncio.ensure_future(host.run())
    await server.questions(2)
    waiting = asyncio.ensure_future(host.refresh())
    await clock.advance(0)
    running.cancel()
    async with asyncio.timeout(10):
        await asyncio.wait({running, waiting})
    assert running.cancelled()
    assert waiting.exception() is None


class Exploding(Resolver):
    """A resolver with a bug in it, for as long as `fuse` is lit."""

    fuse = True

    async def look_up(self, host: str) -> Mapping[Family, Answer]:
        if self.fuse:
            raise ZeroDivisionError
        return await super().look_up(host)


async def test_an_unexpected_exception_counts_as_servfail_and_the_looking_goes_on(
    server: BrokenNameserver, clock: ManualClock, seen: SeenChanges
) -> None:
    server.on["A"] = gives(NEW)
    exploding = Exploding([Nameserver(LOOPBACK, server.port)], timedelta(seconds=2))
    host = dns_host(exploding, clock, seen=seen)
    running = asyncio.ensure_future(host.run())
    assert await seen.result() is SERVFAIL
    exploding.fuse = False
    await clock.advance(1)
    assert await seen.result() is OK
    assert addresses(host) == {NEW}
    exploding.fuse = True
    await host.refresh()
    assert await seen.result() is SERVFAIL
    assert addresses(host) == {NEW}
    running.cancel()
    await asyncio.wait({running})


# ---- over time --------------------------------------------------------------------------------

Hours = Callable[[int], Awaitable[set[LookupResult]]]
HOURLY = replace(POLICY, min_refresh=timedelta(hours=1), max_refresh=timedelta(hours=1))


@asynccontextmanager
async def followed(host: DnsSource, clock: ManualClock, seen: SeenChanges) -> AsyncIterator[Hours]:
    """Let the source run; what is yielded lets hours pass, with a look in each."""

    async def hours(count: int) -> set[LookupResult]:
        results = set()
        for _ in range(count):
            await clock.advance(3600)
            results.add(await seen.result())
        return results

    running = asyncio.ensure_future(host.run())
    await seen.result()
    try:
        yield hours
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_an_outage_of_24_hours_changes_nothing_and_one_of_72_empties_the_host(
    server: BrokenNameserver, clock: ManualClock, seen: SeenChanges
) -> None:
    server.on = {"A": gives(*GOOD), "AAAA": gives(SIX)}
    host = dns_host(resolver(server.port), clock, seen=seen, policy=HOURLY)
    allowlist = Allowlist([host])
    async with followed(host, clock, seen) as hours:
        answered = host.status().refreshed_at
        generation = host.generation
        server.both(answers_code("SERVFAIL"))
        assert await hours(24) == {SERVFAIL}
        assert addresses(host) == KNOWN
        assert host.generation == generation
        assert host.status().refreshed_at == answered
        assert allowlist.match(ip_address(GOOD[0])) is not None

        await hours(55)
        assert host.entries() == ()
        assert allowlist.match(ip_address(GOOD[0])) is None
        assert allowlist.unready() == ("callback-1.example.org",)
        assert {each for each in seen.changes if each[1] is Change.REMOVED} == {
            ("callback-1.example.org", Change.REMOVED, address) for address in KNOWN
        }

        server.both(gives(NEW))
        assert await hours(1) == {OK}
        assert allowlist.match(ip_address(NEW)) is not None


async def test_an_address_goes_after_a_day_of_good_answers_without_it(
    server: BrokenNameserver, clock: ManualClock, seen: SeenChanges
) -> None:
    server.on["A"] = gives(*GOOD)
    host = dns_host(resolver(server.port), clock, seen=seen, policy=HOURLY)
    async with followed(host, clock, seen) as hours:
        server.on["A"] = gives(NEW)
        await hours(12)
        server.on["A"] = answers_code("SERVFAIL")
        await hours(24)
        server.on["A"] = gives(NEW)
        await hours(12)
        assert addresses(host) == {*GOOD, NEW}
        await hours(6)
        assert addresses(host) == {NEW}


async def test_a_wall_clock_that_jumps_ages_nothing(
    server: BrokenNameserver, clock: ManualClock, seen: SeenChanges
) -> None:
    server.on["A"] = gives(*GOOD)
    host = dns_host(resolver(server.port), clock, seen=seen, policy=HOURLY)
    async with followed(host, clock, seen) as hours:
        server.both(answers_code("SERVFAIL"))
        clock.jump(timedelta(days=400))
        await hours(3)
        assert addresses(host) == set(GOOD)
        clock.jump(-timedelta(days=800))
        await hours(3)
        assert addresses(host) == set(GOOD)
        await hours(75)
        assert addresses(host) == set()


async def test_while_nothing_is_known_it_looks_again_within_a_second(
    server: BrokenNameserver, clock: ManualClock, seen: SeenChanges
) -> None:
    server.both(answers_code("SERVFAIL"))
    host = dns_host(resolver(server.port), clock, seen=seen)
    running = asyncio.ensure_future(host.run())
    assert await seen.result() is SERVFAIL
    for wait in (1, 2, 4, 8, 16, 30, 30):
        await clock.advance(wait)
        assert await seen.result() is SERVFAIL
    server.both(gives(NEW))
    await clock.advance(30)
    assert await seen.result() is OK
    running.cancel()
    await asyncio.wait({running})


async def test_a_look_in_between_moves_the_next_one(
    server: BrokenNameserver, clock: ManualClock, seen: SeenChanges
) -> None:
    server.both(gives(NEW, ttl=300))
    host = dns_host(resolver(server.port), clock, seen=seen)
    running = asyncio.ensure_future(host.run())
    assert await seen.result() is OK
    await clock.advance(10)
    server.both(answers_code("SERVFAIL"))
    await host.refresh()
    assert await seen.result() is SERVFAIL
    server.both(gives(NEW))
    server.asked.clear()
    await clock.advance(29)
    assert server.asked == []
    await clock.advance(1)
    assert await seen.result() is OK
    running.cancel()
    await asyncio.wait({running})


async def test_the_entries_say_when_dns_last_gave_them(
    server: BrokenNameserver, host: DnsSource, clock: ManualClock
) -> None:
    first = clock.now()
    await clock.advance(100)
    server.on["A"] = gives(GOOD[0])
    await host.refresh()
    times = {str(entry.network.ip): entry.last_seen for entry in host.entries()}
    assert times == {GOOD[0]: clock.now(), GOOD[1]: first, SIX: clock.now()}
    assert {(entry.origin, entry.host) for entry in host.entries()} == {
        ("dns", "callback-1.example.org")
    }


# ---- restart ----------------------------------------------------------------------------------


async def test_a_restart_without_dns_keeps_what_was_known(
    server: BrokenNameserver, clock: ManualClock, tmp_path: Path
) -> None:
    def start(cache: DnsCache) -> DnsSource:
        return DnsSource(
            "callback-1.example.org",
            resolver=resolver(server.port),
            policy=POLICY,
            clock=clock,
            dice=Random(7),
            observer=SeenChanges(),
            state=cache.get("callback-1.example.org"),
            on_update=cache.put,
        )

    server.on = {"A": gives(*GOOD), "AAAA": gives(SIX)}
    before = DnsCache(tmp_path / "dns.json", POLICY.max_stale, clock)
    await start(before).refresh()
    await before.save()
    answered = clock.now()

    server.both(answers_code("SERVFAIL"))
    clock.jump(timedelta(hours=20))
    after = DnsCache(tmp_path / "dns.json", POLICY.max_stale, clock)
    assert after.load() is None
    host = start(after)
    assert addresses(host) == KNOWN
    assert host.status().refreshed_at == answered
    await host.refresh()
    assert addresses(host) == KNOWN


# ---- bounds on an answer --------------------------------------------------------------------
# Answers longer than any honest one are not parsed, whichever way they come.

#: More than is read, in records of 16 bytes each.
MANY = MAX_ANSWER_BYTES // 16 + 1


def over_udp(count: int) -> Behaviour:
    """Answer with so many addresses in one datagram, whatever length was asked for."""

    def behave(request: DNSRecord, _: Transport) -> Sequence[bytes]:
        return floods(count, NEW)(request, "tcp")

    return behave


@pytest.mark.parametrize("count", [MANY, 4000])
async def test_a_long_answer_is_refused_unread_and_what_is_known_stays(
    count: int, server: BrokenNameserver, clock: ManualClock, seen: SeenChanges, kept: KeptRecord
) -> None:
    server.on = {"A": floods(count, NEW), "AAAA": gives(SIX)}
    host = dns_host(resolver(server.port), clock, seen=seen, kept=kept)
    await host.refresh()
    assert await seen.result() is LookupResult.REFUSED_ANSWER
    assert host.status().last_error == f"A: refused_answer, more than {MAX_ANSWER_BYTES} bytes"
    assert addresses(host) == KNOWN


async def test_another_server_is_asked_then(server: BrokenNameserver, clock: ManualClock) -> None:
    server.on = {"A": gives(*GOOD), "AAAA": gives(SIX)}
    async with BrokenNameserver() as flooding:
        flooding.both(floods(4000, NEW))
        host = dns_host(resolver(flooding.port, server.port), clock)
        await host.refresh()
    assert addresses(host) == KNOWN


async def test_a_long_datagram_is_noise(
    server: BrokenNameserver, clock: ManualClock, seen: SeenChanges, kept: KeptRecord
) -> None:
    server.on = {"A": over_udp(MANY), "AAAA": gives(SIX)}
    host = dns_host(resolver(server.port, timeout=SHORT), clock, seen=seen, kept=kept)
    await host.refresh()
    assert await seen.result() is LookupResult.TIMEOUT
    assert addresses(host) == KNOWN


async def test_what_is_not_too_long_is_judged_by_its_addresses(
    server: BrokenNameserver, clock: ManualClock
) -> None:
    server.on = {"A": truncates(over_tcp=floods(MANY - 10, NEW)), "AAAA": gives(SIX)}
    host = dns_host(resolver(server.port), clock)
    await host.refresh()
    assert host.status().last_error == f"A: refused_answer, {MANY - 10} addresses"


async def test_nothing_of_a_long_answer_is_received(server: BrokenNameserver) -> None:
    made = await Backend().make_socket(
        socket.AF_INET, socket.SOCK_STREAM, 0, None, ("127.0.0.1", server.port), 5.0
    )
    async with made as stream:
        with pytest.raises(AnswerTooLong, match=f"{MAX_ANSWER_BYTES + 1} bytes"):
            await stream.recv(MAX_ANSWER_BYTES + 1, 5.0)  # type: ignore[union-attr] # it is a stream


# ---- a real name server ---------------------------------------------------------------------
# Host names followed through Debian's own name server.


def at(nsd: Nsd, clock: ManualClock, seen: SeenChanges) -> DnsSource:
    return dns_host(resolver(nsd.port), clock, host=f"callback-1.{nsd.zone}", seen=seen)


@pytest.mark.debian
async def test_a_real_server_is_followed_through_a_chain(
    real: Nsd, clock: ManualClock, seen: SeenChanges
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


@pytest.mark.debian
async def test_a_knock_admits_an_address_the_moment_a_real_server_has_it(
    real: Nsd, clock: ManualClock, seen: SeenChanges
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


@pytest.mark.debian
async def test_a_name_that_a_real_server_gives_up_is_kept(
    real: Nsd, clock: ManualClock, seen: SeenChanges
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
