"""Default ports, and the parts of a URL that senders sign."""

from datetime import UTC, datetime
from ipaddress import ip_address

import pytest

from relay.core.errors import Reason, Refusal
from relay.core.request import Headers, RequestHead
from relay.core.urls import SignedUrl, authority, is_https, query_values, signed_url, without_query
from relay.providers import received_url


@pytest.mark.parametrize(
    ("host", "port", "scheme", "written"),
    [
        ("a.example", None, "https", "a.example"),
        ("a.example", 443, "https", "a.example"),
        ("a.example", 80, "http", "a.example"),
        ("a.example", 443, "http", "a.example:443"),
        ("[2001:db8::1]", 8443, "https", "[2001:db8::1]:8443"),
    ],
)
def test_a_default_port_is_left_out(host: str, port: int | None, scheme: str, written: str) -> None:
    assert authority(host, port, scheme) == written


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://a/b", "http://a/b"),
        ("http://a/b?", "http://a/b?…"),
        ("http://a/?k=v", "http://a/?…"),
    ],
)
def test_a_query_is_not_shown(url: str, shown: str) -> None:
    assert without_query(url) == shown


@pytest.mark.parametrize(
    ("url", "values"),
    [
        ("http://a/b", []),
        ("http://a/b?", []),
        ("http://a/?k=v", ["k=v", "v"]),
        ("http://a?k=a%2Fb;l=c+d&m", ["k=a%2Fb;l=c+d&m", "a%2Fb", "c+d"]),
    ],
)
def test_the_values_of_a_query_are_told_as_written_and_decoded(url: str, values: list[str]) -> None:
    decoded = {"k=a%2Fb;l=c+d&m": ["k=a/b;l=c d&m", "a/b", "c d"]}
    assert query_values(url) == values + decoded.get(url.partition("?")[2], [])


def test_https_is_the_same_in_capital_letters() -> None:
    assert [is_https(f"{scheme}://a/") for scheme in ("https", "HTTPS", "http", "HTTP")] == [
        *(True, True),
        *(False, False),
    ]


# ---- the URL that a sender signed -----------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "host", "path", "path_query"),
    [
        ("https://pay.example.com/in", "pay.example.com", "/in", "/in"),
        ("https://pay.example.com", "pay.example.com", "/", "/"),
        ("HTTPS://PAY.example.com?a", "pay.example.com", "/", "/?a"),
        ("https://pay.example.com/in?", "pay.example.com", "/in", "/in?"),
        ("https://pay.example.com:443/in?a=1&b", "pay.example.com", "/in", "/in?a=1&b"),
        ("http://pay.example.com:443/%2F", "pay.example.com:443", "/%2F", "/%2F"),
        ("http://[2001:db8::1]:8080/", "[2001:db8::1]:8080", "/", "/"),
    ],
)
def test_its_parts(url: str, host: str, path: str, path_query: str) -> None:
    assert signed_url(url) == SignedUrl(url, host, path, path_query)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "pay.example.com",
        "ftp://x/",
        "https:///x",
        "https://x/#a",
        "https://user@x/",
        "https://x/\u00e9",
        "https://x:99999/",
        "https://[::1/",
    ],
)
def test_what_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="write the URL"):
        signed_url(url)


def arrived(*hosts: str) -> RequestHead:
    fields = tuple(("Host", host) for host in hosts)
    at = datetime(2026, 1, 5, 12, tzinfo=UTC)
    return RequestHead("POST", "/in?a=1", Headers(fields), ip_address("192.0.2.1"), at)


def test_what_arrived_tells_its_parts() -> None:
    found = received_url(arrived("Pay.example.com:8443"))
    assert found == SignedUrl("", "Pay.example.com:8443", "/in", "/in?a=1")


@pytest.mark.parametrize("hosts", [(), ("a", "a")])
def test_what_arrived_has_one_host(hosts: tuple[str, ...]) -> None:
    with pytest.raises(Refusal) as refused:
        received_url(arrived(*hosts))
    assert refused.value.reason is Reason.SIGNATURE_MISMATCH
