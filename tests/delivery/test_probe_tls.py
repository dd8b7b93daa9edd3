"""TLS with an upstream that is tried: certificates, and what is wrong with them."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relay.delivery.http import client_context
from relay.delivery.probe import ProbeTarget, Step, probe
from relay.delivery.probe_tls import alert, described, listed
from tests.harness.authority import Authority
from tests.harness.clock import ManualClock
from tests.harness.tls_server import TlsServer
from tests.harness.upstream import Upstream, close, send
from tests.harness.wire import END, self_signed, write_pair

CLOCK = ManualClock(datetime(2026, 1, 5, 12, tzinfo=UTC))


async def seen(url: str, *, tls: ssl.SSLContext | None = None) -> list[Step]:
    return await probe(ProbeTarget(url, 5.0, tls), CLOCK)


async def last(url: str) -> tuple[str, bool, str]:
    step = (await seen(url))[-1]
    return step.step, step.ok, step.detail


async def test_a_trusted_certificate_is_described(tmp_path: Path) -> None:
    server, client = self_signed(tmp_path, "localhost")
    async with Upstream(tls=server) as upstream:
        steps = await seen(f"https://localhost:{upstream.port}/", tls=client)
    assert steps[-2:] == [
        Step(
            "tls",
            True,
            "TLS 1.3; certificate of localhost; issuer localhost; ends 2100-01-01, in 27023 days",
        ),
        Step("http", True, "answers 200 to HEAD: reached"),
    ]


@pytest.mark.parametrize(
    ("name", "trusted", "said"),
    [
        ("localhost", False, "tls: unknown CA: certificate of localhost; "),
        ("other.internal", True, "tls: wrong name: certificate of other.internal; "),
    ],
)
async def test_a_certificate_that_does_not_fit_is_described_with_what_is_wrong(
    name: str, trusted: bool, said: str, tmp_path: Path
) -> None:
    server, client = self_signed(tmp_path, name)
    async with Upstream(tls=server) as upstream:
        url = f"https://localhost:{upstream.port}/"
        step = (await seen(url, tls=client if trusted else None))[-1]
        assert upstream.received == []
    assert (step.step, step.ok) == ("tls", False)
    assert step.detail.startswith(said)


async def test_plain_http_under_https_is_told() -> None:
    # A real one answers the handshake with 400, others close.
    spoken = send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", close)
    for behaviour in (spoken, close):
        async with Upstream(behaviour, at_once=True) as upstream:
            step, ok, said = await last(upstream.url.replace("http:", "https:"))
        assert (step, ok) == ("tls", False)
        assert said.endswith("no TLS comes back; where it speaks HTTP, the URL begins with http://")


async def test_tls_under_http_is_told(tmp_path: Path) -> None:
    server, _ = self_signed(tmp_path, "localhost")
    async with Upstream(tls=server) as upstream:
        step, ok, said = await last(upstream.url.replace("https:", "http:"))
    assert (step, ok) == ("http", False)
    assert said.endswith(": it speaks TLS, so the URL has to begin with https://")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_certificate_that_is_wanted_or_refused_is_told(
    version: ssl.TLSVersion, tmp_path: Path
) -> None:
    servers, clients, others = (Authority(tmp_path, name) for name in ("a", "b", "c"))
    other, own = others.issue("relay"), clients.issue("relay")
    with TlsServer(
        servers.server("localhost", clients=clients, version=version), "localhost"
    ) as peer:
        for client, said in (
            (
                client_context(servers.file),
                "tls: client certificate wanted: tls.certificate and tls.key name the files of one",
            ),
            (
                client_context(servers.file, other.certificate, other.key),
                "tls: client certificate refused: it does not trust who issued it",
            ),
        ):
            steps = await seen(peer.url, tls=client)
            assert [each.step for each in steps] == ["name", "tcp", "tls"]
            assert steps[-1] == Step("tls", ok=False, detail=said)
        steps = await seen(peer.url, tls=client_context(servers.file, own.certificate, own.key))
        assert all(each.ok for each in steps)
        # Asked for again in each connection, and never for what was not shown.
        assert peer.serials == [own.serial]


async def test_a_certificate_that_has_ended_is_told(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with TlsServer(authority.server("localhost", years=(2020, 2021)), "localhost") as peer:
        step = (await seen(peer.url, tls=client_context(authority.file)))[-1]
    assert step.detail.startswith("tls: expired: certificate of localhost; ")
    assert "; ended 2021-01-01; " in step.detail


async def test_another_name_may_be_asked_for(tmp_path: Path) -> None:
    server, client = self_signed(tmp_path, "other.internal")
    async with Upstream(tls=server) as upstream:
        url = f"https://localhost:{upstream.port}/"
        steps = await probe(ProbeTarget(url, 5.0, client, "other.internal"), CLOCK)
    assert all(each.ok for each in steps)


# ---- what is said ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "time"),
    [
        (END - timedelta(days=1, hours=1), "ends 2027-06-01, in 1 day"),
        (END + timedelta(seconds=1), "ended 2027-06-01"),
        (END - timedelta(days=91), "begins 2027-03-03"),
    ],
)
def test_a_certificate_is_told_with_what_is_left_of_it(
    now: datetime, time: str, tmp_path: Path
) -> None:
    certificate, _ = write_pair(tmp_path, issuer="some\u202eauthority\x1b[2J")
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    said = r"certificate of pay.example.com; issuer some\u202eauthority\x1b[2J; "
    assert described(der, now) == said + time


def test_what_is_no_certificate_is_told() -> None:
    assert described(b"canary", END) == "a certificate that cannot be read"


def test_long_lists_and_long_names_are_cut() -> None:
    assert listed(["a" * 90, "b", "c", "d", "e", "f"]) == f"{'a' * 80}, b, c, d and 2 more"


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "there is no cipher or version that both know"),
        ("TLSV1_ALERT_UNKNOWN_CA", "it does not trust who issued it"),
        ("TLSV1_UNRECOGNIZED_NAME", "it serves nothing of this name: "),
        ("TLSV1_ALERT_PROTOCOL_VERSION", "there is no version of TLS that both speak"),
        ("TLSV1_ALERT_INTERNAL_ERROR", "it refuses the handshake"),
        ("WRONG_VERSION_NUMBER", ""),
    ],
)
def test_an_alert_is_told_by_what_it_means(reason: str, said: str) -> None:
    error = ssl.SSLError()
    error.reason = reason
    assert alert(error).startswith(said)
    assert bool(alert(error)) is bool(said)
