"""Between a sender and a listener, some shapes cannot be what their author meant."""

from pathlib import Path

import pytest
from netaddr import IPNetwork

from relay.allowlist.networks import covers_all, families_mostly_covered, redundant_positions
from relay.config.lint import lint
from tests.config.files import GOOD, VIPPS, good
from tests.config.lints import TODAY, findings, info
from tests.harness.wire import write_pair

#: A public address, where nothing in front is needed.
PUBLIC = GOOD.replace("127.0.0.1:8080", "9.9.9.9:443")


def shaped(listen: str, trusted: str = "", more: str = "") -> str:
    """Return a file with this listener, these trusted proxies, and more keys."""
    text = GOOD.replace('"127.0.0.1:8080"', listen)
    old = 'trusted_proxies: ["127.0.0.1"]\n'
    assert old in text
    return text.replace(old, f"trusted_proxies: [{trusted}]\n" if trusted else "") + more


CODES = (
    *("[proxy-not-trusted]", "[everyone]", "[sender-trusted]", "[header-unread]"),
    *("[other-family]", "[two-ways-in]"),
)
PROXY = '"{}"\n    proxy_protocol: true'
#: A second listener.
LOCAL = '\n  - bind: "127.0.0.1:8080"'
PLAIN = '\n  - bind: "0.0.0.0:8080"'
PROXIED = PLAIN + "\n    proxy_protocol: true"


@pytest.mark.parametrize(
    "text",
    [
        shaped(PROXY.format("0.0.0.0:443"), "10.0.0.0/16"),
        shaped(PROXY.format("127.0.0.1:8080"), "127.0.0.1"),
        shaped(PROXY.format("127.0.0.1:8080"), "127.0.0.0/8"),
        shaped(PROXY.format("[::1]:8080"), '"::1"'),
        shaped(PROXY.format("[::]:443"), '"2001:db8::/32", 10.0.0.0/16'),
        shaped(PROXY.format("10.0.0.5:443"), "10.0.0.6"),
        # for those that come by themselves, beside one for the proxy
        shaped('"0.0.0.0:443"\n  - bind: "[::]:443"', '"2001:db8::1"'),
        shaped('"0.0.0.0:443"\n  - bind: "[::1]:8080"', '"::1"'),
        # one door for a balancer, and another for the proxy on this machine, or for senders that
        # come by themselves and cannot be mistaken for the balancer
        shaped(PROXY.format("0.0.0.0:443") + LOCAL, "10.0.0.0/16, 127.0.0.1"),
        shaped(PROXY.format("127.0.0.1:443") + LOCAL, "127.0.0.1"),
        shaped(PROXY.format("127.0.0.1:8443") + PLAIN, "127.0.0.1"),
        shaped(PROXY.format("0.0.0.0:8443") + '\n  - bind: "[::]:8080"', "10.0.0.0/16"),
        shaped(PROXY.format("0.0.0.0:8443") + PROXIED, "10.0.0.0/16"),
        # a sidecar proxy, and two in a row of which one is near
        shaped('"0.0.0.0:443"', "127.0.0.1"),
        shaped('"9.9.9.9:443"', '"2001:db8::1", 9.9.9.8'),
        # IPv4 senders, heard directly or through a proxy
        shaped('"0.0.0.0:443"'),
        shaped('"[::]:443"\n  - bind: "9.9.9.9:443"'),
        shaped('"[::]:443"', '"2001:db8::1"'),
        # everybody may send, and host names may stand for IPv6 addresses
        shaped('"[::]:443"') + '    allowlist: {mode: "off"}\n',
        shaped('"[::]:443"') + "    allowlist: {add: [hooks.example.com]}\n",
        shaped('"[::]:443"') + '    allowlist: {add: ["2001:db8::1"]}\n',
        shaped(PROXY.format("0.0.0.0:443"), "10.0.0.0/16", "forwarded_header: Forwarded\n"),
        shaped('"127.0.0.1:8080"', "127.0.0.1", "forwarded_header: Forwarded\n"),
    ],
)
def test_shapes_that_can_be_right(text: str) -> None:
    assert [said for said in findings(good(text)) if said.endswith(CODES)] == []


