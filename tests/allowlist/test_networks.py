from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPNetwork

from relay.allowlist.networks import merge, parse_host_name, parse_network, redundant, special


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
