from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPNetwork

from relay.allowlist.networks import Intervals


def _of(*networks: str) -> Intervals[str]:
    return Intervals((IPNetwork(network), network) for network in networks)


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("103.208.22.255", None),
        ("103.208.23.0", "103.208.23.0/24"),
        ("103.208.23.255", "103.208.23.0/24"),
        ("103.208.24.0", None),
        ("103.127.16.0", "103.127.16.0/23"),
        ("103.127.17.255", "103.127.16.0/23"),
        ("0.0.0.0", None),
        ("255.255.255.255", "255.255.255.255/32"),
        ("::", None),
        ("2a01:111::", "2a01:111::/32"),
        ("2a01:111:ffff:ffff:ffff:ffff:ffff:ffff", "2a01:111::/32"),
        ("2a01:112::", None),
    ],
)
def test_the_edges_of_a_network_are_in_it(address: str, found: str | None) -> None:
    networks = _of("255.255.255.255/32", "103.208.23.0/24", "2a01:111::/32", "103.127.16.0/23")
    assert networks.find(ip_address(address)) == found


def test_of_nested_networks_the_widest_is_found() -> None:
    networks = _of("103.208.23.6/32", "103.208.0.0/16", "103.208.23.0/24", "103.208.0.0/24")
    for address in ("103.208.23.6", "103.208.0.1", "103.208.255.255"):
        assert networks.find(ip_address(address)) == "103.208.0.0/16"


def test_the_versions_are_apart() -> None:
    everything = _of("0.0.0.0/0")
    assert everything.find(IPv4Address(0x0A000001)) == "0.0.0.0/0"
    assert everything.find(IPv6Address(0x0A000001)) is None
    assert everything.find(ip_address("::ffff:103.208.23.6")) is None
    assert _of("::/0").find(ip_address("103.208.23.6")) is None


def test_nothing_is_found_among_nothing() -> None:
    assert _of().find(ip_address("103.208.23.6")) is None


# Few bits, so that networks nest, touch and repeat.
_NETWORKS = st.lists(
    st.builds(
        lambda number, length: f"{IPv4Address(number >> (32 - length) << (32 - length))}/{length}",
        st.integers(0, 255).map(lambda low: 0x67D01700 + low),
        st.integers(22, 32),
    )
)


@given(_NETWORKS, st.integers(-300, 600))
def test_it_finds_what_a_walk_through_all_networks_finds(networks: list[str], offset: int) -> None:
    address = IPv4Address(0x67D01700 + offset)
    holding = [network for network in networks if address in ip_network(network)]
    found = _of(*networks).find(address)
    if not holding:
        assert found is None
    else:
        assert found is not None
        assert found in holding
        shortest = min(ip_network(network).prefixlen for network in holding)
        assert ip_network(found).prefixlen == shortest
