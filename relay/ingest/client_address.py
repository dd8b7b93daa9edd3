"""The client address of a request: the peer's, or the one that trusted proxies forward.

No I/O, and closed by default: only the one configured header is read, only from a trusted peer, and
anything in it but a list of addresses refuses the delivery.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final
from weakref import WeakValueDictionary

from netaddr import IPNetwork

from relay.allowlist.networks import Intervals
from relay.core.errors import Reason, Refusal
from relay.core.request import (
    Address,
    ClientAddress,
    ForwardedHeader,
    RequestHead,
    Via,
)

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
    """Determines the client address of requests, by the trusted proxies and their header.

    generation: grows whenever another client may be found for the same request.
    field: the forwarding header that is read, in lower case.
    """

    def __init__(self, trusted: Iterable[IPNetwork], header: ForwardedHeader) -> None:
        self.generation = 0
        self.reconfigure(trusted, header)

    def reconfigure(self, trusted: Iterable[IPNetwork], header: ForwardedHeader) -> None:
        """Use these from the next request on."""
        self._trusted = Intervals((network, network) for network in trusted)
        self._header = header
        self.field = header.lower()
        self.generation += 1

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
        joined = self.forwarded(head)
        if not joined:
            raise Refusal(Reason.FORWARDING_UNTRUSTED, self._silent(head))
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
        raise _untrusted("trusted proxies only")

    def _silent(self, head: RequestHead) -> str:
        """Return what is missing where a trusted proxy names no client."""
        sent = "an empty" if head.headers.values(self._header) else "no"
        said = f"{head.peer} is in trusted_proxies and sent {sent} {self._header}"
        other = next(each for each in ForwardedHeader if each is not self._header)
        return f"{said}, but {other}" if head.headers.values(other) else said

    def forwarded(self, head: RequestHead) -> str:
        """Return the value of the forwarding header, whoever sent it."""
        # A proxy may append a header of its own behind the client's: all of them are one list.
        return ",".join(head.headers.values(self._header))


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


# ---- clients that are remembered, and their requests in flight ------------------------------

_IPV4: Final = 4

#: Clients that are remembered; all are forgotten when there are more.
_MAX_CLIENTS: Final = 4096

#: Characters of a forwarding header that is remembered: a few addresses.
_MAX_REMEMBERED: Final = 256

#: The version of an address, and the number of its client's network.
ClientKey = tuple[int, int]


def client_key(address: Address) -> ClientKey:
    """Return the key under which an address is counted: itself, or its IPv6 network of 64 bits.

    A client with IPv6 has such a network at least (RFC 6177): counted one by one, each of its
    addresses would have a limit of its own.
    """
    # As numbers: addresses take their time to hash.
    number = int(address)
    return (4, number) if address.version == _IPV4 else (6, number >> 64)


def network_key(address: Address) -> ClientKey:
    """Return the key of the network that strangers are counted by: 24 bits of IPv4, 48 of IPv6."""
    number = int(address)
    return (4, number >> 8) if address.version == _IPV4 else (6, number >> 80)


class ClientShare:
    """How many requests one client has in flight."""

    __slots__ = ("__weakref__", "in_flight")

    def __init__(self) -> None:
        self.in_flight = 0


@dataclass(frozen=True, slots=True, eq=False)
class Client:
    """The client of a request, and the count of its requests in flight."""

    address: ClientAddress
    share: ClientShare


class _Peer:
    """A peer that is remembered.

    clients: by what it forwards, which is nothing for a peer that is no trusted proxy.
    """

    __slots__ = ("clients", "trusted")

    def __init__(self, *, trusted: bool) -> None:
        self.trusted = trusted
        self.clients: dict[str, Client] = {}


class Clients:
    """Finds the clients of requests, and remembers them: a sender's next request is a look-up."""

    def __init__(self, locator: ClientLocator, limit: int) -> None:
        """Take what determines a client, and how many requests each may have in flight."""
        self._locator = locator
        self._generation = locator.generation
        self.limit = limit
        # A share lives as long as a request or a remembered client holds it.
        self._shares: WeakValueDictionary[ClientKey, ClientShare] = WeakValueDictionary()
        # By the peer's text: addresses take their time to hash.
        self._peers: dict[str, _Peer] = {}
        self._remembered = 0

    def find(self, head: RequestHead) -> Client:
        """Return the client of this request.

        Raises:
            Refusal: as `ClientLocator.locate` does.
        """
        locator = self._locator
        if not head.forwards or head.via is Via.PROXY:
            # A proxy names another peer for each connection.
            return self._client(locator.locate(head))
        if locator.generation != self._generation:
            self._forget()
        peer = self._peers.get(head.peer_text)
        if peer is None:
            peer = _Peer(trusted=locator.trusts(head.peer))
        forwarded = ""
        if peer.trusted:
            forwarded = head.headers.single(locator.field) or locator.forwarded(head)
        client = peer.clients.get(forwarded)
        if client is None:
            client = self._client(locator.locate(head))
            self._remember(head.peer_text, peer, forwarded, client)
        return client

    def _remember(self, text: str, peer: _Peer, forwarded: str, client: Client) -> None:
        if not text or len(forwarded) > _MAX_REMEMBERED:
            return
        if self._remembered >= _MAX_CLIENTS:
            self._forget()
        self._peers[text] = peer
        peer.clients[forwarded] = client
        self._remembered += 1

    def _forget(self) -> None:
        self._generation = self._locator.generation
        for peer in self._peers.values():
            peer.clients.clear()
        self._peers.clear()
        self._remembered = 0

    def _client(self, address: ClientAddress) -> Client:
        key = client_key(address.address)
        share = self._shares.get(key)
        if share is None:
            self._shares[key] = share = ClientShare()
        return Client(address, share)
