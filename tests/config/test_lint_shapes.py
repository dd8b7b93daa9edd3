"""Between a sender and a listener, some shapes cannot be what their author meant."""

import pytest

from tests.config.files import GOOD, VIPPS, good
from tests.config.lints import findings

#: A public address, where nothing in front is needed.
PUBLIC = GOOD.replace("127.0.0.1:8080", "9.9.9.9:443")


def shaped(listen: str, trusted: str = "", more: str = "") -> str:
    """Return a file with this listener, these trusted proxies, and more keys."""
    text = GOOD.replace('"127.0.0.1:8080"', listen)
    old = 'trusted_proxies: ["127.0.0.1"]\n'
    assert old in text
    return text.replace(old, f"trusted_proxies: [{trusted}]\n" if trusted else "") + more


CODES = ("[proxy-not-trusted]", "[everyone]", "[sender-trusted]", "[header-unread]")
PROXY = '"{}"\n    proxy_protocol: true'


@pytest.mark.parametrize(
    "text",
    [
        shaped(PROXY.format("0.0.0.0:443"), "10.0.0.0/8"),
        shaped(PROXY.format("127.0.0.1:8080"), "127.0.0.1"),
        shaped(PROXY.format("127.0.0.1:8080"), "127.0.0.0/8"),
        shaped(PROXY.format("[::1]:8080"), '"::1"'),
        shaped(PROXY.format("[::]:443"), '"2001:db8::/32", 10.0.0.0/8'),
        shaped(PROXY.format("10.0.0.5:443"), "10.0.0.6"),
        # for those that come by themselves
        shaped('"0.0.0.0:443"', '"2001:db8::1"'),
        shaped(PROXY.format("0.0.0.0:443"), "10.0.0.0/8", "forwarded_header: Forwarded\n"),
        shaped('"127.0.0.1:8080"', "127.0.0.1", "forwarded_header: Forwarded\n"),
    ],
)
def test_shapes_that_can_be_right(text: str) -> None:
    assert [said for said in findings(good(text)) if said.endswith(CODES)] == []


NAMED = "2:11: warning: listen.0.bind: "


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
