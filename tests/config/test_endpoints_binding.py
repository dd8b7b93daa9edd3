"""An endpoint in the words of its provider."""

import pytest

from relay.config import Endpoint, endpoint_options, provider_name, provider_of, senders
from relay.providers import EndpointOptions, Window
from relay.providers.builtin import provider_named
from tests.config.files import BUILT_IN, GOOD, INLINE, VIPPS, changed, good


def test_terms_say_what_the_endpoint_says() -> None:
    text = GOOD + "    order_id_pattern: 'A.*'\n" + VIPPS
    midtrans, vipps = good(text + "    public_url: https://pay.example.com/v\n").endpoints
    assert endpoint_options(midtrans, provider_named("midtrans").info) == EndpointOptions(
        secrets=midtrans.secrets, order_id_pattern="A.*", enforced=True
    )
    info = provider_named("vipps").info
    found = endpoint_options(vipps, info)
    assert found.window == info.window
    assert found.window is not None
    assert found.public_url == "https://pay.example.com/v"


@pytest.mark.parametrize("text", ["off", "{past: 1h, future: 1s}"])
def test_terms_hold_the_window(text: str) -> None:
    endpoint = good(GOOD + VIPPS + f"    timestamp: {text}\n").endpoints[1]
    window = endpoint_options(endpoint, provider_named("vipps").info).window
    assert window is not None
    if text == "off":
        assert window == Window(past=None, future=None)
    else:
        assert window.past is not None
        assert window.future is not None
        assert (window.past.total_seconds(), window.future.total_seconds()) == (3600, 1)


def _senders(allowlist: str) -> tuple[int, list[str], tuple[str, ...]]:
    endpoint: Endpoint = good(GOOD + VIPPS + f"    allowlist: {allowlist}\n").endpoints[1]
    found = senders(endpoint, provider_named("vipps").info.environments["production"])
    return len(found.networks), [entry.origin for entry in found.networks], found.hosts


def test_who_may_send() -> None:
    own = provider_named("vipps").info.environments["production"].hosts
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
    environment = provider_named("midtrans").info.environments["production"]
    found = senders(endpoint, environment)
    assert {entry.origin for entry in found.networks} == {
        listing.origin for listing in environment.listings
    }
    assert len(found.networks) == sum(len(each.networks) for each in environment.listings)
    # Read once, however many endpoints it is for.
    again = senders(endpoint, environment)
    assert all(one is other for one, other in zip(found.networks, again.networks, strict=True))


@pytest.mark.parametrize(
    ("allowlist", "enforced"),
    [
        ("{}", True),
        ("{add: [192.0.2.0/24]}", True),
        ("{mode: report}", False),
        ("{mode: off}", False),
        ('{add: ["0.0.0.0/0"]}', False),
        ('{replace: ["::/0"]}', False),
        ('{add: ["0.0.0.0/1", "128.0.0.0/1"]}', False),
    ],
)
def test_only_an_allowlist_that_refuses_is_a_proof(allowlist: str, enforced: bool) -> None:
    endpoint = good(GOOD + f"    allowlist: {allowlist}\n").endpoints[0]
    assert endpoint_options(endpoint, provider_named("midtrans").info).enforced is enforced


def test_a_described_provider_is_one_like_any_other() -> None:
    endpoint = good(changed((BUILT_IN, INLINE))).endpoints[0]
    info = provider_of(endpoint).info
    assert (provider_name(endpoint), info.name, endpoint.environment) == ("github",) * 2 + ("live",)
    found = senders(endpoint, info.environments["live"])
    assert [(str(entry.network), entry.origin) for entry in found.networks] == [
        ("192.0.2.0/24", "configuration")
    ]
    assert found.hosts == ("hooks.example.com",)
    built_in = good(GOOD).endpoints[0]
    assert provider_of(built_in) is provider_named("midtrans")
    assert provider_name(built_in) == "midtrans"


def test_the_callback_is_a_term() -> None:
    text = GOOD + VIPPS.replace("provider: vipps", "provider: vipps-callback")
    endpoint = good(text + "    callback: checkout\n").endpoints[1]
    assert endpoint_options(endpoint, provider_named("vipps-callback").info).callback == "checkout"
