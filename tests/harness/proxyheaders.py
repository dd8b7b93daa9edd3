"""PROXY headers as a proxy writes them; those that a proxy would not write, too."""

from ipaddress import IPv4Address, IPv6Address

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")

_PORTS = (56324).to_bytes(2) + (443).to_bytes(2)


def v1(source: IPv4Address | IPv6Address, from_port: int = 56324, to_port: int = 443) -> bytes:
    """Return a line of version 1."""
    to = "10.0.0.1" if source.version == 4 else "2001:db8::1"
    return f"PROXY TCP{source.version} {source} {to} {from_port} {to_port}\r\n".encode()


def v2(source: IPv4Address | IPv6Address, tlvs: bytes = b"", command: int = 0x21) -> bytes:
    """Return a header of version 2 over TCP."""
    to = bytes(len(source.packed) - 1) + b"\x01"
    family = 0x11 if source.version == 4 else 0x21
    block = source.packed + to + _PORTS + tlvs
    return SIGNATURE + bytes((command, family)) + len(block).to_bytes(2) + block


def tlv(kind: int, value: bytes) -> bytes:
    """Return one addition to a header of version 2."""
    return bytes((kind,)) + len(value).to_bytes(2) + value


def with_checksum(source: IPv4Address | IPv6Address, *tlvs: bytes) -> bytes:
    """Return a header of version 2 whose first addition is its checksum."""
    blank = v2(source, tlv(0x03, bytes(4)) + b"".join(tlvs))
    at = 16 + (12 if source.version == 4 else 36) + 3
    return blank[:at] + _crc32c(blank).to_bytes(4) + blank[at + 4 :]


def _crc32c(data: bytes) -> int:
    """Return the checksum, bit by bit: slow, and nothing like the one under test."""
    register = (1 << 32) - 1
    for bit in (byte >> shift & 1 for byte in data for shift in range(8)):
        register = (register >> 1) ^ (0x82F63B78 if (register ^ bit) & 1 else 0)
    return register ^ ((1 << 32) - 1)
