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
