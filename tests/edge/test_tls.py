"""HTTPS with a certificate from files, and nothing older than TLS 1.2."""

import asyncio
import ssl
from pathlib import Path

import pytest

from relay.edge.server import Listener
from relay.edge.tls import server_context
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
