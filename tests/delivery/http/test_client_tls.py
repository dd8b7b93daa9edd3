"""TLS to an origin over real handshakes: what is trusted, what is shown, and what alerts say."""

import os
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from relay.delivery.http import (
    CannotConnect,
    CertificateRefused,
    CertificateWanted,
    ClientContext,
    NameUnknown,
    Origin,
    Pool,
    client_context,
    encode,
)
from relay.delivery.http.client_tls import refusal
from tests.harness.authority import Authority, Pair
from tests.harness.tls_server import TlsServer

LOOPBACK = "127.0.0.1"
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
both_versions = pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])


async def exchanged(
    upstream: TlsServer,
    context: ssl.SSLContext | None,
    server_name: str | None = None,
    body: bytes = b"{}",
    times: int = 1,
) -> int | None:
    """Return the status of the last exchange; raise what it ends with."""
    origin = Origin.of(upstream.url)
    pool = Pool(
        origin,
        size=1,
        idle=1,
        longest_body=1000,
        timeout=5,
        tls=context,
        server_name=server_name,
    )
    try:
        request = encode("POST", "/", origin.authority, (), body)
        answers = [await pool.exchange(request) for _ in range(times)]
    finally:
        await pool.close()
    return answers[-1].status


def showing(pair: Pair, ca: Path) -> ClientContext:
    return client_context(ca, pair.certificate, pair.key)


# ---- what is trusted ------------------------------------------------------------------------


@both_versions
async def test_an_authority_of_ones_own_is_trusted(version: ssl.TLSVersion, tmp_path: Path) -> None:
    own = Authority(tmp_path)
    with TlsServer(own.server(LOOPBACK, version=version)) as upstream:
        assert await exchanged(upstream, client_context(own.file)) == 200


async def test_it_takes_the_place_of_the_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, own = Authority(tmp_path, "system"), Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(system.file))
    with TlsServer(system.server(LOOPBACK)) as upstream:
        assert await exchanged(upstream, client_context()) == 200
        assert await exchanged(upstream, None) == 200
        with pytest.raises(CannotConnect) as caught:
            await exchanged(upstream, client_context(own.file))
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


async def test_an_intermediate_authority_that_is_listed_is_trusted(tmp_path: Path) -> None:
    """Who signs it need not be listed, too."""
    root = Authority(tmp_path)
    middle = root.child("middle")
    with TlsServer(middle.server(LOOPBACK)) as upstream:
        assert await exchanged(upstream, client_context(middle.file)) == 200
        assert await exchanged(upstream, client_context(root.file)) == 200


@pytest.mark.parametrize("host", [LOOPBACK, "localhost"])
async def test_the_name_of_the_certificate_can_be_another_than_that_of_the_url(
    host: str, tmp_path: Path
) -> None:
    own = Authority(tmp_path)
    asked: list[str | None] = []
    tls = own.server("billing.internal")
    tls.sni_callback = lambda _, name, __: asked.append(name)
    with TlsServer(tls, host) as upstream:
        context = client_context(own.file)
        assert await exchanged(upstream, context, "billing.internal") == 200
        assert asked == ["billing.internal"]
        with pytest.raises(CannotConnect):
            await exchanged(upstream, context)
        with pytest.raises(CannotConnect):
            await exchanged(upstream, context, "ledger.internal")


def test_nothing_older_than_tls_1_2_is_spoken() -> None:
    context = client_context()
    assert context.minimum_version == V12
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)


async def test_http_1_1_is_all_that_is_offered(tmp_path: Path) -> None:
    own = Authority(tmp_path)
    tls = own.server(LOOPBACK)
    tls.set_alpn_protocols(["h2", "http/1.1"])
    with TlsServer(tls) as upstream:
        assert await exchanged(upstream, client_context(own.file)) == 200
        [agreed] = upstream.alpn
    assert agreed == "http/1.1"


# ---- what is shown --------------------------------------------------------------------------


@both_versions
async def test_a_client_certificate_is_shown(version: ssl.TLSVersion, tmp_path: Path) -> None:
    own, clients = Authority(tmp_path), Authority(tmp_path, "clients")
    tls = own.server(LOOPBACK, clients=clients, version=version)
    with TlsServer(tls) as upstream:
        assert await exchanged(upstream, showing(clients.issue("relay"), own.file)) == 200


@both_versions
@pytest.mark.parametrize("size", [2, 4_000_000])
async def test_that_none_is_shown_where_one_is_wanted_is_told(
    size: int, version: ssl.TLSVersion, tmp_path: Path
) -> None:
    """Also where the request is under way when the alert comes."""
    own, clients = Authority(tmp_path), Authority(tmp_path, "clients")
    tls = own.server(LOOPBACK, clients=clients, version=version)
    with TlsServer(tls) as upstream:
        with pytest.raises((CannotConnect, CertificateWanted)) as caught:
            await exchanged(upstream, client_context(own.file), body=bytes(size))
        assert upstream.received == 0
    error = caught.value
    assert isinstance(error.__cause__ if version is V12 else error, CertificateWanted)


