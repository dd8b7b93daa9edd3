"""Sections take what they say, and convert nothing."""

import re
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPNetwork
from pydantic import ValidationError

from relay.allowlist.networks import Nameserver
from relay.config import types
from relay.config.types import Bind, Duration, FilePath, SecretText, Section, default
from relay.core.secret import Secret


class Sample(Section):
    number: int = default(1)
    wait: Duration = default("2s")
    path: FilePath = default("a")
    secret: SecretText | None = default(None)
    word: Literal["a", "b"] = default("a")


def test_defaults_are_read_like_the_file() -> None:
    sample = Sample.model_validate({}, context={"base": Path("/etc")})
    assert sample.wait == timedelta(seconds=2)
    assert sample.path == Path("/etc/a")
    assert Sample.model_validate({}).path == Path("a")


@pytest.mark.parametrize(
    "data",
    [
        {"number": "1"},
        {"number": 1.0},
        {"number": True},
        {"number": None},
        {"wait": 2},
        {"path": ""},
        {"path": 1},
        {"path": "a\0"},
        {"secret": "text"},
        {"word": "c"},
        {"x": 1},
    ],
)
def test_nothing_is_converted(data: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        Sample.model_validate(data)
    assert caught.value.error_count() == 1


def test_errors_hold_no_input() -> None:
    with pytest.raises(ValidationError) as caught:
        Sample.model_validate({"number": "canary"})
    assert "canary" not in str(caught.value)


def test_a_secret_is_taken_as_it_is() -> None:
    secret = Secret("x")
    assert Sample.model_validate({"secret": secret}).secret is secret


# ---- values ---------------------------------------------------------------------------------
# Durations, sizes, addresses, names and URLs.


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("15s", timedelta(seconds=15)),
        ("5m", timedelta(minutes=5)),
        ("6h", timedelta(hours=6)),
        ("7d", timedelta(days=7)),
    ],
)
def test_durations(text: str, length: timedelta) -> None:
    assert types.duration(text) == length


@pytest.mark.parametrize(
    "value", [15, 1.5, "15", "15 s", "1.5s", "-1s", "1h30m", "15S", "1w", "", None, True, "٣s"]
)
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(ValueError, match=r"^write a whole number and a unit: 500ms, 15s, 5m"):
        types.duration(value)


def test_no_duration_is_as_good_as_endless() -> None:
    assert types.duration("3650d") == timedelta(days=3650)
    with pytest.raises(ValueError, match=r"^longer than 3650 days; write a shorter duration$"):
        types.duration("3651d")


def test_only_some_durations_may_be_nothing() -> None:
    assert types.duration_or_zero("0s") == timedelta()
    with pytest.raises(ValueError, match=r"^must be longer than nothing$"):
        types.duration("0s")


@pytest.mark.parametrize(
    ("value", "number"),
    [("64KiB", 65536), ("1MiB", 1048576), ("2GiB", 2**31), ("9B", 9), (300, 300), (1, 1)],
)
def test_sizes(value: object, number: int) -> None:
    assert types.size(value) == number


@pytest.mark.parametrize("value", ["64", "64K", "64KB", "64kib", "1.5MiB", True, 1.0, None, "-1B"])
def test_what_is_no_size(value: object) -> None:
    with pytest.raises(ValueError, match=r"^write a size such as 64KiB or 1MiB, or a whole"):
        types.size(value)


@pytest.mark.parametrize("value", [0, -1, "0KiB", 2**50])
def test_sizes_are_bounded(value: object) -> None:
    with pytest.raises(ValueError, match=r"^must be at least 1 byte and at most 1024GiB$"):
        types.size(value)


@pytest.mark.parametrize(
    ("text", "host", "port", "shown"),
    [
        ("0.0.0.0:8443", "0.0.0.0", 8443, "0.0.0.0:8443"),
        ("[::]:8443", "::", 8443, "[::]:8443"),
        ("127.0.0.1:0", "127.0.0.1", 0, "127.0.0.1:0"),
        ("[2001:DB8::1]:443", "2001:db8::1", 443, "[2001:db8::1]:443"),
    ],
)
def test_binds(text: str, host: str, port: int, shown: str) -> None:
    found = types.bind(text)
    assert found == Bind(ip_address(host), port)
    assert found.host == host
    assert str(found) == shown


