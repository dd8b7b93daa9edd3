"""The demo's DNS server gives its addresses for every name."""

from collections.abc import Callable

import aiohttp
import dns.asyncquery
import dns.message
import dns.rcode
import pytest

from relay.cli.demo.services import Nameserver, Pair, Sink, asymmetric, shared, standard_webhooks


async def test_every_name_has_the_addresses() -> None:
    async with Nameserver(["104.45.17.199", "104.45.28.230"]) as server:
        for kind, expected in (("A", {"104.45.17.199", "104.45.28.230"}), ("AAAA", set())):
            query = dns.message.make_query("any.example.", kind)
            reply = await dns.asyncquery.udp(query, "127.0.0.1", 5, server.port)
            assert reply.rcode() is dns.rcode.NOERROR
            assert {item.to_text() for found in reply.answer for item in found} == expected


# ---- keys -----------------------------------------------------------------------------------
# The demo's forger never has the sender's key.


@pytest.mark.parametrize("make", [shared, asymmetric, standard_webhooks])
def test_every_run_has_keys_of_its_own(make: Callable[[], Pair]) -> None:
    one, two = make(), make()
    assert len({one.signing, one.forged, two.signing, two.forged}) == 4


def test_the_relay_is_given_the_public_half_only() -> None:
    pair = asymmetric()
    assert pair.verifying.startswith("-----BEGIN PUBLIC KEY-----")
    assert b"PRIVATE KEY" in pair.signing.reveal()


# ---- sink -----------------------------------------------------------------------------------
# The demo's service takes everything and knows what it got.


async def test_it_counts_what_arrives() -> None:
    async with Sink() as sink, aiohttp.ClientSession() as session:
        for body in (b"one", b"two", b"one"):
            async with session.post(sink.url, data=body) as response:
                assert response.status == 200
        await sink.wait_for(3, within=5)
        assert (sink.count(b"one"), sink.count(b"two"), sink.count(b"three")) == (2, 1, 0)


async def test_waiting_ends_when_nothing_comes() -> None:
    async with Sink() as sink:
        await sink.wait_for(1, within=0.01)
        assert sink.bodies == []
