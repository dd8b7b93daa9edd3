"""Networks and host names as people write them, and what no sender on the internet can have."""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address

from netaddr import AddrFormatError, IPNetwork, cidr_merge

from relay.intervals import Intervals
from relay.model import Address

# netaddr also takes masks, signs, blanks and other scripts' digits after the slash.
_WRITTEN = re.compile(r"[0-9A-Fa-f.:]+(/(0|[1-9][0-9]{0,2}))?")

# The first that fits says what to write instead.
_ADVICE = (
    (re.compile(r"\s"), "has blanks in it; write it without"),
    (re.compile(r"%"), "has a zone id; write the address without it"),
    (re.compile(r"/[0-9]+\.[0-9.]+$"), "has a netmask; write the length, as in 192.0.2.0/24"),
    (re.compile(r"(^|\.|/)0[0-9]"), "has a padded number; write it without leading zeros"),
    (re.compile(r"^[0-9]+(\.[0-9]+){0,2}\.?(/|$)"), "is short; write all of it, as in 10.0.0.0/8"),
)

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LONGEST_NAME = 253

_MAPPED = IPNetwork("::ffff:0:0/96")

# IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890). What IPv6 has outside
# 2000::/3 is refused all the same; the lines here give it a name.
_SPECIAL: Intervals[str] = Intervals(
    (IPNetwork(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "NAT64"),
        ("2001::/32", "Teredo"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
    )
)
# All that IANA has given out for global unicast, less the block for protocols (RFC 2928) inside.
# Teredo lies in that block too, and has its own name above.
_UNICAST = IPNetwork("2000::/3")
_PROTOCOLS = IPNetwork("2001::/23")


# A provider's list is read for each of its endpoints, and taking one apart takes long.
@lru_cache(maxsize=4096)
def parse_network(text: str) -> IPNetwork:
    """Return the network that is written here; a bare address is a network of one.

    Raises:
        ValueError: it is not a network in full notation; the message says what to write instead.
    """
    if _WRITTEN.fullmatch(text) is None:
        raise ValueError(_advice(text))
    try:
        network = IPNetwork(text)
    except (AddrFormatError, ValueError):
        raise ValueError(_advice(text)) from None
    if network.ip != network.network:
        alone = IPNetwork(network.ip)
        raise ValueError(f"{text} has host bits; write {network.cidr} or {alone}")
    if network in _MAPPED:
        # Clients arrive as plain IPv4, so this would never match.
        raise ValueError(f"{text} is IPv4 inside IPv6; write {network.ipv4()}")
    return network


def parse_host_name(text: str) -> str:
    """Return a host name in lower case, without the dot that ends it.

    Raises:
        ValueError: it is not a full host name of letters, digits and hyphens (RFC 1123).
    """
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if not text.isascii():
        raise ValueError(f"{text!r} is not ASCII; write the name in its xn-- form")
    if len(name) > _LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{text!r} is not a host name")
    if len(labels) == 1:
        raise ValueError(f"{text!r} is not a full host name; no search list is applied")
    if labels[-1].isdigit():
        raise ValueError(f"{text!r} is not a host name, whose last part is never a number")
    return name


def merge(networks: Iterable[IPNetwork]) -> list[IPNetwork]:
    """Return the fewest networks that hold exactly the same addresses, sorted."""
    return list(cidr_merge(list(networks)))


def redundant(networks: Iterable[IPNetwork]) -> list[tuple[IPNetwork, IPNetwork]]:
    """Return each network that adds nothing, paired with the widest one that holds it.

    A network that is listed twice is paired with itself.
    """
    pairs: list[tuple[IPNetwork, IPNetwork]] = []
    outer: IPNetwork | None = None
    for network in sorted(networks, key=lambda each: (each.version, each.first, -each.last)):
        if outer is not None and network in outer:
            pairs.append((network, outer))
        else:
            outer = network
    return pairs


def special(address: Address) -> str | None:
    """Return what kind of special address this is; None when it is global unicast.

    A sender on the internet has a global unicast address. Anything else in a public DNS answer is
    a mistake or an attack (DNS rebinding).
    """
    kind = _SPECIAL.find(address)
    if kind is not None or isinstance(address, IPv4Address):
        return kind
    number = int(address)
    if _PROTOCOLS.first <= number <= _PROTOCOLS.last:
        return "reserved"
    return None if _UNICAST.first <= number <= _UNICAST.last else "reserved"


def _advice(text: str) -> str:
    for pattern, advice in _ADVICE:
        if pattern.search(text):
            return f"{text!r} {advice}"
    return f"{text!r} is not a network; write an address or address/length, as in 192.0.2.0/24"
