"""The parts of a URL that senders sign."""

import pytest

from relay.providers.inline.signed_text import SignedUrl, signed_url


@pytest.mark.parametrize(
    ("url", "host", "path", "path_query"),
    [
        ("https://pay.example.com/in", "pay.example.com", "/in", "/in"),
        ("https://pay.example.com", "pay.example.com", "/", "/"),
        ("https://pay.example.com:443/in?a=1&b", "pay.example.com", "/in", "/in?a=1&b"),
        ("http://pay.example.com:443/%2F", "pay.example.com:443", "/%2F", "/%2F"),
        ("http://[2001:db8::1]:8080/", "[2001:db8::1]:8080", "/", "/"),
    ],
)
def test_its_parts(url: str, host: str, path: str, path_query: str) -> None:
    assert signed_url(url) == SignedUrl(url, host, path, path_query)


@pytest.mark.parametrize("url", ["", "pay.example.com", "ftp://x/", "https:///x", "https://x/#a"])
def test_what_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="write the URL"):
        signed_url(url)
