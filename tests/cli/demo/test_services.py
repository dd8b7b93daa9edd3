"""The demo's DNS server gives its addresses for every name."""

import dns.asyncquery
import dns.message
import dns.rcode

from relay.cli.demo.services import Nameserver


async def test_every_name_has_the_addresses() -> None:
    async with Nameserver(["104.45.17.199", "104.45.28.230"]) as server:
        for kind, expected in (("A", {"104.45.17.199", "104.45.28.230"}), ("AAAA", set())):
            query = dns.message.make_query("any.example.", kind)
            reply = await dns.asyncquery.udp(query, "127.0.0.1", 5, server.port)
            assert reply.rcode() is dns.rcode.NOERROR
            assert {item.to_text() for found in reply.answer for item in found} == expected
