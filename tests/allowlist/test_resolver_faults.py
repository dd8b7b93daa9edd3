"""Every way in which DNS can be broken, against one host that is known and one that is not."""

import asyncio
from dataclasses import dataclass

import pytest

from relay.allowlist import AddressSource, Allowlist, LookupResult
from relay.allowlist.dns_source import DnsSource
from tests.allowlist.dns_hosts import (
    GOOD,
    KNOWN,
    NEW,
    SHORT,
    SIX,
    KeptRecord,
    SeenChanges,
    addresses,
    dns_host,
    resolver,
)
from tests.contracts.source import SourceContract
from tests.harness.clock import ManualClock
from tests.harness.nameserver import (
    Behaviour,
    BrokenNameserver,
    answers_code,
    cname_loop,
    floods,
    garbage,
    garbled,
    gives,
    hangs_up,
    other_owner,
    silent,
    truncated,
    truncates,
    wrong_id,
    wrong_question,
)

BAD = "20.66.6.6"  # what a forger would have us admit
LATER = "20.50.1.9"

OK, REFUSED = LookupResult.OK, LookupResult.REFUSED_ANSWER
SERVFAIL, TIMEOUT = LookupResult.SERVFAIL, LookupResult.TIMEOUT
EMPTY, NXDOMAIN = LookupResult.EMPTY, LookupResult.NXDOMAIN


@dataclass(frozen=True)
class Fault:
    """A broken server: how it behaves, how the look-up ends, and what may be added all the same."""

    a: Behaviour
    aaaa: Behaviour
    result: LookupResult
    adds: tuple[str, ...] = ()

    @property
    def timeout(self) -> float:
        """Short where it runs out, and long where a busy machine must not make it run out."""
        if self.result is TIMEOUT:
            return 1.0 if self.adds else SHORT
        return 5.0


def both(behaviour: Behaviour, result: LookupResult, *adds: str) -> Fault:
    return Fault(behaviour, behaviour, result, adds)


FAULTS = {
    "servfail": both(answers_code("SERVFAIL"), SERVFAIL),
    "nxdomain": both(answers_code("NXDOMAIN"), NXDOMAIN),
    "refused": both(answers_code("REFUSED"), SERVFAIL),
    "not-implemented": both(answers_code("NOTIMP"), SERVFAIL),
    "format-error": both(answers_code("FORMERR"), SERVFAIL),
    "empty": both(answers_code("NOERROR"), EMPTY),
    "silence": both(silent, TIMEOUT),
    "garbage": both(garbage, TIMEOUT),
    "garbled": Fault(garbled(BAD), answers_code("NOERROR"), TIMEOUT),
    "garbled-over-tcp": Fault(
        truncates(BAD, over_tcp=garbled(BAD)), answers_code("NOERROR"), SERVFAIL
    ),
    "truncated-tcp-works": Fault(truncates(BAD, over_tcp=gives(NEW)), gives(SIX), OK, (NEW,)),
    "truncated-tcp-silent": both(truncates(BAD, over_tcp=silent), TIMEOUT),
    "truncated-tcp-hangs-up": both(truncates(BAD, over_tcp=hangs_up), SERVFAIL),
    "truncated-tcp-servfail": both(truncates(BAD, over_tcp=answers_code("SERVFAIL")), SERVFAIL),
    "truncated-over-both": both(truncated(BAD), SERVFAIL),
    "cname-loop": both(cname_loop, SERVFAIL),
    "cname-to-nothing": both(gives(chain=[("gone.example.org", 60)]), EMPTY),
    "3000-addresses": Fault(floods(3000, BAD), answers_code("NOERROR"), REFUSED),
    "private": Fault(gives("10.0.0.1", "192.168.1.1"), gives("fd00::1"), REFUSED),
    "loopback": Fault(gives("127.0.0.1"), gives("::1"), REFUSED),
    "link-local": Fault(gives("169.254.169.254"), gives("fe80::1"), REFUSED),
    "mapped": Fault(answers_code("NOERROR"), gives("::ffff:20.66.6.6"), REFUSED),
    "nat64": Fault(gives(*GOOD), gives("64:ff9b::1442:606"), REFUSED),
    "private-and-good": Fault(gives("10.0.0.1", NEW), gives("fe80::1"), REFUSED, (NEW,)),
    "ttl-zero": Fault(gives(*GOOD, ttl=0), gives(SIX, ttl=0), OK),
    "ttl-huge": Fault(gives(*GOOD, ttl=2**31 - 1), gives(SIX, ttl=2**31 - 1), OK),
    "wrong-id": Fault(wrong_id(BAD), answers_code("NOERROR"), TIMEOUT),
    "wrong-id-then-right": Fault(wrong_id(BAD, then=gives(NEW)), gives(SIX), OK, (NEW,)),
    "wrong-question": Fault(wrong_question(BAD), answers_code("NOERROR"), TIMEOUT),
    "other-owner": Fault(other_owner(BAD), answers_code("NOERROR"), EMPTY),
    "half-of-the-round-robin": Fault(gives(GOOD[0]), gives(SIX), OK),
    "a-fails-aaaa-works": Fault(answers_code("SERVFAIL"), gives(SIX), SERVFAIL),
    "a-silent-aaaa-works": Fault(silent, gives(SIX, "2a01:111::2"), TIMEOUT, ("2a01:111::2",)),
    "a-works-aaaa-fails": Fault(gives(NEW), answers_code("SERVFAIL"), SERVFAIL, (NEW,)),
    "a-works-aaaa-nxdomain": Fault(gives(NEW), answers_code("NXDOMAIN"), NXDOMAIN, (NEW,)),
    "a-works-aaaa-empty": Fault(gives(NEW), answers_code("NOERROR"), OK, (NEW,)),
}

