"""Upstreams that take no events are named."""

import pytest

from tests.config.files import GOOD, good
from tests.config.lints import findings

ITSELF = "each event would come back; name your service"


def said_of(url: str, text: str = GOOD) -> list[str]:
    return findings(good(text.replace("http://127.0.0.1:8081/webhooks", url)))


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1]:8080/",
        "http://[fd00:ec2::254]/",
        "http://100.100.100.200/",
        "http://[::ffff:169.254.169.254]/",
        "http://metadata.google.internal/computeMetadata/v1/",
        "http://metadata/",
    ],
)
def test_a_metadata_service(url: str) -> None:
    assert said_of(url) == [
        (
            "5:18: warning: upstreams.billing.url: is a cloud's metadata service or a link-local"
            " address, which takes no events; name yours [upstream-metadata]"
        )
    ]


@pytest.mark.parametrize(
    ("url", "bind"),
    [
        ("http://127.0.0.1:8080/x", '"127.0.0.1:8080"'),
        ("http://localhost:8080/x", '"127.0.0.1:8080"'),
        ("http://127.0.0.1:8080/x", '"0.0.0.0:8080"'),
        ("http://0.0.0.0:8080/x", '"127.0.0.1:8080"'),
        ("http://[::1]:8080/x", '"[::]:8080"'),
        ("http://10.0.0.5:8080/x", '"10.0.0.5:8080"'),
        ("http://localhost/x", '"127.0.0.1:80"'),
        ("http://localhost.:8080/x", '"127.0.0.1:8080"'),
        ("http://[::ffff:127.0.0.1]:8080/x", '"127.0.0.1:8080"'),
    ],
)
def test_a_listener_of_relay(url: str, bind: str) -> None:
    said = said_of(url, GOOD.replace('"127.0.0.1:8080"', bind))
    assert f"5:18: warning: upstreams.billing.url: is relay itself, by listen.0.bind: {ITSELF}" in [
        each.removesuffix(" [upstream-itself]") for each in said
    ]


def test_the_admin_listener() -> None:
    assert said_of("http://127.0.0.1:9464/-/reload") == [
        (
            f"5:18: warning: upstreams.billing.url: is relay itself, by admin.bind: {ITSELF}"
            " [upstream-itself]"
        )
    ]


def test_the_public_url_of_an_endpoint() -> None:
    text = GOOD + '    public_url: "https://pay.example.com/midtrans"\n'
    assert said_of("https://pay.example.com:443/midtrans", text) == [
        (
            "5:18: warning: upstreams.billing.url: is the public URL of the endpoint midtrans:"
            f" {ITSELF} [upstream-itself]"
        )
    ]
    assert said_of("https://pay.example.com/billing", text) == []


@pytest.mark.parametrize(
    ("url", "bind"),
    [
        ("http://127.0.0.1:8081/", '"127.0.0.1:8080"'),
        ("http://127.0.0.2:8080/", '"127.0.0.1:8080"'),
        ("http://10.0.0.6:8080/", '"10.0.0.5:8080"'),
        ("http://billing:8080/", '"0.0.0.0:8080"'),
        ("http://[::1]:8080/", '"0.0.0.0:8080"'),
    ],
)
def test_another_service(url: str, bind: str) -> None:
    said = said_of(url, GOOD.replace('"127.0.0.1:8080"', bind))
    assert not [each for each in said if "upstreams" in each]


# ---- keys that do nothing, or too much ------------------------------------------------------


def test_an_upstream_that_no_endpoint_leads_to() -> None:
    ledger = '  ledger: {url: "http://127.0.0.1:8082/"}\n'
    text = GOOD.replace('webhooks"}\n', f'webhooks"}}\n{ledger}')
    assert findings(good(text)) == [
        (
            "6:11: warning: upstreams.ledger: no endpoint leads here: it gets what is requeued with"
            " --to, and nothing else [upstream-unused]"
        )
    ]
    route = "{when: {json: /order_id, is: a}, upstreams: [ledger]}"
    assert findings(good(f"{text}    routes: [{route}]\n")) == []


def test_keys_of_what_waits_where_nothing_does() -> None:
    keys = "rate: 5/s, paused: true, final: [400], order_by_key: true, retry: {give_up_after: 1h}"
    text = GOOD.replace('webhooks"}\n', f'webhooks", {keys}}}\n')
    said = findings(good(f"{text}    mode: proxy\n"))
    names = ("rate", "paused", "final", "order_by_key", "retry")
    assert [each.partition(": warning: ")[2] for each in said] == [
        (
            f"upstreams.billing.{name}: has no effect: only endpoints with mode: proxy lead here,"
            " whose deliveries are tried once, at once [proxy-without-effect]"
        )
        for name in names
    ]
    assert findings(good(text)) == []
    off = GOOD.replace('webhooks"}\n', 'webhooks", paused: false, rate: null}\n')
    assert findings(good(f"{off}    mode: proxy\n")) == []


def test_statuses_that_pass() -> None:
    text = GOOD.replace('webhooks"}\n', 'webhooks", final: [400, 429, 503]}\n')
    assert findings(good(text)) == [
        (
            f"5:{column}: warning: upstreams.billing.final.{at}: {status} passes as a rule: what"
            " comes while the service is busy or away is dead at once; leave it out"
            " [final-passing]"
        )
        for column, at, status in ((65, 1, 429), (70, 2, 503))
    ]


def test_an_address_that_is_listed_is_meant() -> None:
    url = 'url: "http://169.254.10.7/", allow_addresses: ["169.254.10.7"]'
    text = GOOD.replace('url: "http://127.0.0.1:8081/webhooks"', url)
    assert findings(good(text)) == []
    assert len(findings(good(text.replace('.7"]', '.8"]')))) == 1


def test_a_metadata_service_is_no_token_server() -> None:
    client = 'client_id: relay, client_secret: "${env:TOKEN}"'
    auth = f'auth: {{oauth2: {{token_url: "https://169.254.169.254/token", {client}}}}}'
    assert findings(good(GOOD.replace('webhooks"}\n', f'webhooks", {auth}}}\n'))) == [
        (
            "5:79: warning: upstreams.billing.auth.oauth2.token_url: is a cloud's metadata service"
            " or a link-local address, which relay asks for no token; name your token server"
            " [upstream-metadata]"
        )
    ]
