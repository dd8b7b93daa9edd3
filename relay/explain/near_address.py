"""Addresses that tell what they are: of a network of ours, or IPv4 spelled as IPv6 on the way."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network
from typing import Final

from relay.core.request import Address

#: RFC 6052, and of local use RFC 8215: the last 32 bits are the IPv4 address.
_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_COMPATIBLE: Final = IPv6Network("::/96")
_LOW: Final = 2**32 - 1

_INTERNAL: Final = tuple(
    map(
        ip_network,
        (
            *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8"),
            *("169.254.0.0/16", "fc00::/7", "fe80::/10", "::1/128"),
        ),
    )
)


def is_internal(address: Address) -> bool:
    """Return whether no address of the internet is this one: it belongs to a network of ours."""
    return any(address in network for network in _INTERNAL)


def embedded_ipv4(address: Address) -> tuple[IPv4Address, str] | None:
    """Return the IPv4 address that is spelled in an IPv6 address, and how; None without one."""
    if not isinstance(address, IPv6Address):
        return None
    low = IPv4Address(int(address) & _LOW)
    if any(address in network for network in _NAT64):
        return low, "NAT64"
    if address.sixtofour is not None:
        return address.sixtofour, "6to4"
    if address.teredo is not None:
        return address.teredo[1], "Teredo"
    if address in _COMPATIBLE and int(address) > 1:
        return low, "an old form of IPv6"
    return None
