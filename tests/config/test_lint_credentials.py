"""What relay shows to upstreams and token servers: where it can be read, and its end."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from relay.config import Settings
from relay.config.certificate_files import Certificate
from relay.config.lint_credentials import credential_advice
from tests.config.files import ENVIRON, GOOD, changed, good
from tests.config.lints import TODAY, findings
from tests.harness.wire import write_pair

LOOPBACK = "http://127.0.0.1:8081/webhooks"
CLEAR = (
    "crosses the network in clear text, since the URL begins with http://; write https://"
    " [plain-credentials]"
)


def upstream(keys: str, url: str = "http://billing.internal/", environ: str = "x") -> list[str]:
    """Return what is said of an upstream with these keys, without its place and its name."""
    text = changed((f'"{LOOPBACK}"', f'"{url}", {keys}'))
    found = findings(good(text, {**ENVIRON, "OWN": environ}))
    assert not [each for each in found if "canary" in each]
    return [each.partition("upstreams.billing.")[2] for each in found]


BEARER = 'auth: {bearer: "${env:TOKEN}"}'
BASIC = 'auth: {basic: {user: relay, password: "${env:TOKEN}"}}'
CLIENT = 'client_id: relay, client_secret: "${env:TOKEN}"'


def oauth2(url: str) -> str:
    return f'auth: {{oauth2: {{token_url: "{url}", {CLIENT}}}}}'


@pytest.mark.parametrize("auth", [BEARER, BASIC, oauth2("https://login.internal/")])
def test_credentials_in_clear_text(auth: str) -> None:
    assert upstream(auth) == [f"auth: {CLEAR}"]
    for url in (
        "https://billing.internal/",
        "http://localhost/",
        "http://127.3.2.1/",
        "http://[::1]/",
    ):
        assert upstream(auth, url) == []


def test_header_fields_in_clear_text() -> None:
    keys = 'headers: {X-Env: prod, X-Shop: "${env:OWN}", X-Api-Key: "${env:TOKEN}"}'
    assert upstream(keys) == [f"headers.X-Shop: {CLEAR}", f"headers.X-Api-Key: {CLEAR}"]
    assert upstream(keys, "https://billing.internal/") == []


def test_a_token_server_that_is_asked_in_clear_text() -> None:
    said = (
        "auth.oauth2.token_url: the client's secret and its tokens cross the network in clear text;"
        " write https:// [plain-token-url]"
    )
    assert upstream(oauth2("http://login.internal/token"), "https://b.internal/") == [said]
    assert upstream(oauth2("http://10.0.0.1/token"), "https://b.internal/") == [said]
    assert upstream(oauth2("http://127.0.0.1:9000/token"), "https://b.internal/") == []


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ('headers: {X-Shop: "${env:OWN}"}', "headers.X-Shop"),
        ('auth: {bearer: "${env:OWN}"}', "auth.bearer"),
        ('auth: {basic: {user: a, password: "${env:OWN}"}}', "auth.basic.password"),
        (
            oauth2("https://login.internal/").replace("TOKEN", "OWN"),
            "auth.oauth2.client_secret",
        ),
    ],
)
def test_what_came_along_with_a_secret(keys: str, place: str) -> None:
    assert upstream(keys, "https://billing.internal/", '"canary"') == [
        (
            f"{place}: stands in quotes or brackets: nothing fits it unless the other side's does;"
            " write it without [odd-secret]"
        )
    ]


def test_what_is_written_out_and_no_secret_may_be_in_quotes() -> None:
    assert upstream("headers: {If-Match: '\"7\"'}", "https://billing.internal/") == []


# ---- the end of certificates ----------------------------------------------------------------


def at(day: int) -> Certificate:
    return Certificate(datetime(2026, 12, day, tzinfo=UTC), self_signed=False)


def ending(
    settings: Settings, directory: Path, own: Certificate, trusted: Certificate
) -> list[str]:
    certificates = {directory / "certificate.pem": own, directory / "ca.pem": trusted}
    found = credential_advice(settings, certificates, TODAY)
    return [f"{each.location[-1]}: {each.message} [{each.code}]" for each in found]


def test_certificates_near_their_end(tmp_path: Path) -> None:
    pair = write_pair(tmp_path)
    (tmp_path / "ca.pem").write_bytes(pair[0].read_bytes())
    tls = "tls: {certificate: certificate.pem, key: key.pem, ca: ca.pem}"
    url = "https://billing.internal/"
    settings = good(changed((f'"{LOOPBACK}"', f'"{url}", {tls}')), base=tmp_path)
    assert date(2026, 12, 1) == TODAY
    assert ending(settings, tmp_path, at(31), at(31)) == []
    assert ending(settings, tmp_path, at(30), at(30)) == [
        ("certificate: the client certificate ends on 2026-12-30; renew it [certificate-ending]"),
        (
            "ca: the last authority in this file ends on 2026-12-30, and then no certificate is"
            " believed; take a newer file [authority-ending]"
        ),
    ]
    past = Certificate(datetime(2026, 11, 30, tzinfo=UTC), self_signed=False)
    assert [each.split(" on ")[0] for each in ending(settings, tmp_path, past, past)] == [
        "certificate: the client certificate ended",
        "ca: the last authority in this file ended",
    ]


def test_a_certificate_for_servers_alone(tmp_path: Path) -> None:
    write_pair(tmp_path)
    tls = "tls: {certificate: certificate.pem, key: key.pem}"
    text = changed((f'"{LOOPBACK}"', f'"https://billing.internal/", {tls}'))
    settings = good(text, base=tmp_path)
    later = datetime(2028, 1, 1, tzinfo=UTC)
    found = ending(
        settings, tmp_path, Certificate(later, self_signed=False, for_clients=False), at(1)
    )
    assert found == [
        (
            "certificate: the certificate is for servers (extendedKeyUsage), and upstreams that"
            " check refuse it; have one made for clientAuth [certificate-purpose]"
        )
    ]


def test_without_any_there_is_nothing_to_say() -> None:
    assert findings(good(GOOD)) == []
