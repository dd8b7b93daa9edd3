"""HTTPS with a certificate from files, and nothing older than TLS 1.2."""

import asyncio
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from relay.edge.listener import Listener
from relay.edge.tls import ServerTls, server_context
from tests.harness.certified import certified
from tests.harness.edge import genuine_request, running_edge
from tests.harness.wire import read_reply


@pytest.fixture
def client(tmp_path: Path) -> ssl.SSLContext:
    """A client that trusts `certificate.pem`, which holds certificate and key."""
    return certified(tmp_path, "pay.example.com")[1]


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
        certified(tmp_path / name, "pay.example.com")
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
        certified(tmp_path, "pay.example.com")
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
        certified(tmp_path / name, "pay.example.com")
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
    certified(tmp_path, "pay.example.com")
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
