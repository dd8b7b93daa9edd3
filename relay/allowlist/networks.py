"""Parse networks, host names and name servers; classify addresses; find networks by bisection."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address
from typing import Generic, TypeVar

from netaddr import AddrFormatError, IPAddress, IPNetwork, IPSet, cidr_merge

from relay.core.request import Address

# ---- look-up --------------------------------------------------------------------------------
# Networks are sorted integer ranges, one list an IP version, so a look-up is one bisection however
# many there are. Two networks either nest or are apart: dropping the nested ones leaves ranges that
# do not overlap.

T = TypeVar("T")


class Intervals(Generic[T]):
    """An immutable map from networks to values; a look-up finds the widest network's value."""

    def __init__(self, items: Iterable[tuple[IPNetwork, T]]) -> None:
        self._starts: dict[int, list[int]] = {4: [], 6: []}
        self._ends: dict[int, list[tuple[int, T]]] = {4: [], 6: []}
        # The widest network first where several begin at the same address.
        for network, value in sorted(items, key=lambda item: (item[0].first, -item[0].last)):
            starts, ends = self._starts[network.version], self._ends[network.version]
            if ends and network.last <= ends[-1][0]:
                continue
            starts.append(network.first)
            ends.append((network.last, value))

    def find(self, address: Address) -> T | None:
        """Return the value of the widest network that holds this address, or None."""
        number = int(address)
        at = bisect_right(self._starts[address.version], number) - 1
        if at < 0:
            return None
        last, value = self._ends[address.version][at]
        return value if number <= last else None


# ---- parsing --------------------------------------------------------------------------------

# netaddr also takes masks, signs, blanks and other scripts' digits after the slash.
_NOTATION = re.compile(r"[0-9A-Fa-f.:]+(/(0|[1-9][0-9]{0,2}))?")

# The first that fits says what to write instead.
_ADVICE = (
    (re.compile(r"\s"), "has blanks in it; write it without"),
    (re.compile(r"%"), "has a zone id; write the address without it"),
    (re.compile(r"/[0-9]+\.[0-9.]+$"), "has a netmask; write the length, as in 192.0.2.0/24"),
    (re.compile(r"(^|\.|/)0[0-9]"), "has a padded number; write it without leading zeros"),
    (re.compile(r"^[0-9]+(\.[0-9]+){0,2}\.?(/|$)"), "is short; write all of it, as in 10.0.0.0/8"),
)

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MAX_NAME = 253

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


# A provider's list is parsed for each of its endpoints, and parsing is slow.
@lru_cache(maxsize=4096)
def parse_network(text: str) -> IPNetwork:
    """Parse a network in CIDR notation; a bare address is a network of one.

    Raises:
        ValueError: it is not a network in full notation; the message says what to write instead.
    """
    if _NOTATION.fullmatch(text) is None:
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
    """Normalize a host name: lower case, without a trailing dot.

    Raises:
        ValueError: it is not a full host name of letters, digits and hyphens (RFC 1123).
    """
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if not text.isascii():
        raise ValueError(f"{text!r} is not ASCII; write the name in its xn-- form")
    if len(name) > _MAX_NAME or not all(_LABEL.fullmatch(label) for label in labels):
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
    """Return each network that another one covers, paired with the widest that covers it.

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
    """Return the special-purpose kind of an address; None when it is global unicast.

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


# ---- parsing name servers -------------------------------------------------------------------

_TLS = "tls://"
_PORTS = range(1, 65536)


@dataclass(frozen=True, slots=True)
class Nameserver:
    """The address, port and transport of a name server.

    tls: queries go over TLS (RFC 7858); the certificate must then be valid for `name`, or for the
        address itself when there is no name.
    """

    address: str
    port: int
    tls: bool = False
    name: str | None = None


def parse_nameserver(text: str) -> Nameserver:
    """Parse a name server. It is an address: a name would need DNS first.

    Raises:
        ValueError: it is not one; the message says what to write instead.
    """
    tls = text.startswith(_TLS)
    place, hash_mark, name = text.removeprefix(_TLS).partition("#")
    if hash_mark and not tls:
        raise ValueError(f"{text!r} has a name to check but no TLS; write {_TLS}{place}#{name}")
    certified = parse_host_name(name) if hash_mark else None
    address, port = _host_and_port(place)
    try:
        IPAddress(address)
    except (AddrFormatError, ValueError):
        raise ValueError(
            f"{text!r} is not a name server; write its address, as in 192.0.2.53, "
            f"192.0.2.53:5353, [2001:db8::53]:5353 or {_TLS}192.0.2.53#dns.example.com"
        ) from None
    if port is None:
        return Nameserver(address, 853 if tls else 53, tls, certified)
    if not (port.isascii() and port.isdigit() and int(port) in _PORTS):
        raise ValueError(f"{text!r} has no port number after the colon; write 1 to 65535")
    return Nameserver(address, int(port), tls, certified)


def _host_and_port(place: str) -> tuple[str, str | None]:
    """Split address and port; an IPv6 address needs brackets where a port follows."""
    if place.startswith("["):
        address, closed, rest = place[1:].partition("]")
        if closed and not rest:
            return address, None
        return (address, rest[1:]) if rest.startswith(":") else (place, None)
    if place.count(":") == 1:
        address, _, port = place.partition(":")
        return address, port
    return place, None


# ---- how much networks cover ----------------------------------------------------------------

# Where a sender can be; in IPv6, IANA assigns global unicast addresses from 2000::/3 alone.
_SENDER_SPACE = (("IPv4", IPNetwork("0.0.0.0/0")), ("IPv6", IPNetwork("2000::/3")))


def covers_all(network: IPNetwork) -> bool:
    """Tell whether a network is 0.0.0.0/0 or ::/0."""
    return not network.prefixlen


def families_mostly_covered(networks: Iterable[IPNetwork]) -> Iterator[str]:
    """Yield each family, IPv4 or IPv6, of which the networks together cover half or more."""
    held = IPSet(networks)
    for kind, senders in _SENDER_SPACE:
        if 2 * (held & IPSet((senders,))).size >= senders.size:
            yield kind


def redundant_positions(
    networks: Sequence[IPNetwork | str], listed: Sequence[IPNetwork]
) -> Iterator[tuple[int, IPNetwork]]:
    """Yield the position of each network that another one covers, and the one that covers it.

    listed: networks that are covered anyway. Of equal networks the first is not redundant.
    """
    own = [network for network in networks if isinstance(network, IPNetwork)]
    outer = dict(redundant((*listed, *own)))
    seen = set(listed)
    for at, network in enumerate(networks):
        if not isinstance(network, IPNetwork):
            continue
        if network in outer and (outer[network] != network or network in seen):
            yield at, outer[network]
        seen.add(network)