NAMED = "2:11: warning: listen.0.bind: "
TWO_WAYS = (
    " can connect here without a PROXY header too, and whoever is behind a proxy that forwards"
    " bytes then writes X-Forwarded-For itself; add proxy_protocol: true, or bind to an address"
    " that this proxy does not reach, such as 127.0.0.1 [two-ways-in]"
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            shaped('"10.0.0.5:8080"'),
            NAMED + "a private address is reached through a proxy, whose own address then stands"
            " for every client; name it in trusted_proxies [proxy-not-trusted]",
        ),
        (
            shaped('"127.0.0.1:8080"', "10.0.0.7"),
            NAMED + "only this machine reaches a loopback address, and trusted_proxies names"
            " nobody there: no header is believed [proxy-not-trusted]",
        ),
        (
            shaped(PROXY.format("127.0.0.1:8080"), '10.0.0.7, "::1"'),
            NAMED + "only this machine reaches a loopback address, and trusted_proxies names"
            " nobody there: every connection is closed [proxy-not-trusted]",
        ),
        (
            shaped(PROXY.format("[::]:443"), "10.0.0.7"),
            NAMED + "only IPv6 connections come to this address, and trusted_proxies names"
            " nobody there: every connection is closed [proxy-not-trusted]",
        ),
        (
            shaped(PROXY.format("0.0.0.0:443"), '"2001:db8::1"'),
            NAMED + "only IPv4 connections come to this address, and trusted_proxies names"
            " nobody there: every connection is closed [proxy-not-trusted]",
        ),
        (
            shaped('"[::]:443"'),
            NAMED + "only IPv6 connections come to this address, and midtrans may be sent to from"
            " IPv4 addresses alone; listen on 0.0.0.0 too [other-family]",
        ),
        (
            shaped('"0.0.0.0:443"') + '    allowlist: {replace: ["2001:db8::/32"]}\n',
            NAMED + "only IPv4 connections come to this address, and midtrans may be sent to from"
            " IPv6 addresses alone; listen on [::] too [other-family]",
        ),
        (
            shaped(PROXY.format("0.0.0.0:8443") + PLAIN, "10.0.0.0/16, 127.0.0.1"),
            "4:11: warning: listen.1.bind: 10.0.0.0/16" + TWO_WAYS,
        ),
        (
            shaped('"10.0.0.5:8080"\n  - bind: ' + PROXY.format("10.0.0.5:8443"), "10.0.0.7"),
            NAMED + "10.0.0.7/32" + TWO_WAYS,
        ),
        *(
            (
                shaped(listen, trusted),
                (
                    "3:18: warning: trusted_proxies: none of these can connect to a listener: IPv4"
                    " listeners hear IPv4 alone, IPv6 listeners IPv6 alone, and a proxy on this"
                    " machine comes from the address that it connects to [proxy-not-trusted]"
                ),
            )
            for listen, trusted in (
                ('"[::]:443"', "10.0.0.0/16"),
                ('"0.0.0.0:443"', '"2001:db8::1"'),
                ('"10.0.0.5:8080"', "127.0.0.1"),
            )
        ),
        (
            shaped(PROXY.format("0.0.0.0:443"), "0.0.0.0/0"),
            (
                "4:19: warning: trusted_proxies.0: 0.0.0.0/0 believes anybody's PROXY header;"
                " name your own proxies [everyone]"
            ),
        ),
        (
            shaped(PROXY.format("0.0.0.0:443"), "0.0.0.0/1, 128.0.0.0/2"),
            (
                "4:18: warning: trusted_proxies: together these believe the PROXY header of"
                " half of all IPv4 addresses or more; name your own proxies [everyone]"
            ),
        ),
        (
            PUBLIC.replace("127.0.0.1", "103.208.23.0/28"),
            (
                "3:19: warning: trusted_proxies.0: 103.208.23.0/28 is taken for a proxy's, and"
                " midtrans may be sent to from there; what comes from there by itself is"
                " refused, so name your own proxies only [sender-trusted]"
            ),
        ),
        (
            GOOD + VIPPS + '    allowlist: {add: ["127.0.0.0/8"]}\n',
            (
                "3:19: warning: trusted_proxies.0: 127.0.0.1/32 is taken for a proxy's, and"
                " vipps may be sent to from there; what comes from there by itself is refused,"
                " so name your own proxies only [sender-trusted]"
            ),
        ),
        (
            shaped('"9.9.9.9:443"', more="forwarded_header: Forwarded\n"),
            (
                "12:19: warning: forwarded_header: is never read: trusted_proxies names nobody"
                " whose word would be taken [header-unread]"
            ),
        ),
        (
            shaped(PROXY.format("127.0.0.1:8080"), "127.0.0.1", "forwarded_header: Forwarded\n"),
            (
                "14:19: warning: forwarded_header: is never read: PROXY headers name the"
                " client, and no second proxy is trusted; leave it out [header-unread]"
            ),
        ),
    ],
)
def test_shapes_that_cannot(text: str, said: str) -> None:
    assert said in findings(good(text))


