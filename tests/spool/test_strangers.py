"""A network is what one host has: an IPv4 address, or 64 bits of IPv6."""

from ipaddress import ip_address

import pytest

from relay.spool.strangers import network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
        ("2001:db8::1", "2001:db8::/64"),
        ("::1", "::/64"),
    ],
)
def test_an_address_is_counted_by_its_network(address: str, network: str) -> None:
    assert network_of(ip_address(address)) == network
