from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPNetwork

from relay.allowlist.networks import (
    Intervals,
    Nameserver,
    merge,
    parse_host_name,
    parse_nameserver,
    parse_network,
    redundant,
    special,
)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("103.208.23.0/24", "103.208.23.0/24"),
        ("103.208.23.6", "103.208.23.6/32"),
        ("103.208.23.6/32", "103.208.23.6/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2a01:111::/32", "2a01:111::/32"),
        ("2A01:111::1", "2a01:111::1/128"),
        ("::/0", "::/0"),
        ("64:ff9b::", "64:ff9b::/128"),
    ],
)
def test_a_network_in_full_notation_is_read(text: str, network: str) -> None:
    assert str(parse_network(text)) == network


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (
            "103.208.23.6/24",
            "103.208.23.6/24 has host bits; write 103.208.23.0/24 or 103.208.23.6/32",
        ),
        ("2a01::1/64", "2a01::1/64 has host bits; write 2a01::/64 or 2a01::1/128"),
        ("10/8", "'10/8' is short; write all of it, as in 10.0.0.0/8"),
        ("103.208.23/24", "'103.208.23/24' is short"),
        ("103.208", "'103.208' is short"),
        ("fe80::1%eth0", "'fe80::1%eth0' has a zone id"),
        ("103.208.023.0/24", "'103.208.023.0/24' has a padded number"),
        ("103.208.23.0/024", "'103.208.23.0/024' has a padded number"),
        ("103.208.23.0/255.255.255.0", "has a netmask; write the length"),
        (" 103.208.23.6", "has blanks"),
        ("103.208.23.6\n", "has blanks"),
        (
            "::ffff:103.208.23.0/120",
            "::ffff:103.208.23.0/120 is IPv4 inside IPv6; write 103.208.23.0/24",
        ),
        ("::ffff:103.208.23.6", "write 103.208.23.6/32"),
        ("", "'' is not a network"),
        ("/24", "'/24' is not a network"),
        ("103.208.23.6/", "is not a network"),
        ("103.208.23.6/33", "is not a network"),
        ("103.208.23.6/-1", "is not a network"),
        ("103.208.23.6/+32", "is not a network"),
        ("103.208.23.6/3_2", "is not a network"),
        ("103.208.23.6/٣٢", "is not a network"),
        ("103.208.23.256", "is not a network"),
        ("0x67.208.23.6", "is not a network"),
        ("2a01::/129", "is not a network"),
        ("2a01:::1", "is not a network"),
        ("callback-1.vipps.no", "is not a network"),
    ],
)
def test_anything_else_is_an_error_that_says_what_to_write(text: str, advice: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is checked below
        parse_network(text)
    assert advice in str(caught.value)


@given(st.text(alphabet="0123456789abcdef.:/%x -", max_size=24) | st.text(max_size=24))
def test_nothing_but_value_error_is_raised(text: str) -> None:
    try:
        network = parse_network(text)
    except ValueError:
        return
    assert network.ip == network.network


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("callback-1.vipps.no", "callback-1.vipps.no"),
        ("Callback-1.Vipps.NO.", "callback-1.vipps.no"),
        ("1.example", "1.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_a_host_name_is_read(text: str, name: str) -> None:
    assert parse_host_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "localhost",
        "a..example",
        ".example.org",
        "-a.example",
        "a-.example",
        "a_b.example",
        "a b.example",
        "bücher.example",
        "10.0.0.1",
        "1.2.3",
        f"{'a' * 64}.example",
        ".".join(["a" * 60] * 5),
        "callback.vipps.no:443",
        "https://callback.vipps.no",
        "callback.vipps.no..",
        "callback.vipps.no\n",
    ],
)
def test_what_is_no_full_host_name_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        parse_host_name(text)


def test_merging_leaves_the_fewest_networks() -> None:
    networks = [IPNetwork(n) for n in ("103.127.17.0/24", "103.127.17.6/32", "103.127.16.0/24")]
    assert [str(network) for network in merge(networks)] == ["103.127.16.0/23"]


