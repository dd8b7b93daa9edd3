from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.egress import forms, may_dial, spelled

METADATA = IPv4Address("169.254.169.254")

GUARDED = [
    "169.254.169.254",
    "169.254.170.2",
    "169.254.0.0",
    "169.254.255.255",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "fe80::1",
    "fe80::a9fe:a9fe%eth0",
    "febf::1",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "fd00:42::42",
    "fd00:a9fe:a9fe::1",
    "::ffff:169.254.169.254",
    "::ffff:168.63.129.16",
    "::169.254.169.254",
    "::ffff:0:169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::169.254.169.254",
    "64:ff9b:1:a9fe:a9:fe00::",
    "64:ff9b:1:a9:fe:a9fe::",
    "64:ff9b:1:0:a9:fea9:fe00:0",
    "2002:a9fe:a9fe::1",
    "2002:6464:64c8::",
    "2001:0:a9fe:a9fe::",
    "2001:0:102:304:0:0:5601:5601",
]

FREE = [
    "127.0.0.1",
    "10.0.0.1",
    "169.253.255.255",
    "169.255.0.0",
    "192.0.2.1",
    "100.100.100.201",
    "168.63.129.17",
    "::1",
    "fec0::1",
    "fd00::1",
    "2001:db8::1",
    "::ffff:10.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::10.0.0.1",
    "2002:0a00:0001::1",
    "2001:db8::a9fe:a9fe",
]


@pytest.mark.parametrize("address", GUARDED)
def test_metadata_and_link_local_addresses_are_refused_in_every_form(address: str) -> None:
    assert not may_dial(ip_address(address))


@pytest.mark.parametrize("address", FREE)
def test_all_others_may_be_dialled(address: str) -> None:
    assert may_dial(ip_address(address))


@pytest.mark.parametrize("address", GUARDED)
def test_an_address_that_is_listed_may_be_dialled(address: str) -> None:
    bare = forms(ip_address(address))[0]
    assert may_dial(ip_address(address), [ip_network(bare)])


@pytest.mark.parametrize(
    ("address", "network", "may"),
    [
        ("169.254.10.7", "169.254.10.0/24", True),
        ("169.254.11.7", "169.254.10.0/24", False),
        ("::ffff:169.254.10.7", "169.254.10.0/24", True),
        ("64:ff9b::169.254.10.7", "169.254.10.0/24", True),
        ("64:ff9b::169.254.11.7", "169.254.10.0/24", False),
        ("64:ff9b::169.254.11.7", "64:ff9b::/96", True),
        ("169.254.10.7", "fe80::/10", False),
        ("fe80::7", "169.254.0.0/16", False),
        # Of a Teredo address both the server and the client count.
        ("2001:0:a9fe:0a07:0:0:5601:5601", "169.254.10.0/24", False),
    ],
)
def test_a_listed_network_is_compared_with_each_form(address: str, network: str, may: bool) -> None:
    assert may_dial(ip_address(address), [ip_network(network)]) is may


@given(st.ip_addresses(v=6))
def test_no_address_is_beyond_judgement(address: IPv6Address) -> None:
    assert may_dial(address, [ip_network("::/0")])
    assert may_dial(address) in {True, False}
    assert forms(address)[0] == address


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "0xa9fea9fe",
        "0XA9FEA9FE",
        "2852039166",
        "169.254.43518",
        "169.16689662",
        "0251.0376.0251.0376",
        "0xa9.254.0251.254",
    ],
)
def test_an_address_is_recognised_however_it_is_spelled(host: str) -> None:
    assert spelled(host) == METADATA


@pytest.mark.parametrize(
    "host", ["", "billing.internal", "169.254.169.254.example", "1.2.3.4 x", "a9fea9fe", "1.2.3.4."]
)
def test_a_name_is_none(host: str) -> None:
    assert spelled(host) is None


def test_an_ipv6_address_is_recognised() -> None:
    assert spelled("::ffff:a9fe:a9fe") == IPv6Address("::ffff:169.254.169.254")
