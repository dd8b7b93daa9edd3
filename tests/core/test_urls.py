import pytest

from relay.core.urls import authority


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
