"""Keys of an upstream that do not fit together."""

from pathlib import Path

import pytest

from tests.config.files import ENVIRON, VIPPS, changed, good, mistakes
from tests.harness.wire import write_pair

URL = "http://127.0.0.1:8081/webhooks"


def upstream(keys: str, url: str = URL) -> str:
    """Return the good text with more keys of its upstream, which begin at 5:52 with this URL."""
    return changed((f'"{URL}"', f'"{url}", {keys}'))


def said_of(keys: str, base: Path, url: str = URL) -> list[str]:
    """Return what is said of an upstream with these keys, without its name and the folder."""
    return [
        line.partition(": ")[2].replace(f"{base}/", "").removeprefix("upstreams.billing.")
        for line in mistakes(upstream(keys, url), ENVIRON, base)
    ]


# ---- header fields --------------------------------------------------------------------------

CONNECTION = "belongs to the connection, and relay writes it where it is needed; leave it out"
PROXIES = "is what proxies say of those before them; leave it out"
RELAYS = "is relay's own: nothing else may begin with Relay- or webhook-; leave it out"
SENDERS = "is passed on as the sender wrote it; leave it out, or choose another name"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Host", CONNECTION),
        ("content_length", CONNECTION),
        ("Transfer-Encoding", CONNECTION),
        ("TE", CONNECTION),
        ("Trailer", CONNECTION),
        ("Upgrade", CONNECTION),
        ("Expect", CONNECTION),
        ("Keep-Alive", CONNECTION),
        ("Connection", CONNECTION),
        ("Accept-Encoding", CONNECTION),
        ("X-Forwarded-For", PROXIES),
        ("Forwarded", PROXIES),
        ("Via", PROXIES),
        ("Proxy-Authorization", PROXIES),
        ("Relay-Endpoint", RELAYS),
        ("Webhook_Id", RELAYS),
        ("Content-Type", SENDERS),
        ("user-agent", SENDERS),
        ("Accept", SENDERS),
        ('"X(Bad"', "write the name of a header field, such as X-Signature"),
        ('""', "write the name of a header field, such as X-Signature"),
    ],
)
def test_a_header_field_that_is_not_free(name: str, said: str) -> None:
    shown = name.strip('"')
    assert mistakes(upstream(f'headers: {{{name}: "x"}}')) == [
        f"5:62: upstreams.billing.headers.{shown}: {said}"
    ]


def test_the_same_header_field_in_other_letters() -> None:
    assert mistakes(upstream('headers: {X-Api-Key: "a", x_api_KEY: "b"}')) == [
        (
            "5:78: upstreams.billing.headers.x_api_KEY: is X-Api-Key at 5:73 once more: names have"
            " no case, and many servers read _ as -; write it once"
        )
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"canary\ntwo\n", "has several lines, and a header field is one; write the value alone"),
        (b"canary\r\n\r\n", "has several lines, and a header field is one; write the value alone"),
        (b"canary\x07", "holds a control character; write it without"),
        (b"  ", "is blank; write a value"),
        (b"a" * 8001, "is longer than 8000 bytes, which many servers refuse; write less"),
        (b"caf\xe9", "is no UTF-8 text; write it in UTF-8"),
        (
            "\ufeffcanary".encode(),
            "holds letters beyond Latin-1, which no header field carries; write others",
        ),
    ],
)
def test_a_value_that_no_header_field_carries(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "key").write_bytes(content)
    found = said_of('headers: {X-Api-Key: "${file:key}"}', tmp_path)
    assert found == [f"headers.X-Api-Key: {said}"]


def test_each_header_field_is_looked_at_whatever_is_wrong_with_the_others() -> None:
    found = mistakes(upstream('headers: {X-A: 7, X-B: "${env:NONE}", Host: x, X-C: "", X-D: {}}'))
    assert [
        line.partition(": ")[2].removeprefix("upstreams.billing.headers.") for line in found
    ] == [
        "X-A: write text; a number or a word such as true needs quotes",
        "X-B: the environment variable NONE is not set",
        f"Host: {CONNECTION}",
        "X-C: is empty; write ${env:NAME} or ${file:PATH}",
        "X-D: write text; a number or a word such as true needs quotes",
    ]


def test_a_header_field_that_the_sender_writes_itself() -> None:
    text = upstream('headers: {x-ms-date: "x", X-Own: "y", AUTHORIZATION: "z"}') + VIPPS
    where = "is passed on as the sender wrote it, by the endpoint at 13:5"
    assert mistakes(text) == [
        f"5:62: upstreams.billing.headers.x-ms-date: {where}; choose another name",
        (
            f"5:90: upstreams.billing.headers.AUTHORIZATION: {where}; write auth, which takes its"
            " place"
        ),
    ]


def test_credentials_take_the_place_of_what_the_sender_showed() -> None:
    good(upstream('auth: {bearer: "${env:TOKEN}"}') + VIPPS)


