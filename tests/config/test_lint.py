"""What a valid file says that its author may not have meant."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from relay.config.checks import Certificate
from relay.config.lint import Finding, lint
from tests.config.files import GOOD, VIPPS, changed, good
from tests.config.lints import TODAY, allowlist, findings, info
from tests.config.pem import write_pair

ASKED = GOOD + "    confirm: {with: status}\n"
OPEN = changed(('trusted_proxies: ["127.0.0.1"]\n', ""))


def test_a_good_file_has_no_findings() -> None:
    assert findings(good(GOOD)) == []
    assert findings(good(GOOD + VIPPS)) == []


def public(port: int, address: str = "0.0.0.0") -> str:
    return OPEN.replace("127.0.0.1:8080", f"{address}:{port}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # proxies and secrets
        (
            GOOD.replace('["127.0.0.1"]', '["127.0.0.0/8", "127.0.0.1"]'),
            [
                (
                    "3:34: warning: trusted_proxies.1: is already within 127.0.0.0/8; remove it"
                    " [redundant-network]"
                )
            ],
        ),
        (
            GOOD + "admin: {token: abc}\n",
            [
                (
                    "13:16: warning: admin.token: a secret stands in the file; write ${env:NAME} or"
                    " ${file:PATH} [literal-secret]"
                )
            ],
        ),
        # listeners
        (
            OPEN.replace("127.0.0.1:8080", "10.0.0.5:8080"),
            [
                (
                    "2:11: warning: listen.0.bind: a private address is reached through a proxy,"
                    " whose own address then stands for every client; name it in trusted_proxies"
                    " [proxy-not-trusted]"
                )
            ],
        ),
        (
            OPEN.replace("127.0.0.1:8080", "[::1]:8080"),
            [
                (
                    "2:11: warning: listen.0.bind: a loopback address is reached through a proxy,"
                    " whose own address then stands for every client; name it in trusted_proxies"
                    " [proxy-not-trusted]"
                )
            ],
        ),
        (
            public(8443),
            [
                (
                    "2:11: warning: listen.0.bind: Midtrans reaches only ports 80 and 443; listen"
                    " on one of them, or write the endpoint's public_url if something in front"
                    " forwards to this port [midtrans-port]"
                )
            ],
        ),
        (
            public(8443, "[::]"),
            [
                (
                    "2:11: warning: listen.0.bind: Midtrans reaches only ports 80 and 443; listen"
                    " on one of them, or write the endpoint's public_url if something in front"
                    " forwards to this port [midtrans-port]"
                ),
                (
                    "2:11: warning: listen.0.bind: only IPv6 connections come to this address, and"
                    " midtrans may be sent to from IPv4 addresses alone; listen on 0.0.0.0 too"
                    " [other-family]"
                ),
            ],
        ),
        (
            public(8443, "9.9.9.9"),
            [
                (
                    "2:11: warning: listen.0.bind: Midtrans reaches only ports 80 and 443; listen"
                    " on one of them, or write the endpoint's public_url if something in front"
                    " forwards to this port [midtrans-port]"
                )
            ],
        ),
        (
            GOOD + "    public_url: https://pay.example.com:8443/x\n",
            [
                (
                    "13:17: warning: endpoints.0.public_url: Midtrans reaches only ports 80 and 443"
                    " [midtrans-port]"
                )
            ],
        ),
        # the private listener
        (
            GOOD + 'admin: {bind: "0.0.0.0:9464"}\n',
            [
                (
                    "13:15: warning: admin.bind: anybody who reaches this address reads health and"
                    " metrics; bind to 127.0.0.1 [admin-exposed]"
                )
            ],
        ),
        (
            GOOD + 'admin: {bind: "10.0.0.1:9464", token: "${env:KEY}"}\n',
            [
                (
                    "13:15: warning: admin.bind: the token crosses the network in clear text; bind"
                    " to 127.0.0.1 [admin-exposed]"
                )
            ],
        ),
        # files
        (
            GOOD + "spool: {path: /tmp/relay.db}\n",
            [
                (
                    "13:15: warning: spool.path: what lies in a directory for temporary files is"
                    " lost one day; choose another [temporary-path]"
                )
            ],
        ),
        (
            GOOD + "state_dir: /var/tmp\n",
            [
                (
                    "13:12: warning: state_dir: what lies in a directory for temporary files is"
                    " lost one day; choose another [temporary-path]"
                )
            ],
        ),
    ],
)
def test_findings(text: str, said: list[str]) -> None:
    assert findings(good(text)) == said


@pytest.mark.parametrize(
    "text",
    [
        public(443),
        public(80).replace("listen:\n", 'listen:\n  - bind: "[::]:443"\n'),
        public(8443).replace("listen:\n", 'listen:\n  - bind: "0.0.0.0:443"\n'),
        public(8443) + "    public_url: https://pay.example.com/x\n",
        public(8443) + "    public_url: http://pay.example.com/x\n",
        GOOD.replace("127.0.0.1:8080", "0.0.0.0:8443"),
        allowlist("{add: [198.51.100.7, 198.51.100.8]}"),
        allowlist("{replace: [103.208.23.0/24]}"),
        changed(("environment: production", "environment: sandbox"))
        + "    allowlist: {replace: [34.101.68.130]}\n",
        GOOD + 'admin: {bind: "[::1]:9464"}\n',
        GOOD + "spool: {path: /var/relay.db}\n",
    ],
)
def test_no_findings(text: str) -> None:
    assert findings(good(text)) == []


def test_ports_matter_to_midtrans_alone() -> None:
    start, _, _ = public(8443).partition("  - name: midtrans\n")
    assert findings(good(start + VIPPS)) == []


def with_certificate(tmp_path: Path, text: str, found: Certificate, today: date) -> list[str]:
    paths = write_pair(tmp_path)
    text = text.replace('8080"\n', '8080"\n    tls: {certificate: certificate.pem, key: key.pem}\n')
    settings = good(text + "state_dir: /srv\nspool: {path: /srv/db}\n", base=tmp_path)
    return [each.message for each in lint(settings, info(settings), {paths[0]: found}, today)]


@pytest.mark.parametrize(
    ("today", "said"),
    [
        (date(2026, 12, 1), []),
        (date(2026, 12, 2), ["the certificate ends on 2026-12-31; renew it"]),
        (date(2026, 12, 31), ["the certificate ends on 2026-12-31; renew it"]),
        (date(2027, 1, 1), ["the certificate ended on 2026-12-31; renew it"]),
    ],
)
def test_a_certificate_near_its_end(tmp_path: Path, today: date, said: list[str]) -> None:
    end = Certificate(datetime(2026, 12, 31, 23, tzinfo=UTC), self_signed=False)
    assert with_certificate(tmp_path, ASKED, end, today) == said


def test_a_certificate_that_signed_itself(tmp_path: Path) -> None:
    certificate = Certificate(datetime(2028, 1, 1, tzinfo=UTC), self_signed=True)
    assert with_certificate(tmp_path, ASKED, certificate, TODAY) == [
        "the certificate is self-signed, and Midtrans refuses such; use a public one"
    ]
    start, _, _ = GOOD.partition("  - name: midtrans\n")
    assert with_certificate(tmp_path, start + VIPPS, certificate, TODAY) == []


def test_findings_come_in_the_order_of_the_file() -> None:
    text = allowlist('{mode: off, add: ["0.0.0.0/0", 103.58.103.177]}') + "state_dir: /tmp\n"
    settings = good(text)
    found = lint(settings, info(settings), {}, TODAY)
    assert [(each.line, each.column) for each in found] == sorted(
        (each.line, each.column) for each in found
    )
    assert [each.code for each in found] == [
        "unconfirmed",
        "allowlist-off",
        "everyone",
        "redundant-network",
        "withdrawn-address",
        "temporary-path",
    ]


def test_a_finding_without_a_place() -> None:
    finding = Finding("relay.yaml", 1, 2, "", "code", "a sentence")
    assert str(finding) == "relay.yaml:1:2: warning: a sentence"
    assert str(replace(finding, where="a.b")) == "relay.yaml:1:2: warning: a.b: a sentence"
