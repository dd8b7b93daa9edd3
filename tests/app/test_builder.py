"""Settings become the parts they describe."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from relay.allowlist import Mode
from relay.app import builder, standalone
from relay.config.loader import load_text
from relay.config.settings import Settings
from relay.core.clock import SystemClock
from tests.config.files import GOOD, good
from tests.harness.deliveries import ENVIRON, VIPPS, configuration


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_text(configuration("http://127.0.0.1:1"), "relay.yaml", ENVIRON, tmp_path)


def test_an_endpoint_is_bound_with_its_provider_and_addresses(settings: Settings) -> None:
    clock = SystemClock()
    cache = builder.dns_cache(settings, clock)
    registry = builder.host_registry(settings, cache, clock, standalone._IgnoreLookups())
    midtrans, vipps = (builder.bind_endpoint(each, registry) for each in settings.endpoints)
    assert (midtrans.provider, midtrans.environment, midtrans.upstream) == (
        "midtrans",
        "sandbox",
        "billing",
    )
    assert midtrans.methods == ("POST",)
    assert {str(entry.network) for entry in vipps.allowlist.entries()} == {f"{VIPPS}/32"}
    assert vipps.knock is None
    assert "x-ms-date" in vipps.headers


def test_the_host_names_of_every_endpoint_are_known(settings: Settings, tmp_path: Path) -> None:
    assert {builder.expected_sources(each).hosts for each in settings.endpoints} == {()}
    text = configuration("http://127.0.0.1:1").replace(
        "    upstream: billing", "    upstream: billing\n    allowlist: {add: [a.example.org]}", 1
    )
    named = load_text(text, "relay.yaml", ENVIRON, tmp_path)
    assert builder.expected_sources(named.endpoints[0]).hosts == ("a.example.org",)


@pytest.mark.parametrize("asks", [False, True])
def test_an_endpoint_that_asks_is_bound_as_one(asks: bool, tmp_path: Path) -> None:
    line = "    environment: sandbox\n"
    text = configuration("http://127.0.0.1:1").replace(
        line, f"{line}    confirm: {{with: status}}\n" if asks else line, 1
    )
    settings = load_text(text, "relay.yaml", ENVIRON, tmp_path)
    clock = SystemClock()
    cache = builder.dns_cache(settings, clock)
    registry = builder.host_registry(settings, cache, clock, standalone._IgnoreLookups())
    bound = [builder.bind_endpoint(each, registry) for each in settings.endpoints]
    assert [each.confirm for each in bound] == [asks, False]


@pytest.mark.parametrize(("mode", "proxied"), [("store", False), ("proxy", True)])
def test_a_proxied_endpoint_is_bound_as_one(mode: str, proxied: bool, tmp_path: Path) -> None:
    text = configuration("http://127.0.0.1:1").replace(
        "    upstream: billing", f"    upstream: billing\n    mode: {mode}"
    )
    settings = load_text(text, "relay.yaml", ENVIRON, tmp_path)
    clock = SystemClock()
    cache = builder.dns_cache(settings, clock)
    registry = builder.host_registry(settings, cache, clock, standalone._IgnoreLookups())
    bound = [builder.bind_endpoint(each, registry) for each in settings.endpoints]
    assert {each.proxied for each in bound} == {proxied}
    assert {each.mode for each in bound} == {Mode.ENFORCE}


# ---- asking the status API ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ("production", "https://api.midtrans.com/v2"),
        ("sandbox", "https://api.sandbox.midtrans.com/v2"),
    ],
)
async def test_the_api_is_the_one_of_the_environment(environment: str, url: str) -> None:
    text = GOOD.replace("environment: production", f"environment: {environment}")
    async with AsyncExitStack() as stack:
        client = builder.status_client(good(text).endpoints[0], SystemClock(), stack)
        assert client.base == url
