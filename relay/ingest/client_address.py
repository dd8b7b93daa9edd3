"""The client address of a request: the peer's, or the one that trusted proxies forward.

No I/O, and closed by default: only the one configured header is read, only from a trusted peer, and
anything in it but a list of addresses refuses the delivery.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from netaddr import IPNetwork

from relay.allowlist.networks import Intervals
from relay.core.errors import Reason, Refusal
from relay.core.request import Address, ClientAddress, ForwardedHeader, RequestHead, Via

_VIA = {
    ForwardedHeader.X_FORWARDED_FOR: Via.X_FORWARDED_FOR,
    ForwardedHeader.FORWARDED: Via.FORWARDED,
}

# More proxies than this stand in no row; a stranger behind one may write as many as it likes.
_MAX_HOPS = 32

# RFC 7239, section 4: a pair is token=token or token="quoted string".
_PAIR = re.compile(
    r"""[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=([!#$%&'*+.^_`|~0-9A-Za-z-]+|"(?:[^"\\]|\\.)*")[ \t]*"""
)
_PORT = r"(?:6553[0-5]|655[0-2]\d|65[0-4]\d\d|6[0-4]\d{3}|[1-5]\d{4}|\d{1,4})"
_BRACKETED = re.compile(rf"\[([0-9A-Fa-f:.]+)\](?::{_PORT})?", re.ASCII)
_WITH_PORT = re.compile(rf"([0-9.]+):{_PORT}", re.ASCII)


class ClientLocator:
    """Determines the client address of requests, by the trusted proxies and their header."""

    def __init__(self, trusted: Iterable[IPNetwork], header: ForwardedHeader) -> None:
        self.reconfigure(trusted, header)

    def reconfigure(self, trusted: Iterable[IPNetwork], header: ForwardedHeader) -> None:
        """Use these from the next request on."""
        self._trusted = Intervals((network, network) for network in trusted)
        self._header = header

    def trusts(self, address: Address) -> bool:
        """Return whether this address is a trusted proxy."""
        return self._trusted.find(address) is not None

    def locate(self, head: RequestHead) -> ClientAddress:
        """Return the peer, or the right-most forwarded address that is not a trusted proxy.

        Raises:
            Refusal: FORWARDING_UNTRUSTED when a trusted proxy forwards no list, a list of proxies
                only, or anything that cannot be parsed, or when its PROXY header names no client.
        """
        if not head.forwards:
            # LOCAL, UNKNOWN, UNSPEC ("The PROXY protocol", sections 2.1 and 2.2): the connection
            # is the proxy's own, as for its health checks, or its client cannot be named. Neither
            # delivers: whoever stands behind it would be let in as the proxy. That is like
            # `unknown` in a forwarding header, and whatever the mode of the allowlist: the mode
            # says what becomes of addresses, and here is none.
            raise Refusal(Reason.FORWARDING_UNTRUSTED, "the PROXY header names no client")
        if not self.trusts(head.peer):
            return ClientAddress(head.peer, head.via)
        # A proxy may append a header of its own behind the client's: all of them are one list.
        joined = ",".join(head.headers.values(self._header))
        if joined.count(",") >= _MAX_HOPS:
            raise _untrusted(f"more than {_MAX_HOPS} elements")
        if self._header is ForwardedHeader.FORWARDED:
            elements = _forwarded_for(joined)
        else:
            elements = joined.split(",")
        # All are read before one is chosen: a list that is broken anywhere was tampered with.
        addresses = [_parse_address(element.strip(" \t")) for element in elements]
        for address in reversed(addresses):
            if not self.trusts(address):
                return ClientAddress(address, _VIA[self._header])
        raise _untrusted("every forwarded address is a trusted proxy")


def unmap_ipv4(address: Address) -> Address:
    """Return an IPv4-mapped IPv6 address as IPv4; every other address unchanged.

    No other embedding (NAT64, 6to4, IPv4-compatible) is the IPv4 address it holds.
    """
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


# Senders come from the same few addresses again and again.
@lru_cache(maxsize=1024)
def _parse_address(element: str) -> Address:
    for form in (_BRACKETED, _WITH_PORT):
        if found := form.fullmatch(element):
            element = found[1]
            break
    if "%" in element:
        raise _untrusted("an IPv6 zone")
    try:
        return unmap_ipv4(ip_address(element))
    except ValueError:
        # The element is left out on purpose: it may hold anything.
        raise _untrusted("an element that is no address") from None


def _forwarded_for(value: str) -> list[str]:
    """Return the `for` of every element, unquoted, in order (RFC 7239)."""
    found: list[str] = []
    at, pending = 0, None
    while match := _PAIR.match(value, at):
        if match[1].lower() == "for":
            if pending is not None:
                raise _untrusted("an element that names two clients")
            pending = match[2]
        at = match.end()
        separator = value[at : at + 1]
        if separator == ";":
            at += 1
            continue
        found.append(_unquote(pending))
        pending = None
        if not separator:
            return found
        if separator != ",":
            break
        at += 1
    raise _untrusted("a Forwarded header that cannot be read")


def _unquote(text: str | None) -> str:
    if text is None:
        raise _untrusted("an element that names no client")
    if text.startswith('"'):
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text


def _untrusted(what: str) -> Refusal:
    return Refusal(Reason.FORWARDING_UNTRUSTED, f"the forwarding header holds {what}")