WRITE = 'write an address and a port in quotes, such as "0.0.0.0:8443" or "[::]:8443"'
BRACKETS = "an IPv6 address needs brackets"
NO_PORT = "no port; write one behind the address"
NUMBER = "the port is a whole number, at most 65535"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (":8443", 'no address before the port; "0.0.0.0:8443" is all of IPv4'),
        ("*:8443", 'no address before the port; "0.0.0.0:8443" is all of IPv4'),
        ("8443", "no port behind an address; write both"),
        (8443, "no port behind an address; write both"),
        ("localhost", "no port behind an address; write both"),
        ("localhost:8443", "a name is no address; write one"),
        ("pay.example.com:443", "a name is no address; write one"),
        ("0.0.0.0", NO_PORT),
        ("[::1]", NO_PORT),
        ("0.0.0.0:65536", "the port is at most 65535"),
        ("[::]:99999", "the port is at most 65535"),
        ("::1:80", BRACKETS),
        ("::1", BRACKETS),
        ("fe80::1%eth0:80", BRACKETS),
        ("http://0.0.0.0:80", "write the address and the port alone"),
        ("0.0.0.0:80/", "write the address and the port alone"),
        ("0.0.0.0:-1", NUMBER),
        ("0.0.0.0:", NUMBER),
        ("0.0.0.0:http", NUMBER),
        ("[fe80::1%eth0]:80", WRITE),
        ("1.2.3.400:80", WRITE),
        ("01.2.3.4:80", WRITE),
        (" 0.0.0.0:1", WRITE),
        ("", WRITE),
        (True, WRITE),
        (None, WRITE),
    ],
)
def test_what_is_no_bind(value: object, said: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(said)):
        types.bind(value)


@pytest.mark.parametrize("text", ["~/relay.db", "~", "~relay/relay.db", "$HOME/relay.db"])
def test_a_path_of_a_shell_is_none(text: str) -> None:
    message = re.escape(f"{text[0]} is not expanded here; write the whole path")
    with pytest.raises(ValueError, match=f"^{message}$"):
        types.refuse_shell_path(text)


@pytest.mark.parametrize("text", ["relay~", "a/~/b", "/srv/$a", "~relay.db", "$5"])
def test_a_path_may_hold_such_signs(text: str) -> None:
    types.refuse_shell_path(text)


