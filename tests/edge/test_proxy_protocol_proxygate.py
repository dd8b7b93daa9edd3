"""A listener for the PROXY protocol hears trusted proxies only, and believes what they say."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

from relay.allowlist import Mode
from relay.edge.listener import Listener
from relay.edge.tls import server_context
from relay.spool import Query
from tests.harness.certified import certified
from tests.harness.edge import RunningEdge, genuine_request, running_edge, until
from tests.harness.proxyheaders import SIGNATURE, tlv, v1, v2, with_checksum
from tests.harness.wire import read_reply, request

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


@pytest.mark.parametrize("header", [v1, v2, with_checksum])
async def test_the_client_is_who_the_proxy_says(header: object, edge: RunningEdge) -> None:
    assert callable(header)
    sent = [header(ALLOWED), header(ip_address("::ffff:127.0.0.1")), header(STRANGER)]
    found = await statuses(edge, *(each + genuine_request() for each in sent))
    assert found == [200, 200, 403]
    allowed = ("127.0.0.1", "127.0.0.1", "proxy")
    assert told(edge) == [allowed, allowed, ("203.0.113.66", "203.0.113.66", "proxy")]


NOBODY = [
    b"PROXY UNKNOWN\r\n",
    b"PROXY UNKNOWN 127.0.0.1 127.0.0.1 1 2\r\n",
    SIGNATURE + b"\x20\0\0\0",
    SIGNATURE + b"\x20\x11\0\x0c" + ALLOWED.packed * 2 + bytes(4),
    SIGNATURE + b"\x21\0\0\0",
]


@pytest.mark.parametrize("header", NOBODY)
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
            raw = v2(inner) + genuine_request().replace(b"Host", field)
            assert await statuses(edge, raw) == [status]
        assert told(edge) == [
            ("10.0.0.7", "127.0.0.1", "x-forwarded-for"),
            ("10.0.0.7", "203.0.113.1", "x-forwarded-for"),
            ("10.0.0.7", None, None),
        ]


async def test_connections_are_kept_with_their_client(edge: RunningEdge) -> None:
    reader, writer = await connect(edge)
    # Header and requests arrive in one piece, or in as many as they have bytes.
    for byte in v2(ALLOWED) + genuine_request():
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
    v2(ALLOWED, command=0x11) + genuine_request(),
    v2(ALLOWED, tlv(0x03, bytes(4))) + genuine_request(),
    SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216) + genuine_request(),
    SIGNATURE + b"\x21\x11\xff\xff",
]


@pytest.mark.parametrize("raw", BAD)
async def test_what_is_no_header_is_closed_without_an_answer(raw: bytes, edge: RunningEdge) -> None:
    assert await nothing_comes(edge, raw)
    await until(lambda: len(edge.connections) == 0)
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
    for raw in (v1(ALLOWED), v2(ALLOWED), b"PROXY UNKNOWN\r\n", b"", v1(ip_address(PROXY))):
        assert await nothing_comes(edge, raw + genuine_request(), came_from="127.0.0.3")
    await until(lambda: len(edge.connections) == 0)
    found = {(line["reason"], line["peer"], line["detail"]) for line in edge.lines()}
    detail = "from an address that is not in trusted_proxies"
    assert found == {("proxy_header_invalid", "127.0.0.3", detail)}


async def test_a_second_header_is_no_request(edge: RunningEdge) -> None:
    raw = v1(STRANGER) + v1(ALLOWED) + genuine_request()
    assert await statuses(edge, raw) == [400]


async def test_without_the_protocol_a_header_is_no_request(tmp_path: Path) -> None:
    async with running_edge(tmp_path, trusted=[PROXY]) as edge:
        raws = (v1(ALLOWED) + genuine_request(), v2(ALLOWED) + genuine_request())
        assert await statuses(edge, *raws) == [400, 400]


@pytest.mark.parametrize("begun", [b"", b"PROX", b"PROXY TCP4 ", v2(ALLOWED)[:-1]])
async def test_a_header_that_does_not_end_is_timed_out(begun: bytes, tmp_path: Path) -> None:
    async with running_edge(tmp_path, seconds=0.1, listener=PLAIN, trusted=[PROXY]) as edge:
        assert await nothing_comes(edge, begun)
        await until(lambda: len(edge.connections) == 0)
        (line,) = edge.lines()
        assert (line["reason"], line["detail"]) == (
            "proxy_header_invalid",
            "no whole header in time",
        )


async def test_only_a_connection_that_said_something_is_a_complaint(edge: RunningEdge) -> None:
    for begun in (b"", b"PROXY TCP4"):
        _, writer = await connect(edge)
        await until(lambda: len(edge.connections) == 1)
        writer.write(begun)
        writer.close()
        await until(lambda: len(edge.connections) == 0)
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
            writer.write(v2(client) + genuine_request())
            assert (await read_reply(reader)).status == status
            opened.append(writer)
        for writer in opened:
            writer.close()
        await until(lambda: len(edge.connections) == 0)


async def test_connections_that_say_nothing_count_too(tmp_path: Path) -> None:
    async with running_edge(tmp_path, connections=2, listener=PLAIN, trusted=[PROXY]) as edge:
        silent = [await connect(edge) for _ in range(2)]
        await until(lambda: len(edge.connections) == 2)
        assert await nothing_comes(edge, v2(ALLOWED))
        for _, writer in silent:
            writer.close()
        await until(lambda: len(edge.connections) == 0)
        assert [line["reason"] for line in edge.lines()] == ["too_many_connections"]


async def test_the_stop_does_not_wait_for_a_header(tmp_path: Path) -> None:
    async with running_edge(tmp_path, seconds=30, listener=PLAIN, trusted=[PROXY]) as edge:
        _, writer = await connect(edge)
        await until(lambda: len(edge.connections) == 1)
    await until(lambda: len(edge.connections) == 0)
    writer.close()


# ---- with TLS behind it ---------------------------------------------------------------------


@pytest.fixture
def client(tmp_path: Path) -> ssl.SSLContext:
    return certified(tmp_path, "pay.example.com")[1]


@pytest.fixture
def secure(tmp_path: Path, client: ssl.SSLContext) -> Listener:
    pem = tmp_path / "certificate.pem"
    return Listener("127.0.0.1", 0, server_context(pem, pem), proxy_protocol=True)


@pytest.mark.parametrize("header", [v1(ALLOWED), v2(ALLOWED, tlv(0x04, bytes(99)))])
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
        await until(lambda: len(edge.connections) == 0)
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
        silent.write(v2(STRANGER))
        await until(lambda: len(edge.connections) == 1)
        # One more of the same client is closed at once, and of another client it is not.
        assert await nothing_comes(edge, v2(STRANGER))
        assert await nothing_comes(edge, v2(ALLOWED))
        await until(lambda: len(edge.connections) == 0)
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
