"""Settings become the parts they describe."""

from pathlib import Path

import pytest

from relay.allowlist import Mode
from relay.app import builder, standalone
from relay.config import Settings, load_text
from relay.core.clock import SystemClock
from relay.core.errors import RelayError
from tests.system.conftest import ENVIRON, MIDTRANS, VIPPS, configuration


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


def test_allowlists_are_known_without_running(settings: Settings) -> None:
    known = standalone.known_allowlists(settings)
    assert known["midtrans"][0] is Mode.ENFORCE
    assert f"{MIDTRANS}/32" in {str(each.network) for each in known["midtrans"][1].entries()}


def test_a_broken_state_file_is_said_and_not_guessed_around(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "dns.json").write_text("{")
    with pytest.raises(RelayError, match=r"dns\.json"):
        standalone.known_allowlists(settings)


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