def test_members_are_networks_or_host_names() -> None:
    assert types.member("192.0.2.0/24") == IPNetwork("192.0.2.0/24")
    assert types.member("192.0.2.1") == IPNetwork("192.0.2.1/32")
    assert types.member("2001:db8::/32") == IPNetwork("2001:db8::/32")
    assert types.member("Callback-1.Vipps.NO.") == "callback-1.vipps.no"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("10.0.0.1/8", "10.0.0.1/8 has host bits; write 10.0.0.0/8 or 10.0.0.1/32"),
        ("1.2.3", "is short"),
        ("a_b.example", "is not a host name"),
        ("-a.example", "is not a host name"),
        ("a..example", "is not a host name"),
        (f"{'a' * 64}.example", "is not a host name"),
        ("blåbær.no", "is not ASCII"),
        ("x" * 301, "^write a network or a host name in quotes$"),
        (5, "^write a network or a host name in quotes$"),
    ],
)
def test_what_is_neither(value: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        types.member(value)


def test_networks_and_nameservers_are_text() -> None:
    assert types.network("::/0") == IPNetwork("::/0")
    assert types.nameserver("192.0.2.53:5353") == Nameserver("192.0.2.53", 5353)
    with pytest.raises(ValueError, match=r'^write a network in quotes, such as "192.0.2.0/24"$'):
        types.network(10)
    with pytest.raises(ValueError, match=r'^write an address in quotes, such as "192.0.2.53"$'):
        types.nameserver(10)


@pytest.mark.parametrize(
    "url",
    [
        "http://billing.internal:8080/webhooks",
        "https://billing",
        "http://my_service:8080/",
        "http://[2001:db8::1]:8080/x",
        "http://192.0.2.1/a%20b",
        "http://shop/?wc-api=WC_Gateway_Midtrans",
        "http://shop?a=1&b=%20",
    ],
)
def test_upstream_urls(url: str) -> None:
    assert types.upstream_url(url) == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("billing:8080", "^must begin with http:// or https://; write a URL such as http"),
        ("ftp://billing/", "^must begin with http:// or https://; write a URL such as http"),
        ("http:///x", "^write a URL such as http"),
        ("http://bill ing/", "^holds blanks or letters that a URL cannot have; write a URL such"),
        ("http://billing/\nx", "^holds blanks or letters that a URL cannot have; write a URL such"),
        ("http://billing:99999/", "^the port is at most 65535$"),
        ("http://billing:0/", "^write a URL such as http"),
        ("http://[::1/", "^write a URL such as http"),
        ("http://127.1/", "^write a URL such as http"),
        ("http://bill%69ng/", "^write a URL such as http"),
        ("http://blåbær/", "^holds blanks or letters that a URL cannot have; write a URL such"),
        ("http://me:pw@billing/", "^must hold no user name or password; they belong in auth$"),
        ("http://billing/#x", '^must hold no "#"$'),
    ],
)
def test_what_is_no_upstream_url(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        types.upstream_url(url)


def test_the_url_of_an_api_has_no_query() -> None:
    assert types.api_url("https://api.midtrans.com/v2") == "https://api.midtrans.com/v2"
    for url in ("http://billing/?x=1", "http://billing/?"):
        with pytest.raises(ValueError, match=r"^must have no query; write the URL up to the"):
            types.api_url(url)
    with pytest.raises(ValueError, match="user name"):
        types.api_url("https://u@api.midtrans.com")


def test_a_public_url_may_have_a_query() -> None:
    assert types.public_url("https://pay.example.com/x?y=1") == "https://pay.example.com/x?y=1"
    with pytest.raises(ValueError, match="user name"):
        types.public_url("https://u@pay.example.com/x")


@pytest.mark.parametrize("path", ["/", "/a/b", "/a/", "/a%2Fb", "/a;b=1", "/~x", "/v1.0/a.b"])
def test_public_paths(path: str) -> None:
    assert types.public_path(path) == path


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("a", "^write a path that begins with"),
        ("", "^write a path that begins with"),
        ("/a?b", "no query"),
        ("/a#b", "^write a path"),
        ("/a b", "no blanks"),
        ("/a\\b", "no backslash"),
        ("/a%2", "^write a path"),
        ("/é", "^write a path"),
        ("/a//b", '^must not hold "//"$'),
        ("/a/../b", '^must not hold "." or ".." between slashes$'),
        ("/a/.", '^must not hold "." or ".." between slashes$'),
        ("/a/%2E./b", '^must not hold "." or ".." between slashes$'),
        ("/healthz", "^/healthz is the health check; write another path$"),
    ],
)
def test_what_is_no_public_path(path: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        types.public_path(path)


def test_labels() -> None:
    assert types.label("billing_EU-1") == "billing_EU-1"
    for text in ("", "a b", "a.b", "é", "x" * 65):
        with pytest.raises(ValueError, match=r"^write 1 to 64 letters, digits, hyphens"):
            types.label(text)


def test_patterns_compile() -> None:
    assert types.pattern(r"ORDER-\d+") == r"ORDER-\d+"
    for text in ("(", "a{1001}", "(?=a)a", r"(a)\1"):
        with pytest.raises(ValueError, match=r"^not a regular expression of RE2: "):
            types.pattern(text)
    with pytest.raises(ValueError, match=r"^longer than 1000 characters$"):
        types.pattern("a" * 1001)


ON_TEXT: tuple[Callable[[str], Any], ...] = (
    types.upstream_url,
    types.public_url,
    types.public_path,
    types.label,
    types.pattern,
)
ON_ANYTHING: tuple[Callable[[object], Any], ...] = (
    types.duration,
    types.size,
    types.bind,
    types.nameserver,
    types.network,
    types.member,
)


def outcome(read: Callable[[Any], Any], value: object) -> str:
    """Return what was read, or what was said."""
    try:
        return repr(read(value))
    except ValueError as error:
        return str(error)


@given(st.text() | st.text("0123456789.:/[]%#tls ahttp@-") | st.from_regex(r"https?://.*"))
def test_any_text_is_a_value_or_a_value_error(text: str) -> None:
    assert all(outcome(read, text) for read in (*ON_TEXT, *ON_ANYTHING))


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.just(()) | st.just({}))
def test_anything_else_is_a_value_or_a_value_error(value: object) -> None:
    assert all(outcome(read, value) for read in ON_ANYTHING)
