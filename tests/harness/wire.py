"""Bytes over a real socket, PROXY headers, certificates: what is sent is exactly what is given."""

import asyncio
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# ---- requests and answers -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. `head` holds status line and header fields."""

    status: int
    head: str
    body: bytes

    def value(self, name: str) -> str | None:
        for line in self.head.split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None


def request(
    method: str, target: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
) -> bytes:
    """Return a request as bytes, with Host and Content-Length unless they are given."""
    fields = list(headers)
    names = {name.lower() for name, _ in fields}
    if "host" not in names:
        fields.insert(0, ("Host", "localhost"))
    if "content-length" not in names and "transfer-encoding" not in names:
        fields.append(("Content-Length", str(len(body))))
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


async def exchange(address: tuple[str, int], raw: bytes) -> Reply:
    """Send bytes on a new connection and return the first answer."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(raw)
        return await read_reply(reader)
    finally:
        writer.close()


async def read_reply(reader: asyncio.StreamReader, within: float = 15.0) -> Reply:
    """Read one answer with a Content-Length; a closed connection reads as status 0."""
    async with asyncio.timeout(within):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (asyncio.IncompleteReadError, ConnectionError):
            return Reply(0, "", b"")
        reply = Reply(int(head.split(" ", 2)[1]), head, b"")
        length = int(reply.value("Content-Length") or 0)
        return Reply(reply.status, head, await reader.readexactly(length))


# ---- PROXY headers --------------------------------------------------------------------------
# PROXY headers as a proxy writes them; those that a proxy would not write, too.

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")

_PORTS = (56324).to_bytes(2) + (443).to_bytes(2)


def proxy_v1(
    source: IPv4Address | IPv6Address, from_port: int = 56324, to_port: int = 443
) -> bytes:
    """Return a line of version 1."""
    to = "10.0.0.1" if source.version == 4 else "2001:db8::1"
    return f"PROXY TCP{source.version} {source} {to} {from_port} {to_port}\r\n".encode()


def proxy_v2(source: IPv4Address | IPv6Address, tlvs: bytes = b"", command: int = 0x21) -> bytes:
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
    blank = proxy_v2(source, tlv(0x03, bytes(4)) + b"".join(tlvs))
    at = 16 + (12 if source.version == 4 else 36) + 3
    return blank[:at] + _crc32c(blank).to_bytes(4) + blank[at + 4 :]


def _crc32c(data: bytes) -> int:
    """Return the checksum, bit by bit: slow, and nothing like the one under test."""
    register = (1 << 32) - 1
    for bit in (byte >> shift & 1 for byte in data for shift in range(8)):
        register = (register >> 1) ^ (0x82F63B78 if (register ^ bit) & 1 else 0)
    return register ^ ((1 << 32) - 1)


# ---- certificates ---------------------------------------------------------------------------


def self_signed(directory: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's context with a fresh certificate for this name, and a client's."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = directory / "certificate.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cafile=pem)


END = datetime(2027, 6, 1, tzinfo=UTC)


def write_pair(
    directory: Path, *, end: datetime = END, issuer: str = "some authority", phrase: bytes = b""
) -> tuple[Path, Path]:
    """Write `certificate.pem` for pay.example.com and `key.pem`; return their paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name("pay.example.com"))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=90))
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "certificate.pem", directory / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encryption = (
        serialization.BestAvailableEncryption(phrase) if phrase else serialization.NoEncryption()
    )
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )
    return paths


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