@both_versions
@pytest.mark.parametrize("wrong", ["issuer", "time"])
async def test_that_ours_is_refused_is_told(
    wrong: str, version: ssl.TLSVersion, tmp_path: Path
) -> None:
    own, clients = Authority(tmp_path), Authority(tmp_path, "clients")
    issuer = own if wrong == "issuer" else clients
    pair = issuer.issue("relay", years=(2020, 2021) if wrong == "time" else (2020, 2120))
    tls = own.server(LOOPBACK, clients=clients, version=version)
    with TlsServer(tls) as upstream:
        with pytest.raises((CannotConnect, CertificateRefused)) as caught:
            await exchanged(upstream, showing(pair, own.file))
        assert upstream.received == 0
    error = caught.value
    assert isinstance(error.__cause__ if version is V12 else error, CertificateRefused)


async def test_a_name_that_the_server_does_not_know_is_told(tmp_path: Path) -> None:
    own = Authority(tmp_path)
    tls = own.server("billing.internal")
    tls.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    with TlsServer(tls) as upstream, pytest.raises(CannotConnect) as caught:
        await exchanged(upstream, client_context(own.file), "billing.internal")
    assert isinstance(caught.value.__cause__, NameUnknown)


async def test_a_server_without_a_cipher_in_common_wants_no_certificate(tmp_path: Path) -> None:
    own = Authority(tmp_path)
    tls = own.server(LOOPBACK, version=V12)
    tls.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    context = client_context(own.file)
    context.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    context.maximum_version = V12
    with TlsServer(tls) as upstream, pytest.raises(CannotConnect) as caught:
        await exchanged(upstream, context)
    reason = getattr(caught.value.__cause__, "reason", "")
    assert reason == "SSLV3_ALERT_HANDSHAKE_FAILURE"
    assert not isinstance(caught.value.__cause__, CertificateWanted)


async def test_a_certificate_can_be_asked_for_after_the_handshake(tmp_path: Path) -> None:
    """As servers do that want one for some of their resources only."""
    own, clients = Authority(tmp_path), Authority(tmp_path, "clients")
    tls = own.server(LOOPBACK, clients=clients, version=V13)
    tls.post_handshake_auth = True
    # A ticket that has come and is not read yet would cost the connection, at the next request.
    tls.num_tickets = 0
    with TlsServer(tls, asks_late=True) as upstream:
        pair = clients.issue("relay")
        assert await exchanged(upstream, showing(pair, own.file), times=2) == 200
        assert upstream.serials == [None, pair.serial]


# ---- alerts ---------------------------------------------------------------------------------


def alert(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("reason", "shown", "agreed", "kind"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", False, True, CertificateWanted),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", True, True, CertificateWanted),
        ("SSLV3_ALERT_BAD_CERTIFICATE", False, True, CertificateWanted),
        ("SSLV3_ALERT_BAD_CERTIFICATE", True, True, CertificateRefused),
        ("SSLV3_ALERT_CERTIFICATE_REVOKED", True, True, CertificateRefused),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", True, True, CertificateRefused),
        ("SSLV3_ALERT_CERTIFICATE_UNKNOWN", True, True, CertificateRefused),
        ("TLSV1_ALERT_UNKNOWN_CA", True, True, CertificateRefused),
        ("TLSV1_ALERT_ACCESS_DENIED", True, True, CertificateRefused),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", False, True, CertificateWanted),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", True, True, CertificateRefused),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", False, False, ssl.SSLError),
        ("TLSV1_UNRECOGNIZED_NAME", False, False, NameUnknown),
        ("TLSV1_ALERT_PROTOCOL_VERSION", True, False, ssl.SSLError),
        ("TLSV1_ALERT_INTERNAL_ERROR", False, True, ssl.SSLError),
        ("WRONG_VERSION_NUMBER", False, False, ssl.SSLError),
        (None, False, False, ssl.SSLError),
    ],
)
def test_alerts_are_told_apart(
    reason: str, shown: bool, agreed: bool, kind: type[ssl.SSLError]
) -> None:
    assert type(refusal(alert(reason), shown=shown, agreed=agreed)) is kind


# ---- files ----------------------------------------------------------------------------------


def test_what_cannot_be_loaded_is_refused(tmp_path: Path) -> None:
    own, other = Authority(tmp_path), Authority(tmp_path, "other")
    one, two = own.issue("one"), other.issue("two")
    with pytest.raises(ssl.SSLError):
        client_context(own.file, one.certificate, two.key)
    with pytest.raises(ssl.SSLError):
        client_context(one.key)
    with pytest.raises(FileNotFoundError):
        client_context(tmp_path / "none.pem")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="not a regular file"):
        client_context(pipe)
    with pytest.raises(OSError, match="not a regular file"):
        client_context(None, one.certificate, pipe)


def test_a_key_with_a_pass_phrase_is_refused_and_asks_nobody(tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("relay")
    key = load_pem_private_key(pair.key.read_bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    pair.key.write_bytes(locked)
    with pytest.raises(ssl.SSLError):
        client_context(None, pair.certificate, pair.key)