def test_a_redundant_network_is_paired_with_the_widest_that_holds_it() -> None:
    names = ("103.208.23.6/32", "103.208.0.0/16", "1.1.1.1/32", "103.208.23.0/24", "1.1.1.1/32")
    assert [(str(a), str(b)) for a, b in redundant(IPNetwork(name) for name in names)] == [
        ("1.1.1.1/32", "1.1.1.1/32"),
        ("103.208.23.0/24", "103.208.0.0/16"),
        ("103.208.23.6/32", "103.208.0.0/16"),
    ]


def test_networks_that_touch_or_differ_in_version_are_not_redundant() -> None:
    names = ("103.208.22.0/24", "103.208.23.0/24", "0.0.0.0/32", "::/0")
    assert redundant(IPNetwork(name) for name in names) == []


@pytest.mark.parametrize(
    "address",
    ["104.45.17.199", "8.215.30.222", "1.1.1.1", "223.255.255.255", "2a01:111::1", "2600::1"],
)
def test_a_global_unicast_address_is_nothing_special(address: str) -> None:
    assert special(ip_address(address)) is None


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("10.1.2.3", "private"),
        ("100.64.0.1", "carrier-grade NAT"),
        ("100.127.255.255", "carrier-grade NAT"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.255", "loopback"),
        ("169.254.169.254", "link-local"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.0.0.1", "reserved"),
        ("192.0.2.1", "documentation"),
        ("192.88.99.1", "6to4"),
        ("192.168.1.1", "private"),
        ("198.18.0.1", "benchmarking"),
        ("198.19.255.255", "benchmarking"),
        ("198.51.100.1", "documentation"),
        ("203.0.113.1", "documentation"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::104.45.17.199", "reserved"),
        ("::ffff:104.45.17.199", "IPv4-mapped"),
        ("64:ff9b::682d:11c7", "NAT64"),
        ("64:ff9b:1::1", "NAT64"),
        ("100::1", "reserved"),
        ("2001::1", "Teredo"),
        ("2001:2::1", "reserved"),
        ("2001:1ff:ffff::", "reserved"),
        ("2001:db8::1", "documentation"),
        ("2002:682d:11c7::1", "6to4"),
        ("3fff::1", "documentation"),
        ("4000::1", "reserved"),
        ("5f00::1", "reserved"),
        ("fc00::1", "private"),
        ("fd00::2", "private"),
        ("fe80::1", "link-local"),
        ("fec0::1", "reserved"),
        ("ff02::1", "multicast"),
    ],
)
def test_an_address_no_sender_can_have_is_named(address: str, kind: str) -> None:
    assert special(ip_address(address)) == kind


# ---- looking up by bisection ----------------------------------------------------------------


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


# ---- name servers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("192.0.2.53", Nameserver("192.0.2.53", 53)),
        ("192.0.2.53:5353", Nameserver("192.0.2.53", 5353)),
        ("2001:db8::53", Nameserver("2001:db8::53", 53)),
        ("[2001:db8::53]", Nameserver("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", Nameserver("2001:db8::53", 5353)),
        ("tls://192.0.2.53", Nameserver("192.0.2.53", 853, tls=True)),
        (
            "tls://192.0.2.53#dns.example.com",
            Nameserver("192.0.2.53", 853, tls=True, name="dns.example.com"),
        ),
        (
            "tls://[2001:db8::53]:8853#dns.example.com",
            Nameserver("2001:db8::53", 8853, tls=True, name="dns.example.com"),
        ),
    ],
)
def test_a_name_server_is_read(text: str, server: Nameserver) -> None:
    assert parse_nameserver(text) == server


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "write its address"),
        ("dns.example.com", "write its address"),
        ("192.0.2", "write its address"),
        ("192.0.2.053", "write its address"),
        ("[2001:db8::53", "write its address"),
        ("[2001:db8::53]53", "write its address"),
        ("fe80::1%eth0", "write its address"),
        ("https://192.0.2.53/dns-query", "write its address"),
        ("192.0.2.53:", "1 to 65535"),
        ("192.0.2.53:0", "1 to 65535"),
        ("192.0.2.53:65536", "1 to 65535"),
        ("192.0.2.53:٥٣", "1 to 65535"),
        ("192.0.2.53#dns.example.com", "write tls://192.0.2.53#dns.example.com"),
        ("tls://192.0.2.53#", "is not a host name"),
        ("tls://192.0.2.53#bad name", "is not a host name"),
    ],
)
def test_no_name_server_is_an_error_that_says_what_to_write(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        parse_nameserver(text)