def test_an_authorization_beside_the_one_of_auth() -> None:
    text = upstream('headers: {authorization: "x"}, auth: {bearer: "${env:TOKEN}"}')
    for each in (text, text + VIPPS):
        assert mistakes(each) == [
            (
                "5:62: upstreams.billing.headers.authorization: is what auth writes; leave one of"
                " them out"
            )
        ]


def test_credentials_in_the_url() -> None:
    (said,) = mistakes(changed(("http://127", "http://relay:canary@127")))
    assert said == (
        "5:18: upstreams.billing.url: must hold no user name or password; they belong in auth"
    )


def test_header_fields_that_are_free() -> None:
    made = good(upstream('headers: {X-Api-Key: "a", Authorization: "Custom x", Cookie: "c=é"}'))
    assert list(made.upstreams["billing"].headers) == ["X-Api-Key", "Authorization", "Cookie"]


# ---- TLS ------------------------------------------------------------------------------------

HTTPS = "https://billing.internal/"
PAIR = "tls: {certificate: certificate.pem, key: key.pem}"


def test_a_client_certificate_and_authorities_that_can_be_used(tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path)
    keys = PAIR.replace("}", ", ca: certificate.pem, server_name: Billing}")
    tls = good(upstream(keys, HTTPS), base=tmp_path).upstreams["billing"].tls
    assert (tls.certificate, tls.key, tls.ca) == (certificate, key, certificate)
    assert tls.server_name == "billing"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (
            "certificate: certificate.pem",
            "tls.certificate: is of no use without its private key; write key beside it",
        ),
        (
            "key: key.pem",
            "tls.key: is of no use without its certificate; write certificate beside it",
        ),
    ],
)
def test_one_half_of_a_pair(tmp_path: Path, key: str, said: str) -> None:
    write_pair(tmp_path)
    assert said_of(f"tls: {{{key}}}", tmp_path, HTTPS) == [said]


def test_a_pair_that_does_not_fit_is_told_as_that_of_a_listener(tmp_path: Path) -> None:
    key = write_pair(tmp_path)[1].read_bytes()
    write_pair(tmp_path)[1].write_bytes(key)
    assert said_of(PAIR, tmp_path, HTTPS) == [
        (
            "tls: certificate and key do not fit together: key.pem is the key of another"
            " certificate than the first in certificate.pem"
        )
    ]


def test_keys_of_tls_that_no_connection_uses(tmp_path: Path) -> None:
    write_pair(tmp_path)
    keys = PAIR.replace("}", ", ca: certificate.pem, server_name: billing.internal}")
    said = "is never used, since the URL begins with http://; write https:// or leave it out"
    assert said_of(keys, tmp_path) == [
        f"tls.certificate: {said}",
        f"tls.key: {said}",
        f"tls.ca: {said}",
        f"tls.server_name: {said}",
    ]


def test_a_token_server_is_known_by_the_same_authorities(tmp_path: Path) -> None:
    write_pair(tmp_path)
    client = 'client_id: relay, client_secret: "${env:TOKEN}"'
    tokens = f'auth: {{oauth2: {{token_url: "https://login.internal/", {client}}}}}'
    keys = f"{tokens}, tls: {{ca: certificate.pem}}"
    good(upstream(keys), base=tmp_path)
    (said,) = said_of(keys.replace("https://login", "http://login"), tmp_path)
    assert said.startswith("tls.ca: is never used")


def test_a_server_name_is_a_name(tmp_path: Path) -> None:
    for name in ("10.0.0.1", "https://billing", "billing:8443", "", "a b"):
        assert said_of(f'tls: {{server_name: "{name}"}}', tmp_path, HTTPS) == [
            (
                "tls.server_name: write the host name that the certificate holds, such as"
                " billing.internal; no address, port or URL"
            )
        ]


# ---- the rest -------------------------------------------------------------------------------


def test_a_status_that_stands_there_twice() -> None:
    assert mistakes(upstream("final: [400, 410, 400]")) == [
        "5:70: upstreams.billing.final.2: 400 stands there already; write it once"
    ]


NEEDLESS = "is neither link-local nor a metadata service, and needs no listing; leave it out"


def test_addresses_that_need_no_listing_or_take_the_guard_away() -> None:
    written = ["10.0.0.0/8", "0.0.0.0/0", "fe80::/9", "168.63.129.0/24"]
    assert said_of(f"allow_addresses: {written}".replace("'", '"'), Path("/etc")) == [
        f"allow_addresses.0: {NEEDLESS}",
        (
            "allow_addresses.1: holds all of 169.254.0.0/16, which takes the guard away; name your"
            " own"
        ),
        "allow_addresses.2: holds all of fe80::/10, which takes the guard away; name your own",
        (
            "allow_addresses.3: holds all of 168.63.129.16/32, which takes the guard away; name"
            " your own"
        ),
    ]


def test_addresses_that_an_upstream_may_have() -> None:
    written = ["169.254.0.0/16", "169.254.0.0/24", "fe80::/64", "100.100.100.200"]
    good(upstream(f"allow_addresses: {written}".replace("'", '"')))
