import pytest

from relay.allowlist.networks import Nameserver, parse_nameserver


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("192.0.2.53", Nameserver("192.0.2.53", 53)),
        ("192.0.2.53:5353", Nameserver("192.0.2.53", 5353)),
        ("2001:db8::53", Nameserver("2001:db8::53", 53)),
        ("[2001:db8::53]", Nameserver("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", Nameserver("2001:db8::53", 5353)),
        ("tls://192.0.2.53", Nameserver("192.0.2.53", 853, tls=True)),
        (
            "tls://192.0.2.53#dns.example.com",
            Nameserver("192.0.2.53", 853, tls=True, name="dns.example.com"),
        ),
        (
            "tls://[2001:db8::53]:8853#dns.example.com",
            Nameserver("2001:db8::53", 8853, tls=True, name="dns.example.com"),
        ),
    ],
)
def test_a_name_server_is_read(text: str, server: Nameserver) -> None:
    assert parse_nameserver(text) == server


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "write its address"),
        ("dns.example.com", "write its address"),
        ("192.0.2", "write its address"),
        ("192.0.2.053", "write its address"),
        ("[2001:db8::53", "write its address"),
        ("[2001:db8::53]53", "write its address"),
        ("fe80::1%eth0", "write its address"),
        ("https://192.0.2.53/dns-query", "write its address"),
        ("192.0.2.53:", "1 to 65535"),
        ("192.0.2.53:0", "1 to 65535"),
        ("192.0.2.53:65536", "1 to 65535"),
        ("192.0.2.53:٥٣", "1 to 65535"),
        ("192.0.2.53#dns.example.com", "write tls://192.0.2.53#dns.example.com"),
        ("tls://192.0.2.53#", "is not a host name"),
        ("tls://192.0.2.53#bad name", "is not a host name"),
    ],
)
def test_anything_else_is_an_error_that_says_what_to_write(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        parse_nameserver(text)
