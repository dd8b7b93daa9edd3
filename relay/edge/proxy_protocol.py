"""The PROXY protocol, versions 1 and 2: a strict parser, and reading a connection's header."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from relay.core.errors import Reason, Refusal
from relay.core.request import Address, Via
from relay.edge.connections import ConnectionErrors, Connections, PeerInfo, peer_info_of
from relay.ingest.client_address import unmap_ipv4

# ---- parsing --------------------------------------------------------------------------------
# By "The PROXY protocol", HAProxy, sections 2.1 and 2.2. No I/O, and strict: what the document does
# not allow is refused. Where it leaves a receiver free, only TCP is accepted: Unix sockets and
# datagrams bring no client here.

#: Bytes of a line of version 1 at most, its CRLF included (section 2.1).
MAX_V1_LENGTH: Final = 107

#: Bytes of a header of version 2 at most, addresses and TLVs included. The document promises
#: senders that 536 bytes, the smallest TCP segment, arrive at once (section 2.2).
MAX_V2_LENGTH: Final = 536

_START_V1 = b"PROXY "
_MIN_V1_LENGTH = len(b"PROXY UNKNOWN\r\n")
_LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\r\n]*)?|"
    rb"(?P<family>TCP[46]) (?P<source>[0-9A-Fa-f:.]+) (?P<destination>[0-9A-Fa-f:.]+)"
    rb" (?P<ports>[0-9]{1,5} [0-9]{1,5}))\r\n"
)
_MAX_PORT = 65535

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED_V2 = len(_SIGNATURE) + 4
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED = 0x00
_TCP4, _TCP6 = 0x11, 0x21
#: How long the two addresses with their ports are, by family.
_ADDRESS_BYTES = {_TCP4: 12, _TCP6: 36}

_TLV_HEAD = 3
_CRC32C = 0x03
_CRC32C_LENGTH = 4


class ProxyHeaderInvalid(ValueError):
    """The bytes are no PROXY header, nor the start of one. The message quotes none of them."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A parsed header. `source` is the client's address, IPv4-mapped ones as IPv4.

    It is None where the header names no client (LOCAL, UNKNOWN, UNSPEC): the address of the socket
    stands.
    """

    source: Address | None


def is_proxy_header(data: bytes) -> bool:
    """Return whether the bytes start like a PROXY header, valid or not."""
    return data.startswith((_START_V1, _SIGNATURE))


def bytes_missing(received: bytes) -> int:
    """Return how many bytes can be read without reading past the header's end; 0 at its end.

    What follows the header belongs to TLS or HTTP, so never more than this is read at once.

    Raises:
        ProxyHeaderInvalid: the bytes are not the start of a header.
    """
    if _START_V1.startswith(received[: len(_START_V1)]):
        return _bytes_missing_v1(received)
    if _SIGNATURE.startswith(received[: len(_SIGNATURE)]):
        return _bytes_missing_v2(received)
    raise ProxyHeaderInvalid("no PROXY header")


def parse(header: bytes) -> ProxyHeader:
    """Parse exactly one whole header.

    Raises:
        ProxyHeaderInvalid: the bytes are less, more or anything else.
    """
    if bytes_missing(header):
        raise ProxyHeaderInvalid("the header is cut short")
    return _parse_v1(header) if header.startswith(_START_V1) else _parse_v2(header)


# ---- version 1 ------------------------------------------------------------------------------


def _bytes_missing_v1(received: bytes) -> int:
    if len(received) <= MAX_V1_LENGTH and received.find(b"\r\n") == len(received) - 2 >= 0:
        return 0
    # The last byte may be the CR of the end; any other CR or LF is out of place.
    if b"\n" in received or b"\r" in received[:-1]:
        raise ProxyHeaderInvalid("the line does not end in CRLF")
    least = 1 if received.endswith(b"\r") else 2
    if len(received) + least > MAX_V1_LENGTH:
        raise ProxyHeaderInvalid(f"the line is longer than {MAX_V1_LENGTH} bytes")
    return max(least, _MIN_V1_LENGTH - len(received))


def _parse_v1(line: bytes) -> ProxyHeader:
    found = _LINE.fullmatch(line)
    if found is None:
        raise ProxyHeaderInvalid("the line is not of version 1")
    if found["family"] is None:
        return ProxyHeader(None)
    for port in found["ports"].split(b" "):
        if int(port) > _MAX_PORT or (port.startswith(b"0") and port != b"0"):
            raise ProxyHeaderInvalid("a port is not written as one")
    kind = IPv4Address if found["family"] == b"TCP4" else IPv6Address
    try:
        source, _ = (kind(found[each].decode("ascii")) for each in ("source", "destination"))
    except AddressValueError:
        # The cause would quote the address, which may be anything.
        raise ProxyHeaderInvalid("an address is not one of its family") from None
    return ProxyHeader(unmap_ipv4(source))


# ---- version 2 ------------------------------------------------------------------------------


def _bytes_missing_v2(received: bytes) -> int:
    if len(received) < _FIXED_V2:
        return _FIXED_V2 - len(received)
    _check_fixed(received)
    length = _FIXED_V2 + int.from_bytes(received[14:16])
    if length > MAX_V2_LENGTH:
        raise ProxyHeaderInvalid(f"the header is longer than {MAX_V2_LENGTH} bytes")
    if len(received) > length:
        raise ProxyHeaderInvalid("more than the header")
    return length - len(received)


def _check_fixed(received: bytes) -> None:
    """Check bytes 13 to 16, before the rest has come."""
    command, family, length = received[12], received[13], int.from_bytes(received[14:16])
    if command not in (_LOCAL, _PROXY):
        raise ProxyHeaderInvalid("neither LOCAL nor PROXY of version 2")
    if command == _LOCAL or family == _UNSPECIFIED:
        return
    if family not in _ADDRESS_BYTES:
        raise ProxyHeaderInvalid("not TCP over IPv4 or IPv6")
    if length < _ADDRESS_BYTES[family]:
        raise ProxyHeaderInvalid("too short for its addresses")


def _parse_v2(header: bytes) -> ProxyHeader:
    command, family = header[12], header[13]
    if command == _LOCAL or family == _UNSPECIFIED:
        # The block is discarded, whatever it holds (section 2.2).
        return ProxyHeader(None)
    end = _FIXED_V2 + _ADDRESS_BYTES[family]
    _check_tlvs(header, end)
    if family == _TCP4:
        return ProxyHeader(IPv4Address(header[16:20]))
    return ProxyHeader(unmap_ipv4(IPv6Address(header[16:32])))


def _check_tlvs(header: bytes, at: int) -> None:
    """Check that the TLVs fill the header exactly, and the checksum if there is one."""
    checked = False
    while at < len(header):
        value = at + _TLV_HEAD
        end = value + int.from_bytes(header[at + 1 : value])
        if end > len(header) or value > len(header):
            raise ProxyHeaderInvalid("an addition is cut short")
        if header[at] == _CRC32C:
            if checked or end - value != _CRC32C_LENGTH:
                raise ProxyHeaderInvalid("not one checksum of four bytes")
            checked = True
            summed = header[:value] + bytes(_CRC32C_LENGTH) + header[end:]
            if crc32c(summed) != int.from_bytes(header[value:end]):
                raise ProxyHeaderInvalid("the checksum is wrong")
        at = end


def crc32c(data: bytes) -> int:
    """Return the Castagnoli checksum (RFC 4960, appendix B)."""
    register = 0xFFFFFFFF
    for byte in data:
        register = _TABLE[(register ^ byte) & 0xFF] ^ (register >> 8)
    return register ^ 0xFFFFFFFF


def _entry(number: int) -> int:
    for _ in range(8):
        number = (number >> 1) ^ (0x82F63B78 if number & 1 else 0)
    return number


_TABLE = tuple(map(_entry, range(256)))

# ---- reading it from a connection -----------------------------------------------------------
# Only from a trusted proxy, with a short deadline. Exactly the header is read: what follows it
# belongs to TLS or HTTP.


class ProxyHeaderReaders:
    """Factory of the `ProxyHeaderReader` of each connection to one listener.

    pending: connections whose header is still being read.
    """

    def __init__(
        self,
        *,
        trusts: Callable[[Address], bool],
        connections: Connections,
        errors: ConnectionErrors,
        timeout: float,
        inner: Callable[[PeerInfo], asyncio.BaseProtocol],
    ) -> None:
        """Take the parts.

        trusts: returns whether this address is a trusted proxy. timeout: seconds for a whole
            header. inner: makes the protocol that follows the header.
        """
        self.trusts = trusts
        self.connections = connections
        self.errors = errors
        self.timeout = timeout
        self.inner = inner
        self.pending: set[asyncio.Transport] = set()

    def __call__(self) -> "ProxyHeaderReader":
        return ProxyHeaderReader(self)

    def close(self) -> None:
        """Abort the connections whose header has not been read."""
        for transport in tuple(self.pending):
            transport.abort()


class ProxyHeaderReader(asyncio.BufferedProtocol):
    """Reads the PROXY header of one connection, then replaces itself by the inner protocol."""

    def __init__(self, factory: ProxyHeaderReaders) -> None:
        self._factory = factory
        self._received = b""
        self._buffer = bytearray()
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP has no other
        self._transport = transport
        self._proxy = peer_info_of(transport).address
        if not self._factory.trusts(self._proxy):
            self._reject(_invalid("from an address that is not in trusted_proxies"))
            return
        if not self._factory.connections.add(self._proxy):
            self._factory.connections.remove(self._proxy)
            self._reject(Refusal(Reason.TOO_MANY_CONNECTIONS))
            return
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._factory.timeout, self._timed_out)
        self._factory.pending.add(transport)

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - the header has its own
        self._buffer = bytearray(bytes_missing(self._received))
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._received += self._buffer[:nbytes]
        try:
            if bytes_missing(self._received):
                return
            header = parse(self._received)
        except ProxyHeaderInvalid as invalid:
            self._uncount()
            self._reject(_invalid(str(invalid)))
        else:
            self._uncount()
            self._hand_over(header)

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002 - it is over
        # A balancer that only looks whether the port is open says nothing at all.
        if self._uncount() and self._received:
            self._reject(_invalid("the connection ended inside the header"))

    def _hand_over(self, header: ProxyHeader) -> None:
        if header.source is None:
            peer_info = PeerInfo(self._proxy, forwards=False)
        else:
            peer_info = PeerInfo(header.source, Via.PROXY)
        protocol = self._factory.inner(peer_info)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)

    def _uncount(self) -> bool:
        """Stop counting the connection and its deadline; return False when it was not counted."""
        if self._deadline is None:
            return False
        self._deadline.cancel()
        self._deadline = None
        self._factory.pending.discard(self._transport)
        self._factory.connections.remove(self._proxy)
        return True

    def _timed_out(self) -> None:
        self._uncount()
        self._reject(_invalid("no whole header in time"))

    def _reject(self, refusal: Refusal) -> None:
        """Record the refusal and close without an answer: TLS or HTTP has not started yet."""
        self._factory.errors.refuse(self._proxy, refusal)
        self._transport.abort()


def _invalid(detail: str) -> Refusal:
    return Refusal(Reason.PROXY_HEADER_INVALID, detail)