any_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)


def break_with(server: BrokenNameserver, fault: Fault) -> None:
    server.on = {"A": fault.a, "AAAA": fault.aaaa}


class TestContractWhileDnsWorks(SourceContract):
    @pytest.fixture
    def source(self, server: BrokenNameserver, clock: ManualClock) -> AddressSource:
        server.on = {"A": gives(*GOOD), "AAAA": gives(SIX)}
        return dns_host(resolver(server.port), clock)


@pytest.mark.parametrize(
    "fault", [FAULTS[name] for name in ("servfail", "silence", "private-and-good")]
)
class TestContractWhileDnsIsBroken(SourceContract):
    @pytest.fixture
    def source(self, server: BrokenNameserver, clock: ManualClock, fault: Fault) -> AddressSource:
        break_with(server, fault)
        return dns_host(resolver(server.port, timeout=SHORT), clock)


# ---- every fault ------------------------------------------------------------------------------


@any_fault
async def test_a_fault_removes_no_good_address_and_adds_no_bad_one(
    fault: Fault, server: BrokenNameserver, clock: ManualClock, seen: SeenChanges, kept: KeptRecord
) -> None:
    host = dns_host(resolver(server.port, timeout=fault.timeout), clock, seen=seen, kept=kept)
    break_with(server, fault)
    await host.refresh()
    assert await seen.result() is fault.result
    assert addresses(host) == KNOWN | set(fault.adds)
    assert {address for _, _, address in seen.changes} == set(fault.adds)
    assert (host.status().last_error is None) == (fault.result is OK)

    # And when it is over, nothing of it is left.
    server.on = {"A": gives(LATER), "AAAA": gives(SIX)}
    recovered = dns_host(resolver(server.port), clock, kept=kept)
    await recovered.refresh()
    assert addresses(recovered) == KNOWN | set(fault.adds) | {LATER}
    assert recovered.status().last_error is None


@any_fault
async def test_a_fault_at_the_start_adds_nothing_bad(
    fault: Fault, server: BrokenNameserver, clock: ManualClock
) -> None:
    break_with(server, fault)
    host = dns_host(resolver(server.port, timeout=fault.timeout), clock)
    await host.refresh()
    assert set(fault.adds) <= addresses(host) <= KNOWN | set(fault.adds)


async def test_one_host_that_fails_does_not_touch_another(
    server: BrokenNameserver, host: DnsSource, clock: ManualClock
) -> None:
    async with BrokenNameserver() as silent_one:
        silent_one.both(silent)
        broken = dns_host(
            resolver(silent_one.port, timeout=SHORT), clock, host="broken.example.org"
        )
        await asyncio.gather(host.refresh(), broken.refresh())
    allowlist = Allowlist([host, broken])
    assert len(allowlist.entries()) == len(KNOWN)
    assert allowlist.unready() == ("broken.example.org",)
