"""Forwarding headers: whatever a client writes, what its proxy adds is what counts.

An input is one byte, whose lowest bit chooses the header, and the values of that header, a line
each.
"""

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address

from netaddr import IPNetwork

from relay.core.errors import Reason, Refusal
from relay.core.request import Address, ClientAddress, ForwardedHeader, Headers, RequestHead, Via
from relay.ingest.client_address import ClientLocator

PROXY, STRANGER = ip_address("10.0.0.7"), ip_address("198.51.100.4")
_TRUSTED = tuple(map(IPNetwork, ("10.0.0.0/8", "fd00::/8")))
_HEADERS = tuple(ForwardedHeader)
_LOCATORS = tuple(ClientLocator(_TRUSTED, header) for header in _HEADERS)
_CLIENT = ip_address("203.0.113.9")
#: What proxies add for `_CLIENT`, by header.
_ADDED = (
    ("203.0.113.9", "203.0.113.9:4711", "::ffff:203.0.113.9", "[::ffff:203.0.113.9]:80"),
    ("for=203.0.113.9", 'for="203.0.113.9:4711";proto=https', 'For="[::ffff:203.0.113.9]:80"'),
)
_LONGEST_PORT = 5
_MOST_ELEMENTS = 32

SEEDS = (
    b"\x00103.208.23.6",
    b"\x00103.208.23.6, 10.0.0.9\n10.0.0.8",
    b"\x00[2001:db8::1]:443,\t192.0.2.1:80",
    b"\x00::ffff:103.208.23.6, fd00::1",
    b"\x00fe80::1%eth0",
    b"\x00010.1.2.3, 0x7f.1",
    b"\x00,",
    b"\x01for=103.208.23.6;proto=https;by=10.0.0.1",
    b'\x01for="[2001:db8::1]:443", for=10.0.0.1\nFor="_hidden"',
    b'\x01for="a\\"b, for=103.208.23.6',
    b"\x01for=unknown",
    b"\x00103.208.23.6" + b",10.0.0.9" * 31,
    b"\x00103.208.23.6" + b",10.0.0.9" * 32,
)
WORDS = (
    *(b"103.208.23.6", b"10.0.0.9", b"::ffff:", b"[2001:db8::1]", b":443", b", ", b"\n", b"%25"),
    *(b"for=", b"For=", b'"', b"\\", b";", b"proto=https", b"by=", b"unknown", b"_x", b"\t"),
)


def check(data: bytes) -> None:
    """Ask who is calling, with and without a proxy that adds its line."""
    kind = data[0] % 2 if data else 0
    values = data[1:].decode("latin-1").split("\n")
    head = _head(kind, values)
    told = replace(head, peer=STRANGER)
    assert _LOCATORS[kind].locate(told) == ClientAddress(STRANGER, Via.PEER)
    other = _LOCATORS[1 - kind]
    assert located(other, head) is None, "the header that is not configured was read"
    found = located(_LOCATORS[kind], head)
    if found is not None:
        assert not _LOCATORS[kind].trusts(found)
        assert not (isinstance(found, IPv6Address) and found.ipv4_mapped)
    if kind == 0:
        assert found == _by_hand(",".join(values))
    for added in _ADDED[kind]:
        _check_spoofing(kind, values, added)


def located(locator: ClientLocator, head: RequestHead) -> Address | None:
    """Return the client's address, or None when the list was refused."""
    try:
        return locator.locate(head).address
    except Refusal as refusal:
        assert refusal.reason is Reason.FORWARDING_UNTRUSTED
        return None


def _check_spoofing(kind: int, values: list[str], added: str) -> None:
    """A proxy adds a line of its own, or goes on in the last one."""
    for as_added in ([*values, added], [*values[:-1], f"{values[-1]}, {added}"]):
        found = located(_LOCATORS[kind], _head(kind, as_added))
        assert found in {None, _CLIENT}, f"{found} in place of what the proxy added"


def _head(kind: int, values: list[str]) -> RequestHead:
    fields = tuple((_HEADERS[kind].value, value) for value in values)
    return RequestHead("POST", "/", Headers(fields), PROXY, datetime(2026, 1, 5, tzinfo=UTC))


def _by_hand(joined: str) -> Address | None:
    elements = joined.split(",")
    addresses = [_element(each.strip(" \t")) for each in elements]
    if None in addresses or len(elements) > _MOST_ELEMENTS:
        return None
    strangers = [each for each in addresses if each and not _LOCATORS[0].trusts(each)]
    return strangers[-1] if strangers else None


def _element(text: str) -> Address | None:
    host, port = text, "0"
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            return None
        port = rest[1:] if rest else "0"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
        if ":" in host:
            return None
    if not (port.isascii() and port.isdigit() and len(port) <= _LONGEST_PORT):
        return None
    if int(port) > 0xFFFF or (len(port) == _LONGEST_PORT and port[0] == "0"):
        return None
    return _address(host)


def _address(host: str) -> Address | None:
    try:
        address: IPv4Address | IPv6Address = ip_address(host)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return (
            None if address.scope_id is not None or "%" in host else address.ipv4_mapped or address
        )
    return address
