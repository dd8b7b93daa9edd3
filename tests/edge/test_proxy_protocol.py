"""The PROXY header is read to the letter, to its last byte, and never past it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.allowlist import Mode
from relay.edge.listener import Listener
from relay.edge.proxy_protocol import (
    MAX_V1_LENGTH,
    MAX_V2_LENGTH,
    ProxyHeader,
    ProxyHeaderInvalid,
    bytes_missing,
    crc32c,
    is_proxy_header,
    parse,
)
from relay.edge.tls import server_context
from relay.spool.history import Query
from tests.harness.clock import run_loop_until
from tests.harness.edge import RunningEdge, genuine_request, running_edge
from tests.harness.wire import (
    SIGNATURE,
    proxy_v1,
    proxy_v2,
    read_reply,
    request,
    self_signed,
    tlv,
    with_checksum,
)

CLIENT = ip_address("103.208.23.6")
SIX = ip_address("2001:db8::6")
NOBODY = ProxyHeader(None)


def test_what_is_meant_as_a_header_is_known_by_its_beginning() -> None:
    assert is_proxy_header(b"PROXY nonsense")
    assert is_proxy_header(SIGNATURE)
    assert not is_proxy_header(SIGNATURE[:-1])
    assert not is_proxy_header(b"POST / HTTP/1.1")


def arrive(stream: bytes, most: int = 2**16) -> tuple[bytes, bytes]:
    """Read a header from a stream as the gate does; return it, and what was left unread."""
    begun = b""
    while left := bytes_missing(begun):
        assert left > 0
        taken = stream[: min(left, most)]
        if not taken:
            raise EOFError
        begun, stream = begun + taken, stream[len(taken) :]
    return begun, stream


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"PROXY TCP4 103.208.23.6 10.0.0.1 56324 443\r\n", CLIENT),
        (b"PROXY TCP4 103.208.23.6 10.0.0.1 0 65535\r\n", CLIENT),
        (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"),
        (b"PROXY TCP6 2001:db8::6 ::1 56324 443\r\n", SIX),
        (b"PROXY TCP6 2001:DB8::6 ::1 56324 443\r\n", SIX),
        (b"PROXY TCP6 2001:0db8:0000:0000:0000:0000:0000:0006 ::1 1 2\r\n", SIX),
        # An IPv4 client on a listener for both: it is that IPv4 client.
        (b"PROXY TCP6 ::ffff:103.208.23.6 ::ffff:10.0.0.1 1 2\r\n", CLIENT),
        (b"PROXY TCP6 ::ffff:67d0:1706 ::1 1 2\r\n", CLIENT),
        # No other embedding is.
        (b"PROXY TCP6 64:ff9b::67d0:1706 ::1 1 2\r\n", "64:ff9b::67d0:1706"),
        (b"PROXY TCP6 ::103.208.23.6 ::1 1 2\r\n", "::67d0:1706"),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN \r\n", None),
        (b"PROXY UNKNOWN whatever \x00\xff stands here\r\n", None),
        (b"PROXY UNKNOWN" + b" ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" * 2 + b" 1 2\r\n", None),
    ],
)
def test_version_1(line: bytes, found: str | IPv4Address | IPv6Address | None) -> None:
    assert parse(line) == ProxyHeader(None if found is None else ip_address(found))


GOOD_V1 = b"PROXY TCP4 103.208.23.6 10.0.0.1 56324 443\r\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        *((b"PROXY", word) for word in (b"proxy", b"Proxy", b" PROXY", b"PROXY:", b"XPROXY", b"")),
        *((b"TCP4", word) for word in (b"TCP6", b"tcp4", b"TCP5", b"TCP", b"UDP4", b"UNIX", b"")),
        *((b" TCP4", word) for word in (b"  TCP4", b"\tTCP4", b" TCP4 ", b"TCP4", b"\x00TCP4")),
        *((b" 443", word) for word in (b"  443", b" 443 ", b"\t443", b"", b" ", b" 443 1")),
        *((b" 443", word) for word in (b" 0443", b" 00", b" +443", b" -1", b" 65536", b" 99999")),
        *((b" 443", word) for word in (b" 0x1bb", b" 443a", b" 4 3", b" 100000", b" \xb2")),
        *((b"56324", word) for word in (b"056324", b"65536", b"", b"x", b"70000", b"01")),
        *((b"6 10", word) for word in (b"6  10", b"6\t10", b"610", b"6,10", b"6/32 10")),
        *((b".6 ", word) for word in (b".06 ", b".006 ", b".256 ", b". ", b" ", b".6.1 ", b".6. ")),
        *((b"103.", word) for word in (b"0103.", b"0x67.", b".", b"+103.", b"103..", b"1 03.")),
        *((b"103.", word) for word in (b"\xd9\xa1.", b"-103.", b"103%.", b"[103.", b"::ffff:103.")),
        *((b"10.0.0.1", word) for word in (b"10.0.0.01", b"10.1", b"10.0.0.256", b"::1", b"host")),
        *((b"103.208.23.6", word) for word in (b"::1", b"unknown", b"1741690630", b"2001:db8::6")),
        *((b"\r\n", word) for word in (b"\n", b"\r", b"\n\r", b"\r\r\n", b"\r \n", b"\x00\r\n")),
        *((b"\r\n", word) for word in (b" \r\n", b"\r\nX", b"\r\n\r\n", b"", b"\r\x00\n")),
    ],
)
def test_what_is_not_version_1(old: bytes, new: bytes) -> None:
    assert old in GOOD_V1
    refused(GOOD_V1.replace(old, new, 1))


@pytest.mark.parametrize(
    "address",
    [
        *("1::2::3", ":::", "12345::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "::1%eth0", "[::1]"),
        *("::g", "::ffff:1.2.3", "::ffff:1.2.3.04", "::ffff:1.2.3.256", "1.2.3.4", "::1/128", ":1"),
        *("00001::", "::1.2.3.4:5", "1:2:3:4:5:6:7::8:9", "", "::ffff:0x1.2.3.4"),
    ],
)
@pytest.mark.parametrize("side", ["{} ::1", "::1 {}"])
def test_what_is_no_ipv6_address(address: str, side: str) -> None:
    refused(f"PROXY TCP6 {side.format(address)} 1 2\r\n".encode())


def test_a_line_may_be_107_bytes_and_no_more() -> None:
    longest = b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n"
    assert len(longest) == MAX_V1_LENGTH
    assert parse(longest) == NOBODY
    refused(longest.replace(b"xx", b"xxx", 1))
    refused(b"PROXY UNKNOWN " + b"x" * 92 + b"\r")


FOUR = proxy_v2(CLIENT)
SIXES = proxy_v2(SIX)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (FOUR, CLIENT),
        (SIXES, SIX),
        (proxy_v2(ip_address("::ffff:103.208.23.6")), CLIENT),
        (proxy_v2(ip_address("64:ff9b::67d0:1706")), ip_address("64:ff9b::67d0:1706")),
        (proxy_v2(CLIENT, tlv(0x04, b"") + tlv(0x02, b"pay.example.com")), CLIENT),
        (proxy_v2(CLIENT, tlv(0xEA, b"\x01vpce-08d2bf15fac5001c9")), CLIENT),
        (proxy_v2(CLIENT, tlv(0x04, bytes(MAX_V2_LENGTH - 28 - 3))), CLIENT),
        (with_checksum(CLIENT), CLIENT),
        (with_checksum(SIX, tlv(0x05, b"id"), tlv(0x04, bytes(9))), SIX),
        # LOCAL: whatever else it says is discarded.
        (SIGNATURE + b"\x20\x00\x00\x00", None),
        (SIGNATURE + b"\x20\xff\x00\x03abc", None),
        (proxy_v2(CLIENT, command=0x20), None),
        (proxy_v2(CLIENT, tlv(0x03, b"oops"), command=0x20), None),
        (SIGNATURE + b"\x20\x11\x00\x00", None),
        # UNSPEC: likewise.
        (SIGNATURE + b"\x21\x00\x00\x00", None),
        (SIGNATURE + b"\x21\x00\x00\x0c" + bytes(12), None),
    ],
)
def test_version_2(header: bytes, found: IPv4Address | IPv6Address | None) -> None:
    assert parse(header) == ProxyHeader(found)


@pytest.mark.parametrize("command", sorted({*range(256)} - {0x20, 0x21}))
def test_no_other_version_or_command(command: int) -> None:
    refused(proxy_v2(CLIENT, command=command))


@pytest.mark.parametrize("family", sorted({*range(256)} - {0x00, 0x11, 0x21}))
def test_no_other_family(family: int) -> None:
    for length in (0, 12, 36, 216):
        block = bytes(length)
        refused(SIGNATURE + bytes((0x21, family)) + length.to_bytes(2) + block)


@pytest.mark.parametrize("at", range(12))
def test_every_byte_of_the_signature_counts(at: int) -> None:
    for other in {*range(256)} - {SIGNATURE[at]}:
        refused(FOUR[:at] + bytes((other,)) + FOUR[at + 1 :])


def lengthened(header: bytes, length: int) -> bytes:
    return header[:14] + length.to_bytes(2) + header[16:]


@pytest.mark.parametrize(
    "header",
    [
        *(lengthened(FOUR, length) for length in range(12)),
        *(lengthened(SIXES, length) for length in range(36)),
        # bytes that are no whole addition
        *(proxy_v2(CLIENT, bytes(length)) for length in (1, 2)),
        proxy_v2(CLIENT, b"\x04\x00\x01"),
        proxy_v2(CLIENT, b"\x04\xff\xffabc"),
        proxy_v2(CLIENT, tlv(0x04, b"abc") + b"\x04"),
        proxy_v2(CLIENT, tlv(0x04, b"abc")[:-1]),
        # checksums
        proxy_v2(CLIENT, tlv(0x03, bytes(4))),
        proxy_v2(CLIENT, tlv(0x03, bytes(3))),
        proxy_v2(CLIENT, tlv(0x03, bytes(5))),
        proxy_v2(CLIENT, tlv(0x03, b"")),
        with_checksum(CLIENT, tlv(0x05, b"id")).replace(b"id", b"iD"),
    ],
)
def test_lengths_and_checksums_are_checked(header: bytes) -> None:
    refused(header)


def test_two_checksums_are_refused_though_the_first_be_right() -> None:
    # The first covers the second, whose own bytes then decide nothing.
    refused(with_checksum(CLIENT, tlv(0x03, bytes(4))))


def test_what_is_too_long_is_refused_before_it_is_waited_for() -> None:
    for length in (MAX_V2_LENGTH - 15, 1000, 65535):
        with pytest.raises(ProxyHeaderInvalid):
            bytes_missing(lengthened(FOUR, length)[:16])


@pytest.mark.parametrize("header", [GOOD_V1, b"PROXY UNKNOWN\r\n", FOUR, SIXES, with_checksum(SIX)])
def test_byte_by_byte(header: bytes) -> None:
    for cut in range(len(header)):
        assert bytes_missing(header[:cut]) > 0
        with pytest.raises(ProxyHeaderInvalid):
            parse(header[:cut])
    for most in (1, 2, 3, 7, 2**16):
        assert arrive(header + b"\r\n\x16POST", most) == (header, b"\r\n\x16POST")
    with pytest.raises(EOFError):
        arrive(header[:-1])


@pytest.mark.parametrize(
    "stream",
    [
        *(
            b"GET / HTTP/1.1\r\n",
            b"\x16\x03\x01\x02\x00",
            b"\r\n\r\nGET",
            b"P\r\n",
            b"\x00",
            b"PROXY",
        ),
        *(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"PROXYTCP4 1.1.1.1", b"PROXY \n", b"PROXY \r\r"),
    ],
)
def test_what_is_none_is_known_early(stream: bytes) -> None:
    with pytest.raises((ProxyHeaderInvalid, EOFError)):
        arrive(stream)


addresses = st.ip_addresses()
ports = st.integers(0, 65535)


@given(addresses, ports, ports, st.binary(max_size=20))
def test_round_trip_of_version_1(
    source: IPv4Address | IPv6Address, one: int, two: int, rest: bytes
) -> None:
    header, left = arrive(proxy_v1(source, one, two) + rest)
    assert left == rest
    assert parse(header) == ProxyHeader(unmapped(source))


kinds = st.integers(0, 255).filter(lambda kind: kind != 0x03)
additions = st.lists(st.builds(tlv, kinds, st.binary(max_size=40)), max_size=5)


@given(addresses, additions, st.booleans(), st.binary(max_size=20))
def test_round_trip_of_version_2(
    source: IPv4Address | IPv6Address, tlvs: list[bytes], summed: bool, rest: bytes
) -> None:
    whole = with_checksum(source, *tlvs) if summed else proxy_v2(source, b"".join(tlvs))
    header, left = arrive(whole + rest)
    assert (header, left) == (whole, rest)
    assert parse(header) == ProxyHeader(unmapped(source))


@given(addresses, additions, st.data())
def test_a_checksum_finds_every_changed_byte(
    source: IPv4Address | IPv6Address, tlvs: list[bytes], data: st.DataObject
) -> None:
    header = with_checksum(source, *tlvs)
    # From here on the changed byte is no other header, only a damaged one.
    at = data.draw(st.integers(16, 27))
    bit = data.draw(st.integers(0, 7))
    refused(header[:at] + bytes((header[at] ^ (1 << bit),)) + header[at + 1 :])


def around(header: bytes) -> Iterator[bytes]:
    """Yield the header with each of its bytes changed, left out, and twice."""
    for at, byte in enumerate(header):
        for other in (0, 10, 13, 32, 48, 127, 255, byte ^ 1, byte ^ 32):
            yield header[:at] + bytes((other,)) + header[at + 1 :]
        yield header[:at] + header[at + 1 :]
        yield header[:at] + bytes((byte,)) + header[at:]


@pytest.mark.parametrize("header", [GOOD_V1, FOUR, SIXES, with_checksum(SIX, tlv(5, b"id"))])
def test_what_is_damaged_is_refused_or_read_and_nothing_else(header: bytes) -> None:
    for damaged in around(header):
        try:
            read, _ = arrive(damaged)
            found = parse(read)
        except (ProxyHeaderInvalid, EOFError):
            continue
        # What still is a header is no longer than was looked at, and says one thing.
        assert damaged.startswith(read)
        assert parse(read) == found


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE]))
def test_no_bytes_raise_anything_else(noise: bytes, begin: bytes) -> None:
    try:
        parse(arrive(begin + noise)[0])
    except (ProxyHeaderInvalid, EOFError):
        return


def test_the_checksum_is_the_one_of_the_standard() -> None:
    # RFC 3720, appendix B.4.
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"123456789") == 0xE3069283


def test_the_message_quotes_nothing() -> None:
    for bad in (b"PROXY TCP4 secret 1.1.1.1 1 1\r\n", b"PROXY TCP6 ::5ec 1.1.1.1 1 1\r\n"):
        with pytest.raises(ProxyHeaderInvalid) as caught:
            parse(bad)
        assert "sec" not in str(caught.value)
        assert "5ec" not in str(caught.value)


def unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def refused(header: bytes) -> None:
    """Check that neither the gate nor the parser takes this for exactly one header."""
    with pytest.raises(ProxyHeaderInvalid):
        parse(header)


# ---- reading it off a connection ------------------------------------------------------------
# A listener for the PROXY protocol hears trusted proxies only, and believes what they say.

#: The address that the harness' endpoint allows, and another.
ALLOWED, STRANGER = ip_address("127.0.0.1"), ip_address("203.0.113.66")
#: Where the proxy of these tests stands.
PROXY = "127.0.0.2"
PLAIN = Listener("127.0.0.1", 0, proxy_protocol=True)


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[RunningEdge]:
    async with running_edge(tmp_path, listener=PLAIN, trusted=[PROXY]) as running:
        yield running


async def connect(
    edge: RunningEdge, came_from: str = PROXY
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*edge.address, local_addr=(came_from, 0))


async def statuses(edge: RunningEdge, *raws: bytes, came_from: str = PROXY) -> list[int]:
    """Send each as a connection of its own; a closed one reads as 0."""
    found = []
    for raw in raws:
        reader, writer = await connect(edge, came_from)
        writer.write(raw)
        found.append((await read_reply(reader)).status)
        writer.close()
    return found


def told(edge: RunningEdge) -> list[tuple[str | None, ...]]:
    """Return peer, client and how it was found, of every line."""
    fields = ("peer", "client", "client_via")
    return [tuple(line.get(each) for each in fields) for line in edge.lines()]


@pytest.mark.parametrize("header", [proxy_v1, proxy_v2, with_checksum])
async def test_the_client_is_who_the_proxy_says(header: object, edge: RunningEdge) -> None:
    assert callable(header)
    sent = [header(ALLOWED), header(ip_address("::ffff:127.0.0.1")), header(STRANGER)]
    found = await statuses(edge, *(each + genuine_request() for each in sent))
    assert found == [200, 200, 403]
    allowed = ("127.0.0.1", "127.0.0.1", "proxy")
    assert told(edge) == [allowed, allowed, ("203.0.113.66", "203.0.113.66", "proxy")]


NAMELESS = [
    b"PROXY UNKNOWN\r\n",
    b"PROXY UNKNOWN 127.0.0.1 127.0.0.1 1 2\r\n",
    SIGNATURE + b"\x20\0\0\0",
    SIGNATURE + b"\x20\x11\0\x0c" + ALLOWED.packed * 2 + bytes(4),
    SIGNATURE + b"\x21\0\0\0",
]


@pytest.mark.parametrize("header", NAMELESS)
@pytest.mark.parametrize("mode", Mode)
async def test_a_proxy_that_speaks_for_nobody_is_told_its_health_and_delivers_nothing(
    header: bytes, mode: Mode, tmp_path: Path
) -> None:
    # The proxy's own address is allowed, as it may be where it stands on the provider's side.
    async with running_edge(tmp_path, listener=PLAIN, trusted=["127.0.0.1"], mode=mode) as edge:
        health = header + request("GET", "/healthz")
        # Nor does it forward for anybody: its clients could write this header themselves.
        forwarded = genuine_request().replace(b"Host", b"X-Forwarded-For: 127.0.0.1\r\nHost")
        raws = (health, header + genuine_request(), header + forwarded)
        assert await statuses(edge, *raws, came_from="127.0.0.1") == [200, 403, 403]
        assert (await edge.spool.page(Query())).records == ()
        lines = edge.lines()
    found = {(line["endpoint"], line["reason"], line["detail"]) for line in lines}
    assert found == {("midtrans", "forwarding_untrusted", "the PROXY header names no client")}


async def test_the_proxy_before_the_proxy_forwards(tmp_path: Path) -> None:
    inner = ip_address("10.0.0.7")
    async with running_edge(tmp_path, listener=PLAIN, trusted=[PROXY, str(inner)]) as edge:
        for name, value, status in (
            ("X-Forwarded-For", "203.0.113.1, 127.0.0.1", 200),
            ("X-Forwarded-For", "127.0.0.1, 203.0.113.1", 403),
            ("X-Other", "127.0.0.1", 403),
        ):
            field = f"{name}: {value}\r\nHost".encode()
            raw = proxy_v2(inner) + genuine_request().replace(b"Host", field)
            assert await statuses(edge, raw) == [status]
        assert told(edge) == [
            ("10.0.0.7", "127.0.0.1", "x-forwarded-for"),
            ("10.0.0.7", "203.0.113.1", "x-forwarded-for"),
            ("10.0.0.7", None, None),
        ]


async def test_connections_are_kept_with_their_client(edge: RunningEdge) -> None:
    reader, writer = await connect(edge)
    # Header and requests arrive in one piece, or in as many as they have bytes.
    for byte in proxy_v2(ALLOWED) + genuine_request():
        writer.write(bytes((byte,)))
        await writer.drain()
    assert (await read_reply(reader)).status == 200
    writer.write(genuine_request())
    assert (await read_reply(reader)).status == 200
    writer.close()
    assert set(told(edge)) == {("127.0.0.1", "127.0.0.1", "proxy")}


BAD = [
    genuine_request(),
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    b"PROXY TCP4 127.0.0.1 127.0.0.1 1\r\n" + genuine_request(),
    b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\n" + genuine_request(),
    proxy_v2(ALLOWED, command=0x11) + genuine_request(),
    proxy_v2(ALLOWED, tlv(0x03, bytes(4))) + genuine_request(),
    SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216) + genuine_request(),
    SIGNATURE + b"\x21\x11\xff\xff",
]


@pytest.mark.parametrize("raw", BAD)
async def test_what_is_no_header_is_closed_without_an_answer(raw: bytes, edge: RunningEdge) -> None:
    assert await nothing_comes(edge, raw)
    await run_loop_until(lambda: len(edge.connections) == 0)
    (line,) = edge.lines()
    assert (line["reason"], line["peer"]) == ("proxy_header_invalid", PROXY)


async def nothing_comes(edge: RunningEdge, raw: bytes, came_from: str = PROXY) -> bool:
    reader, writer = await connect(edge, came_from)
    writer.write(raw)
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True
    finally:
        writer.close()


async def test_a_stranger_cannot_say_who_he_is(edge: RunningEdge) -> None:
    for raw in (
        proxy_v1(ALLOWED),
        proxy_v2(ALLOWED),
        b"PROXY UNKNOWN\r\n",
        b"",
        proxy_v1(ip_address(PROXY)),
    ):
        assert await nothing_comes(edge, raw + genuine_request(), came_from="127.0.0.3")
    await run_loop_until(lambda: len(edge.connections) == 0)
    found = {(line["reason"], line["peer"], line["detail"]) for line in edge.lines()}
    detail = "from an address that is not in trusted_proxies"
    assert found == {("proxy_header_invalid", "127.0.0.3", detail)}


async def test_a_second_header_is_no_request(edge: RunningEdge) -> None:
    raw = proxy_v1(STRANGER) + proxy_v1(ALLOWED) + genuine_request()
    assert await statuses(edge, raw) == [400]


async def test_without_the_protocol_a_header_is_no_request(tmp_path: Path) -> None:
    async with running_edge(tmp_path, trusted=[PROXY]) as edge:
        raws = (proxy_v1(ALLOWED) + genuine_request(), proxy_v2(ALLOWED) + genuine_request())
        assert await statuses(edge, *raws) == [400, 400]


@pytest.mark.parametrize("begun", [b"", b"PROX", b"PROXY TCP4 ", proxy_v2(ALLOWED)[:-1]])
async def test_a_header_that_does_not_end_is_timed_out(begun: bytes, tmp_path: Path) -> None:
    async with running_edge(tmp_path, seconds=0.1, listener=PLAIN, trusted=[PROXY]) as edge:
        assert await nothing_comes(edge, begun)
        await run_loop_until(lambda: len(edge.connections) == 0)
        (line,) = edge.lines()
        assert (line["reason"], line["detail"]) == (
            "proxy_header_invalid",
            "no whole header in time",
        )


async def test_only_a_connection_that_said_something_is_a_complaint(edge: RunningEdge) -> None:
    for begun in (b"", b"PROXY TCP4"):
        _, writer = await connect(edge)
        await run_loop_until(lambda: len(edge.connections) == 1)
        writer.write(begun)
        writer.close()
        await run_loop_until(lambda: len(edge.connections) == 0)
    (line,) = edge.lines()
    assert line["detail"] == "the connection ended inside the header"


async def test_the_limit_is_the_clients_not_the_proxys(tmp_path: Path) -> None:
    async with running_edge(
        tmp_path, connections=5, per_address=1, listener=PLAIN, trusted=[PROXY]
    ) as edge:
        opened = []
        for client, status in (
            (ALLOWED, 200),
            (STRANGER, 403),
            (ALLOWED, 502),
            (ip_address("203.0.113.67"), 403),
        ):
            reader, writer = await connect(edge)
            writer.write(proxy_v2(client) + genuine_request())
            assert (await read_reply(reader)).status == status
            opened.append(writer)
        for writer in opened:
            writer.close()
        await run_loop_until(lambda: len(edge.connections) == 0)


async def test_connections_that_say_nothing_count_too(tmp_path: Path) -> None:
    async with running_edge(tmp_path, connections=2, listener=PLAIN, trusted=[PROXY]) as edge:
        silent = [await connect(edge) for _ in range(2)]
        await run_loop_until(lambda: len(edge.connections) == 2)
        assert await nothing_comes(edge, proxy_v2(ALLOWED))
        for _, writer in silent:
            writer.close()
        await run_loop_until(lambda: len(edge.connections) == 0)
        assert [line["reason"] for line in edge.lines()] == ["too_many_connections"]


async def test_the_stop_does_not_wait_for_a_header(tmp_path: Path) -> None:
    async with running_edge(tmp_path, seconds=30, listener=PLAIN, trusted=[PROXY]) as edge:
        _, writer = await connect(edge)
        await run_loop_until(lambda: len(edge.connections) == 1)
    await run_loop_until(lambda: len(edge.connections) == 0)
    writer.close()


# ---- with TLS behind it ---------------------------------------------------------------------


@pytest.fixture
def client(tmp_path: Path) -> ssl.SSLContext:
    return self_signed(tmp_path, "pay.example.com")[1]


@pytest.fixture
def secure(tmp_path: Path, client: ssl.SSLContext) -> Listener:
    pem = tmp_path / "certificate.pem"
    return Listener("127.0.0.1", 0, server_context(pem, pem), proxy_protocol=True)


@pytest.mark.parametrize("header", [proxy_v1(ALLOWED), proxy_v2(ALLOWED, tlv(0x04, bytes(99)))])
async def test_tls_begins_right_behind_the_header(
    header: bytes, tmp_path: Path, secure: Listener, client: ssl.SSLContext
) -> None:
    async with running_edge(tmp_path, listener=secure, trusted=[PROXY]) as edge:
        # The header and the greeting of TLS in one segment: what was read too far would be lost.
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = client.wrap_bio(incoming, outgoing, server_hostname="pay.example.com")
        with pytest.raises(ssl.SSLWantReadError):
            session.do_handshake()
        reader, writer = await connect(edge)
        writer.write(header + outgoing.read())
        answer = await through(session, incoming, outgoing, reader, writer)
        assert answer.startswith(b"HTTP/1.1 200")
        writer.close()
        await run_loop_until(lambda: len(edge.connections) == 0)
        assert told(edge) == [("127.0.0.1", "127.0.0.1", "proxy")]


async def through(
    session: ssl.SSLObject,
    incoming: ssl.MemoryBIO,
    outgoing: ssl.MemoryBIO,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> bytes:
    """Finish the handshake, send a delivery, and return the answer."""
    steps: list[Callable[[], object]] = [
        session.do_handshake,
        lambda: session.write(genuine_request()),
        session.read,
    ]
    found: object = b""
    while steps:
        try:
            found = steps[0]()
            steps.pop(0)
        except ssl.SSLWantReadError:
            writer.write(outgoing.read())
            incoming.write(await reader.read(2**16))
    assert isinstance(found, bytes)
    return found


async def test_a_handshake_counts_for_the_client(tmp_path: Path, secure: Listener) -> None:
    async with running_edge(
        tmp_path, per_address=1, seconds=0.3, listener=secure, trusted=[PROXY]
    ) as edge:
        _, silent = await connect(edge)
        silent.write(proxy_v2(STRANGER))
        await run_loop_until(lambda: len(edge.connections) == 1)
        # One more of the same client is closed at once, and of another client it is not.
        assert await nothing_comes(edge, proxy_v2(STRANGER))
        assert await nothing_comes(edge, proxy_v2(ALLOWED))
        await run_loop_until(lambda: len(edge.connections) == 0)
        silent.close()
        reasons = [(line["reason"], line["peer"]) for line in edge.lines()]
        assert sorted(reasons) == [
            ("header_timeout", "127.0.0.1"),
            ("header_timeout", "203.0.113.66"),
            ("too_many_connections", "203.0.113.66"),
        ]


async def test_tls_without_the_header_is_closed(tmp_path: Path, secure: Listener) -> None:
    async with running_edge(tmp_path, listener=secure, trusted=[PROXY]) as edge:
        assert await nothing_comes(edge, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        assert [line["reason"] for line in edge.lines()] == ["proxy_header_invalid"]
