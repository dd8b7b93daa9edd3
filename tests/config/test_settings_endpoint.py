"""What settings say of an endpoint."""

from datetime import timedelta

from netaddr import IPNetwork

from relay.allowlist import Mode
from relay.config import TimeWindow
from tests.config.files import GOOD, VIPPS, good


def test_defaults() -> None:
    endpoint = good(GOOD).endpoints[0]
    assert endpoint.mode == "store"
    assert endpoint.allowlist.mode is Mode.ENFORCE
    assert (endpoint.allowlist.add, endpoint.allowlist.replace) == ((), None)
    assert endpoint.unsigned == "refuse"
    left_out = (endpoint.public_url, endpoint.timestamp, endpoint.order_id_pattern)
    assert left_out == (None, None, None)
    assert (endpoint.partner_id, endpoint.callback, endpoint.confirm) == (None, None, None)


def test_an_allowlist_tells_networks_from_hosts() -> None:
    text = '    allowlist: {mode: off, add: ["192.0.2.0/24", Pay.Example.com, "2001:db8::1"]}\n'
    allowlist = good(GOOD + text).endpoints[0].allowlist
    assert allowlist.mode is Mode.OFF
    assert allowlist.networks(allowlist.add) == (
        IPNetwork("192.0.2.0/24"),
        IPNetwork("2001:db8::1/128"),
    )
    assert allowlist.hosts(allowlist.add) == ("pay.example.com",)


def test_a_window() -> None:
    text = GOOD + VIPPS + "    timestamp: {past: 24h, future: 90s}\n"
    window = good(text).endpoints[1].timestamp
    assert isinstance(window, TimeWindow)
    assert (window.past, window.future) == (timedelta(hours=24), timedelta(seconds=90))


def test_off_is_the_word_off() -> None:
    assert good(GOOD + VIPPS + "    timestamp: off\n").endpoints[1].timestamp == "off"
