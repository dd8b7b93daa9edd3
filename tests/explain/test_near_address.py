"""IPv4 addresses are found in the IPv6 addresses that spell them."""

from ipaddress import ip_address

import pytest

from relay.explain.near_address import embedded_ipv4, is_internal


@pytest.mark.parametrize(
    ("address", "inner", "how"),
    [
        ("64:ff9b::c000:207", "192.0.2.7", "NAT64"),
        ("64:ff9b:1::c000:207", "192.0.2.7", "NAT64"),
        ("2002:c000:207::1", "192.0.2.7", "6to4"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdf8", "192.0.2.7", "Teredo"),
        ("::c000:207", "192.0.2.7", "an old form of IPv6"),
    ],
)
def test_the_address_within_is_found(address: str, inner: str, how: str) -> None:
    assert embedded_ipv4(ip_address(address)) == (ip_address(inner), how)


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::c000:207", "::1", "::"])
def test_others_hold_none(address: str) -> None:
    assert embedded_ipv4(ip_address(address)) is None


def test_what_belongs_to_a_network_of_ours_is_internal() -> None:
    for address in ("10.1.2.3", "172.31.0.1", "100.64.0.1", "127.0.0.1", "fd00::1", "fe80::1"):
        assert is_internal(ip_address(address))
    for address in ("172.32.0.1", "192.0.2.7", "103.208.23.6", "2001:db8::1"):
        assert not is_internal(ip_address(address))
