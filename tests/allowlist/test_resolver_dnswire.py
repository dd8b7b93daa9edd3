"""Answers longer than any honest one are not parsed, whichever way they come."""

import socket
from collections.abc import Sequence

import pytest
from dnslib import DNSRecord

from relay.allowlist import LookupResult
from relay.allowlist.resolver import MAX_ANSWER_BYTES, AnswerTooLong, Backend
from tests.harness.clock import ManualClock
from tests.harness.dnshost import (
    GOOD,
    KNOWN,
    NEW,
    SHORT,
    SIX,
    Kept,
    Seen,
    addresses,
    dns_host,
    resolver,
)
from tests.harness.nameserver import (
    Behaviour,
    BrokenNameserver,
    Transport,
    floods,
    gives,
    truncates,
)

#: More than is read, in records of 16 bytes each.
MANY = MAX_ANSWER_BYTES // 16 + 1


def over_udp(count: int) -> Behaviour:
    """Answer with so many addresses in one datagram, whatever length was asked for."""

    def behave(request: DNSRecord, _: Transport) -> Sequence[bytes]:
        return floods(count, NEW)(request, "tcp")

    return behave


@pytest.mark.parametrize("count", [MANY, 4000])
async def test_a_long_answer_is_refused_unread_and_what_is_known_stays(
    count: int, server: BrokenNameserver, clock: ManualClock, seen: Seen, kept: Kept
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
    server: BrokenNameserver, clock: ManualClock, seen: Seen, kept: Kept
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
