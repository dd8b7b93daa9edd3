"""HTTPS with a certificate from files, and nothing older than TLS 1.2."""

import asyncio
import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest
from cryptography.hazmat.primitives import serialization

from relay.edge.listener import Listener
from relay.edge.tls import ServerTls, server_context
from relay.spool.history import Query
from tests.harness.clock import run_loop_until
from tests.harness.edge import RunningEdge, genuine_request, running_edge
from tests.harness.wire import read_reply, request, self_signed


@pytest.fixture
def client(tmp_path: Path) -> ssl.SSLContext:
    """A client that trusts `certificate.pem`, which holds certificate and key."""
    return self_signed(tmp_path, "pay.example.com")[1]


async def test_a_delivery_comes_in_over_https(tmp_path: Path, client: ssl.SSLContext) -> None:
    pem = tmp_path / "certificate.pem"
    listener = Listener("127.0.0.1", 0, server_context(pem, pem))
    async with running_edge(tmp_path, listener=listener) as edge:
        reader, writer = await asyncio.open_connection(
            *edge.address, ssl=client, server_hostname="pay.example.com"
        )
        writer.write(genuine_request())
        assert (await read_reply(reader)).status == 200
        writer.close()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_nothing_older_than_tls_1_2_is_spoken(tmp_path: Path, client: ssl.SSLContext) -> None:
    pem = tmp_path / "certificate.pem"
    client.minimum_version = ssl.TLSVersion.TLSv1
    client.maximum_version = ssl.TLSVersion.TLSv1_1
    client.set_ciphers("DEFAULT@SECLEVEL=0")
    listener = Listener("127.0.0.1", 0, server_context(pem, pem))
    async with running_edge(tmp_path, listener=listener) as edge:
        # The handshake ends with an alert, or with the connection, whichever is seen first.
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await asyncio.open_connection(
                *edge.address, ssl=client, server_hostname="pay.example.com"
            )