CLEAR = (
    "payments and tokens cross the internet in clear text; add tls: {certificate: FILE, key: FILE},"
    " or name the proxy that ends TLS in trusted_proxies"
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (shaped('"9.9.9.9:80"'), [CLEAR]),
        (shaped('"0.0.0.0:8080"'), [CLEAR]),
        (shaped('"0.0.0.0:8080"\n  - bind: "[2600::1]:80"'), [CLEAR, CLEAR]),
        (shaped('"0.0.0.0:443"\n    tls: {certificate: certificate.pem, key: key.pem}'), []),
        (shaped('"0.0.0.0:8080"', "10.0.0.0/16"), []),
        (shaped('"10.0.0.5:8080"'), []),
        (shaped('"127.0.0.1:8080"'), []),
    ],
)
def test_payments_in_clear_text(text: str, said: list[str], tmp_path: Path) -> None:
    write_pair(tmp_path)
    settings = good(text, base=tmp_path)
    found = lint(settings, info(settings), {}, TODAY)
    assert [each.message for each in found if each.code == "plain-http"] == said
    assert all(each.where.startswith("listen.") for each in found if each.code == "plain-http")


# ---- networks that add nothing --------------------------------------------------------------


def networks(*texts: str) -> list[IPNetwork]:
    return [IPNetwork(text) for text in texts]


def test_everyone_is_every_address_of_one_kind() -> None:
    assert covers_all(IPNetwork("0.0.0.0/0"))
    assert covers_all(IPNetwork("::/0"))
    assert not covers_all(IPNetwork("0.0.0.0/1"))


@pytest.mark.parametrize(
    ("texts", "kinds"),
    [
        ((), []),
        (("0.0.0.0/1", "128.0.0.0/1"), ["IPv4"]),
        (("0.0.0.0/1",), ["IPv4"]),
        (("0.0.0.0/2", "128.0.0.0/2"), ["IPv4"]),
        (("0.0.0.0/2", "128.0.0.0/3", "192.0.0.0/4", "208.0.0.0/5"), []),
        (("0.0.0.0/2", "0.0.0.0/2", "1.0.0.0/8"), []),
        (("8000::/1", "fc00::/7", "::/4"), []),
        (("2000::/3",), ["IPv6"]),
        (("2000::/5", "2800::/5"), ["IPv6"]),
        (("2000::/5", "3000::/6"), []),
        (("::/1", "8000::/1"), ["IPv6"]),
        (("::/1", "128.0.0.0/1"), ["IPv4", "IPv6"]),
    ],
)
def test_half_of_a_kind_is_mostly_everyone(texts: tuple[str, ...], kinds: list[str]) -> None:
    assert [*families_mostly_covered(networks(*texts))] == kinds


def test_the_narrower_of_two_is_repeated() -> None:
    wide, narrow = networks("192.0.2.0/24", "192.0.2.7")
    assert [*redundant_positions([narrow, wide], ())] == [(0, wide)]
    assert [*redundant_positions([wide, narrow], ())] == [(1, wide)]
    assert [*redundant_positions([narrow], [wide])] == [(0, wide)]
    assert [*redundant_positions([wide], [narrow])] == []


def test_of_equal_networks_the_first_stays() -> None:
    one = IPNetwork("192.0.2.7")
    assert [*redundant_positions([one, one, one], ())] == [(1, one), (2, one)]
    assert [*redundant_positions([one], [one])] == [(0, one)]


def test_names_are_passed_over_and_counted() -> None:
    wide, narrow = networks("192.0.2.0/24", "192.0.2.7")
    assert [*redundant_positions(["x.example", wide, "x.example", narrow], ())] == [(3, wide)]


# ---- networks of others ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ("10.0.0.0/8", "10.0.0.0/8 is wider than a /12: every machine in it may write the"),
        ("2001:da0::/27", "2001:da0::/27 is wider than a /28: every machine in it may write the"),
        ("172.16.0.0/12", None),
        ("127.0.0.0/8", None),
        ("2001:db0::/28", None),
    ],
)
def test_a_trusted_network_that_is_wider_than_ones_own(network: str, said: str | None) -> None:
    found = findings(good(shaped('"0.0.0.0:8080"', f'"{network}"')))
    wide = [each for each in found if each.endswith("[wide-network]")]
    assert wide == (
        []
        if said is None
        else [
            (
                f"3:19: warning: trusted_proxies.0: {said} forwarding header; name your own"
                " proxies [wide-network]"
            )
        ]
    )


@pytest.mark.parametrize(
    ("network", "owner"),
    [
        ("162.158.0.0/15", "is Cloudflare's"),
        ("162.158.5.7", "is Cloudflare's"),
        ("162.144.0.0/12", "holds addresses of Cloudflare"),
        ("2000::/3", "holds addresses of Cloudflare"),
        ("2606:4700::/32", "is Cloudflare's"),
        ("151.101.0.0/16", "is Fastly's"),
        ("13.32.0.0/15", "is Amazon CloudFront's"),
        ("198.51.100.0/24", None),
    ],
)
def test_a_trusted_network_of_a_cdn_is_told_with_its_owner(network: str, owner: str | None) -> None:
    found = findings(good(shaped('"0.0.0.0:8080"', f'"{network}"')))
    told = [each for each in found if each.endswith("[cdn-trusted]")]
    assert len(told) == (owner is not None)
    if owner is not None:
        assert f" {owner}, and other customers of theirs come from there too" in told[0]
