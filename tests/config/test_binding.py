"""An endpoint in the words of its provider."""

import pytest

from relay.config import provider, senders, terms
from relay.config.endpoint import Endpoint
from relay.providers import Terms, Window
from tests.config.files import GOOD, VIPPS, good


def test_terms_say_what_the_endpoint_says() -> None:
    text = GOOD + "    order_id_pattern: 'A.*'\n" + VIPPS
    midtrans, vipps = good(text + "    public_url: https://pay.example.com/v\n").endpoints
    assert terms(midtrans, provider("midtrans").facts) == Terms(
        secrets=midtrans.secrets, order_id_pattern="A.*"
    )
    facts = provider("vipps").facts
    found = terms(vipps, facts)
    assert found.window == facts.window
    assert found.window is not None
    assert found.public_url == "https://pay.example.com/v"


@pytest.mark.parametrize("text", ["off", "{past: 1h, future: 1s}"])
def test_terms_hold_the_window(text: str) -> None:
    endpoint = good(GOOD + VIPPS + f"    timestamp: {text}\n").endpoints[1]
    window = terms(endpoint, provider("vipps").facts).window
    assert window is not None
    if text == "off":
        assert window == Window(past=None, future=None)
    else:
        assert window.past is not None
        assert window.future is not None
        assert (window.past.total_seconds(), window.future.total_seconds()) == (3600, 1)


def _senders(allowlist: str) -> tuple[int, list[str], tuple[str, ...]]:
    endpoint: Endpoint = good(GOOD + VIPPS + f"    allowlist: {allowlist}\n").endpoints[1]
    found = senders(endpoint, provider("vipps").facts.environments["production"])
    return len(found.networks), [entry.origin for entry in found.networks], found.hosts


def test_who_may_send() -> None:
    own = provider("vipps").facts.environments["production"].hosts
    assert _senders("{}") == (0, [], own)
    assert _senders("{add: [192.0.2.1, x.example, callback-1.vipps.no]}") == (
        1,
        ["configuration"],
        (*own, "x.example"),
    )
    assert _senders("{add: [192.0.2.1], replace: [192.0.2.2, x.example]}") == (
        2,
        ["configuration", "configuration"],
        ("x.example",),
    )


def test_listed_networks_keep_their_origin() -> None:
    endpoint = good(GOOD).endpoints[0]
    environment = provider("midtrans").facts.environments["production"]
    found = senders(endpoint, environment)
    assert {entry.origin for entry in found.networks} == {
        listing.origin for listing in environment.listings
    }
    assert len(found.networks) == sum(len(each.networks) for each in environment.listings)