def test_a_key_of_another_certificate_is_not_taken(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        self_signed(tmp_path / name, "pay.example.com")
    with pytest.raises(ssl.SSLError):
        server_context(tmp_path / "one/certificate.pem", tmp_path / "two/certificate.pem")


async def shown(address: tuple[str, int], name: str | None = "pay.example.com") -> bytes:
    """Return the certificate that a new connection is shown; without a name, none is asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection(*address, ssl=context, server_hostname=name or "")
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    assert isinstance(found, bytes)
    return found


def certificate(pem: Path) -> bytes:
    """Return the certificate of a file that holds its key too."""
    text = pem.read_text()
    return ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN CERTIFICATE") :])


@pytest.mark.parametrize("name", ["pay.example.com", None])
async def test_a_renewed_pair_is_shown_to_new_connections(
    name: str | None, tmp_path: Path, client: ssl.SSLContext
) -> None:
    pem = tmp_path / "certificate.pem"
    tls = ServerTls(pem, pem)
    listener = Listener("127.0.0.1", 0, tls.context)
    before = certificate(pem)
    async with running_edge(tmp_path, listener=listener) as edge:
        reader, writer = await asyncio.open_connection(
            *edge.address, ssl=client, server_hostname="pay.example.com"
        )
        assert await shown(edge.address, name) == before
        assert not tls.is_stale()
        self_signed(tmp_path, "pay.example.com")
        assert tls.is_stale()
        assert await shown(edge.address, name) == before
        tls.renew()
        assert not tls.is_stale()
        assert await shown(edge.address, name) == certificate(pem) != before
        # Who was connected before goes on.
        writer.write(genuine_request())
        assert (await read_reply(reader)).status == 200
        writer.close()


async def test_half_of_a_new_pair_changes_nothing(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        self_signed(tmp_path / name, "pay.example.com")
    one, two = (tmp_path / name / "certificate.pem" for name in ("one", "two"))
    served, key = tmp_path / "fullchain.pem", tmp_path / "privkey.pem"
    served.write_bytes(one.read_bytes())
    key.write_bytes(one.read_bytes())
    tls = ServerTls(served, key)
    async with running_edge(tmp_path, listener=Listener("127.0.0.1", 0, tls.context)) as edge:
        for spoilt in (two.read_bytes(), b"", b"no PEM at all"):
            served.write_bytes(spoilt)
            with pytest.raises(ssl.SSLError):
                tls.renew()
            assert tls.is_stale()
            assert await shown(edge.address) == certificate(one)
        served.unlink()
        with pytest.raises(FileNotFoundError):
            tls.renew()
        assert await shown(edge.address) == certificate(one)
        served.write_bytes(two.read_bytes())
        key.write_bytes(two.read_bytes())
        tls.renew()
        assert await shown(edge.address) == certificate(two)


def test_a_key_with_a_pass_phrase_is_refused_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    self_signed(tmp_path, "pay.example.com")
    pem = tmp_path / "certificate.pem"
    locked = tmp_path / "locked.pem"
    key = serialization.load_pem_private_key(pem.read_bytes(), None)
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"a pass phrase"),
        )
    )
    with pytest.raises(ssl.SSLError):
        server_context(pem, locked)


# ---- before the handshake -------------------------------------------------------------------
# A TLS connection counts from its first packet, and has to shake hands in time.


@pytest.fixture
def listener(tmp_path: Path, client: ssl.SSLContext) -> Listener:
    pem = tmp_path / "certificate.pem"
    return Listener("127.0.0.1", 0, server_context(pem, pem))


Sure = tuple[RunningEdge, asyncio.StreamReader, asyncio.StreamWriter]


async def nothing(reader: asyncio.StreamReader) -> bool:
    """Say whether the connection ends without an answer that HTTP would know."""
    try:
        return b"HTTP" not in await reader.read()
    except ConnectionResetError:
        return True


async def test_silent_connections_are_counted_and_limited(
    tmp_path: Path, listener: Listener
) -> None:
    async with running_edge(tmp_path, per_address=2, listener=listener) as edge:
        silent = [await asyncio.open_connection(*edge.address) for _ in range(2)]
        await run_loop_until(lambda: len(edge.connections) == 2)
        reader, writer = await asyncio.open_connection(*edge.address)
        assert await nothing(reader)
        writer.close()
        for _, each in silent:
            each.close()
        await run_loop_until(lambda: len(edge.connections) == 0)
        assert [line["reason"] for line in edge.lines()] == ["too_many_connections"]


async def test_a_handshake_that_does_not_come_is_timed_out(
    tmp_path: Path, listener: Listener
) -> None:
    async with running_edge(tmp_path, seconds=0.1, listener=listener) as edge:
        reader, writer = await asyncio.open_connection(*edge.address)
        assert await reader.read() == b""
        writer.close()
        await run_loop_until(lambda: len(edge.connections) == 0)
        assert [line["reason"] for line in edge.lines()] == ["header_timeout"]


async def test_strangers_in_a_handshake_give_way_one_after_the_other(
    tmp_path: Path, listener: Listener, client: ssl.SSLContext
) -> None:
    async with running_edge(tmp_path, connections=4, listener=listener) as edge:
        # Two of four are kept for who is listed, and strangers say nothing.
        silent = []
        for number in range(1, 5):
            silent.append(await asyncio.open_connection(*edge.address, local_addr=("127.0.0.9", 0)))
            await run_loop_until(lambda: len(edge.connections) == min(number, 2))  # noqa: B023
        assert [await nothing(reader) for reader, _ in silent[:2]] == [True, True]
        reader, writer = await asyncio.open_connection(
            *edge.address, ssl=client, server_hostname="pay.example.com"
        )
        writer.write(genuine_request())
        assert (await read_reply(reader)).status == 200
        assert await nothing(silent[2][0])
        assert len(edge.connections) == 2
        for each in (writer, *(each for _, each in silent)):
            each.close()


async def test_what_is_not_tls_is_closed_without_a_word(tmp_path: Path, listener: Listener) -> None:
    async with running_edge(tmp_path, listener=listener) as edge:
        reader, writer = await asyncio.open_connection(*edge.address)
        writer.write(genuine_request())
        assert await nothing(reader)
        writer.close()
        await run_loop_until(lambda: len(edge.connections) == 0)
        assert edge.lines() == []


async def test_one_connection_is_counted_once(
    tmp_path: Path, listener: Listener, client: ssl.SSLContext
) -> None:
    async with running_edge(tmp_path, connections=1, listener=listener) as edge:
        reader, writer = await asyncio.open_connection(
            *edge.address, ssl=client, server_hostname="pay.example.com"
        )
        for _ in range(2):
            writer.write(genuine_request())
            assert (await read_reply(reader)).status == 200
        assert len(edge.connections) == 1
        writer.close()
        await run_loop_until(lambda: len(edge.connections) == 0)


async def test_the_stop_does_not_wait_for_a_handshake(tmp_path: Path, listener: Listener) -> None:
    async with running_edge(tmp_path, seconds=30, listener=listener) as edge:
        _, writer = await asyncio.open_connection(*edge.address)
        await run_loop_until(lambda: len(edge.connections) == 1)
    assert len(edge.connections) == 0
    writer.close()


@pytest.fixture
async def sure(tmp_path: Path, listener: Listener, client: ssl.SSLContext) -> AsyncIterator[Sure]:
    """An edge with short limits, and a connection to it whose handshake is done."""
    async with running_edge(tmp_path, seconds=0.3, listener=listener) as edge:
        reader, writer = await asyncio.open_connection(
            *edge.address, ssl=client, server_hostname="pay.example.com", limit=1024
        )
        yield edge, reader, writer
        writer.transport.abort()
        await run_loop_until(lambda: len(edge.connections) == 0)


async def test_requests_at_once_are_all_answered(sure: Sure) -> None:
    edge, reader, writer = sure
    writer.write(b"".join(genuine_request() for _ in range(5)))
    assert [(await read_reply(reader)).status for _ in range(5)] == [200] * 5
    assert {line["verdict"] for line in edge.lines()} == {"accepted"}


@pytest.mark.parametrize("before", [1, 2, 3])
async def test_a_connection_whose_answers_were_taken_may_be_idle(before: int, sure: Sure) -> None:
    edge, reader, writer = sure
    for _ in range(before):
        writer.write(genuine_request())
        assert (await read_reply(reader)).status == 200
    # Another one, which says nothing, tells when the limit is over.
    silent, other = await asyncio.open_connection(*edge.address)
    assert await nothing(silent)
    other.close()
    writer.write(genuine_request())
    assert (await read_reply(reader)).status == 200
    found = [line.get("detail") for line in edge.lines()]
    assert [each for each in found if each is not None] == ["no TLS handshake in time"]


async def ask_without_end(writer: asyncio.StreamWriter) -> NoReturn:
    """Send requests and read no answer."""
    while True:
        writer.write(request("GET", "/healthz") * 1000)
        await writer.drain()


async def test_who_does_not_take_its_answers_is_cut_off_here_too(sure: Sure) -> None:
    edge, _, writer = sure
    async with asyncio.timeout(20):
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await ask_without_end(writer)
    await run_loop_until(lambda: len(edge.connections) == 0)
    (line,) = edge.lines()
    assert (line["reason"], line["detail"]) == ("body_timeout", "the answer was not taken in time")


async def test_who_leaves_without_its_answer_loses_nothing_else(sure: Sure) -> None:
    edge, _, writer = sure
    writer.write(genuine_request())
    writer.close()
    async with asyncio.timeout(10):
        while not (await edge.spool.page(Query())).records:
            pass


# ---- senders that have said all they say ------------------------------------------------------


class HalfClosing:
    """A TLS client that ends its side, by close_notify or by the end of TCP, and reads on."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname="pay.example.com")

    async def connect(self, address: tuple[str, int]) -> None:
        self._reader, self._writer = await asyncio.open_connection(*address)
        await self._until(self._tls.do_handshake)

    async def say(self, raw: bytes, end: str) -> None:
        """Send this and the end of our side at once; what is left of the handshake with it."""
        self._tls.write(raw)
        if end != "tcp":
            with pytest.raises(ssl.SSLWantReadError):
                self._tls.unwrap()
        self._writer.write(self._out.read())
        if end != "tls":
            self._writer.write_eof()
        await self._writer.drain()

    async def replies(self, count: int) -> list[int]:
        """Return the statuses of so many answers; with them, or before, the connection ends."""
        reader = asyncio.StreamReader()
        received = await self._reader.read()
        self._writer.close()
        self._in.write(received)
        with suppress(ssl.SSLError):
            while data := self._tls.read(65536):
                reader.feed_data(data)
        reader.feed_eof()
        return [(await read_reply(reader)).status for _ in range(count)]

    async def _until(self, step: Callable[[], None]) -> None:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self._writer.write(self._out.read())
                self._in.write(await self._reader.read(65536))


@pytest.mark.parametrize("end", ["tls", "tcp", "both"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("count", [1, 3])
async def test_who_says_no_more_is_answered_over_tls_too(
    count: int, version: ssl.TLSVersion, end: str, tmp_path: Path, client: ssl.SSLContext
) -> None:
    client.minimum_version = client.maximum_version = version
    pem = tmp_path / "certificate.pem"
    listener = Listener("127.0.0.1", 0, server_context(pem, pem))
    async with running_edge(tmp_path, listener=listener) as edge:
        sender = HalfClosing(client)
        await sender.connect(edge.address)
        await sender.say(b"".join(genuine_request() for _ in range(count)), end)
        assert await sender.replies(count + 1) == [*[200] * count, 0]
        await run_loop_until(lambda: len(edge.connections) == 0)
        assert len((await edge.spool.page(Query())).records) == count


@pytest.mark.parametrize("end", ["tls", "tcp", "both"])
@pytest.mark.parametrize(
    ("rest", "status"),
    [
        (b"", 0),
        (b"POST /hook HTTP/1.1\r\nHo", 0),
        (request("POST", "/hook", [("Content-Length", "10")], b"x"), 400),
        (b"GARBAGE\r\n\r\n", 400),
    ],
)
async def test_who_ends_inside_a_request_over_tls_is_answered_as_far_as_that_went(
    rest: bytes, status: int, end: str, tmp_path: Path, client: ssl.SSLContext
) -> None:
    pem = tmp_path / "certificate.pem"
    listener = Listener("127.0.0.1", 0, server_context(pem, pem))
    async with running_edge(tmp_path, listener=listener) as edge:
        sender = HalfClosing(client)
        await sender.connect(edge.address)
        await sender.say(rest or genuine_request(), end)
        assert await sender.replies(1) == [status if rest else 200]
        await run_loop_until(lambda: len(edge.connections) == 0)


# ---- what a scanner finds -------------------------------------------------------------------
# What a scanner of TLS servers finds: nothing below TLS 1.2, and none of the known holes.

_REFUSED = ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1")
_SPOKEN = ("tls_1_2", "tls_1_3")
_VERSIONS = ("--sslv2", "--sslv3", "--tlsv1", "--tlsv1_1", "--tlsv1_2", "--tlsv1_3")


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_scanner_finds_nothing_below_tls_1_2(tmp_path: Path) -> None:
    scanner = await asyncio.to_thread(_install, tmp_path / "venv")
    self_signed(tmp_path, "pay.example.com")
    pem = tmp_path / "certificate.pem"
    tls = ServerTls(pem, pem)
    # As after a renewal: handshakes are moved to another context than the listener's first.
    self_signed(tmp_path, "pay.example.com")
    tls.renew()
    listener = Listener("127.0.0.1", 0, tls.context)
    async with running_edge(
        tmp_path, listener=listener, connections=1000, per_address=1000
    ) as edge:
        host, port = edge.address
        found = await asyncio.to_thread(_scan, scanner, f"{host}:{port}", tmp_path / "found.json")
    for version in _REFUSED:
        assert found[f"{version}_cipher_suites"]["accepted_cipher_suites"] == [], version
    for version in _SPOKEN:
        accepted = found[f"{version}_cipher_suites"]["accepted_cipher_suites"]
        assert accepted != [], version
        assert not any(each["cipher_suite"]["is_anonymous"] for each in accepted)
        assert all(each["cipher_suite"]["key_size"] >= 128 for each in accepted)
    assert found["heartbleed"]["is_vulnerable_to_heartbleed"] is False
    assert found["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"] is False
    assert found["tls_compression"]["supports_compression"] is False
    assert found["session_renegotiation"]["is_vulnerable_to_client_renegotiation_dos"] is False


def _install(directory: Path) -> Path:
    """Install sslyze where its own version of cryptography is in nobody's way."""
    try:
        subprocess.run([sys.executable, "-m", "venv", directory], check=True, capture_output=True)
        subprocess.run(
            [directory / "bin" / "pip", "install", "-q", "sslyze"],
            check=True,
            capture_output=True,
            timeout=600,
        )
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"NOT SCANNED with sslyze: it cannot be installed here ({error})")
    return directory / "bin" / "sslyze"


def _scan(scanner: Path, address: str, to: Path) -> dict[str, Any]:
    """Return what each check found, by its name."""
    asked = [*_VERSIONS, "--heartbleed", "--openssl_ccs", "--compression", "--reneg"]
    asked += ["--json_out", str(to), "--sni", "pay.example.com", "--mozilla_config", "disable"]
    said = subprocess.run(
        [str(scanner), *asked, address], check=False, capture_output=True, text=True, timeout=300
    )
    assert to.exists(), said.stdout + said.stderr
    (server,) = json.loads(to.read_text())["server_scan_results"]
    assert server["scan_status"] == "COMPLETED", server
    checks = server["scan_result"]
    return {name: check["result"] for name, check in checks.items() if check and check["result"]}
