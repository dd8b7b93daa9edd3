"""Addresses that no request goes to unless the configuration lists them. Pure.

A machine's own cloud hands out credentials to whoever asks from it, at link-local addresses and a
few others. A name that somebody else can point there would make relay ask in their stead. So it is
the address that is dialled that counts, not the name, and in whichever form it is written.
"""

import socket
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

#: Link-local networks, and where clouds keep their metadata services besides.
GUARDED: Final[tuple[IPNetwork, ...]] = tuple(
    map(
        ip_network,
        (
            "169.254.0.0/16",  # link-local, and nearly every cloud's
            "fe80::/10",  # link-local
            "fd00:ec2::/32",  # AWS, with the credentials of pods in EKS
            "fd20:ce::254/128",  # Google
            "fd00:c1::a9fe:a9fe/128",  # Oracle
            "fd00:42::42/128",  # Scaleway
            "fd00:a9fe:a9fe::1/128",  # Akamai
            "100.100.100.200/32",  # Alibaba
            "192.0.0.192/32",  # Oracle's old one
            "168.63.129.16/32",  # Azure's wire server
        ),
    )
)

_COMPATIBLE: Final = IPv6Network("::/96")
_TRANSLATED: Final = IPv6Network("::ffff:0:0:0/96")
# NAT64: the well-known prefix, and the one for local use (RFC 6052, RFC 8215).
_NAT64: Final = IPv6Network("64:ff9b::/96")
_LOCAL_NAT64: Final = IPv6Network("64:ff9b:1::/48")


def may_dial(address: IPAddress, allowed: Iterable[IPNetwork] = ()) -> bool:
    """Return whether a request may go to this address: it is not guarded, or it is listed.

    An IPv6 address that stands for an IPv4 address is judged as both, and listed as either.
    """
    listed = tuple(allowed)
    if _is_in(address, listed):
        return True
    return not any(_is_in(each, GUARDED) and not _is_in(each, listed) for each in forms(address))


def forms(address: IPAddress) -> list[IPAddress]:
    """Return the address, without a zone, and the IPv4 addresses that packets to it may reach."""
    if isinstance(address, IPv4Address):
        return [address]
    bare = IPv6Address(int(address))
    return [bare, *_embedded(bare)]


def spelled(host: str) -> IPAddress | None:
    """Return the address that the system's resolver takes a host for; None for a name.

    It reads IPv4 addresses with fewer numbers, and in octal or hex, too: `0xa9fea9fe`.
    """
    with suppress(ValueError):
        return ip_address(host)
    if not host or any(each.isspace() for each in host):
        return None
    with suppress(OSError, ValueError):
        return IPv4Address(socket.inet_aton(host))
    return None


def _embedded(address: IPv6Address) -> list[IPv4Address]:
    found = []
    if address.ipv4_mapped is not None:
        found.append(address.ipv4_mapped)
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found += address.teredo
    octets = address.packed
    if any(address in each for each in (_COMPATIBLE, _TRANSLATED, _NAT64, _LOCAL_NAT64)):
        found.append(IPv4Address(octets[12:]))
    if address in _LOCAL_NAT64:
        # For prefixes of 48, 56 and 64 bits the address stands around an octet of zeros.
        found += [IPv4Address((octets[:8] + octets[9:])[at : at + 4]) for at in (6, 7, 8)]
    return found


def _is_in(address: IPAddress, networks: Iterable[IPNetwork]) -> bool:
    return any(address in each for each in networks)
