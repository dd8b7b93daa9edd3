"""The PROXY header: never more is taken than the header, and it is read as a second reader does."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from relay.edge.proxy_protocol import (
    MAX_V1_LENGTH,
    MAX_V2_LENGTH,
    ProxyHeaderInvalid,
    bytes_missing,
    parse,
)

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_TCP4 = bytes([127, 0, 0, 1, 10, 0, 0, 9, 0x1F, 0x90, 0x01, 0xBB])
_TCP6 = bytes(15) + b"\x01" + bytes(10) + b"\xff\xff\xcb\x00\x71\x07" + b"\x1f\x90\x01\xbb"
_CHECKSUM: Final = 0x03
_CHECKSUM_TLV = 7

SEEDS = (
    b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\r\nGET / HTTP/1.1\r\n\r\n",
    b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n",
    b"PROXY TCP6 ::ffff:203.0.113.7 ::1 0 0\r\n\x16\x03\x01",
    b"PROXY UNKNOWN\r\n",
    b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
    _SIGNATURE + b"\x21\x11\x00\x0c" + _TCP4,
    _SIGNATURE + b"\x21\x21\x00\x24" + _TCP6 + b"GET",
    _SIGNATURE + b"\x21\x11\x00\x13" + _TCP4 + b"\x03\x00\x04\x00\x00\x00\x00",
    _SIGNATURE + b"\x21\x11\x00\x11" + _TCP4 + b"\x01\x00\x02h2",
    _SIGNATURE + b"\x21\x11\x00\x0f" + _TCP4 + b"\x04\x00\x00",
    _SIGNATURE + b"\x20\x00\x00\x00",
    _SIGNATURE + b"\x21\x00\x00\x04unix",
)
WORDS = (
    *(b"PROXY ", b"TCP4 ", b"TCP6 ", b"UNKNOWN", b"\r\n", b"65535", b"::ffff:", b"203.0.113.7"),
    *(_SIGNATURE, b"\x21\x11\x00\x0c", b"\x21\x21\x00\x24", b"\x20\x00", b"\x03\x00\x04", b"\x04"),
)


def check(data: bytes) -> None:
    """Take a header off the beginning of `data`, as a connection would."""
    header = _taken(data)
    if header is None:
        return
    refused(header + b"\x00")
    try:
        source = parse(header).source
    except ProxyHeaderInvalid as error:
        assert error.__cause__ is None
        return
    _check_every_beginning(header)
    assert source == _read(header)
    if isinstance(source, IPv6Address):
        assert source.ipv4_mapped is None
    if header.startswith(_SIGNATURE):
        _check_checksum(header)


def refused(header: bytes) -> None:
    """Check that this is no header."""
    try:
        parse(header)
    except ProxyHeaderInvalid:
        return
    raise AssertionError("taken for a header")


def _taken(data: bytes) -> bytes | None:
    """Read exactly what is asked for, until nothing more is; None when no header comes of it."""
    begun = b""
    try:
        while more := bytes_missing(begun):
            if len(begun) + more > len(data):
                refused(data)
                return None
            begun = data[: len(begun) + more]
    except ProxyHeaderInvalid:
        refused(begun)
        return None
    assert len(begun) <= (MAX_V1_LENGTH if begun.startswith(b"PROXY") else MAX_V2_LENGTH)
    return begun


def _check_every_beginning(header: bytes) -> None:
    for length in range(len(header)):
        begun = header[:length]
        assert 0 < bytes_missing(begun) <= len(header) - length
        refused(begun)


def _read(header: bytes) -> object:
    """Read a header that was taken, by another way."""
    if header.startswith(b"PROXY"):
        words = header.removesuffix(b"\r\n").decode("ascii", "replace").split(" ")
        if words[1] == "UNKNOWN":
            return None
        _, family, *addresses, near, far = words
        assert all(0 <= int(port) <= 0xFFFF and str(int(port)) == port for port in (near, far))
        source, destination = map(ip_address, addresses)
        assert f"TCP{source.version}" == f"TCP{destination.version}" == family
        return _unmapped(source)
    command, family_byte = header[12] & 0x0F, header[13]
    assert header[12] >> 4 == 2
    if command == 0 or family_byte == 0:
        return None
    lengths = {0x11: 4, 0x21: 16}
    return _unmapped(ip_address(header[16 : 16 + lengths[family_byte]]))


def _unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _check_checksum(header: bytes) -> None:
    """Add the right checksum, and a wrong one."""
    if header[12] & 0x0F == 0 or header[13] == 0 or len(header) + _CHECKSUM_TLV > MAX_V2_LENGTH:
        return
    at, kinds = 16 + (12 if header[13] == 0x11 else 36), []
    while at < len(header):
        kinds.append(header[at])
        at += 3 + int.from_bytes(header[at + 1 : at + 3])
    assert at == len(header)
    length = (len(header) - 16 + _CHECKSUM_TLV).to_bytes(2)
    longer = header[:14] + length + header[16:] + bytes([_CHECKSUM, 0, 4])
    if _CHECKSUM in kinds:
        return
    right = longer + _crc32c(longer + bytes(4)).to_bytes(4)
    assert parse(right).source == parse(header).source
    for byte in (0, 13, 17, len(header) - 1, len(right) - 1):
        refused(right[:byte] + bytes([right[byte] ^ 0x40]) + right[byte + 1 :])
    refused(right[:14] + (len(right) - 16 + 7).to_bytes(2) + right[16:] + right[-7:])


def _crc32c(data: bytes) -> int:
    """Divide bit by bit, without a table."""
    left = 0xFFFFFFFF
    for byte in data:
        left ^= byte
        for _ in range(8):
            left = left >> 1 ^ (0x82F63B78 if left & 1 else 0)
    return left ^ 0xFFFFFFFF
