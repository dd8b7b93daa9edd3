"""The published addresses are built in, each in its own environment, and nothing else is."""

import json
from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork

from relay.providers import Environment
from relay.providers.builtin import provider_named

PUBLISHED = json.loads((Path(__file__).parent / "addresses.json").read_text())
MIDTRANS: dict[str, dict[str, list[str]]] = PUBLISHED["midtrans"]
VIPPS: dict[str, list[str]] = PUBLISHED["vipps"]
ENTRIES = [
    (environment, page, network)
    for environment, pages in MIDTRANS.items()
    for page, networks in pages.items()
    for network in networks
]


def environments(provider: str) -> dict[str, Environment]:
    return dict(provider_named(provider).info.environments)


def holds(environment: Environment, address: IPAddress) -> bool:
    networks = (n for listing in environment.listings for n in listing.networks)
    return any(address in IPNetwork(network) for network in networks)


@pytest.mark.parametrize(("environment", "page", "network"), ENTRIES)
def test_an_address_is_in_the_listing_of_its_page(
    environment: str, page: str, network: str
) -> None:
    listings = environments("midtrans")[environment].listings
    origins = [listing.origin for listing in listings if network in listing.networks]
    assert f"Midtrans, {page}" in origins


@pytest.mark.parametrize(("environment", "page", "network"), ENTRIES)
def test_an_address_is_in_no_other_environment(environment: str, page: str, network: str) -> None:
    whole = IPNetwork(network)
    for name, found in environments("midtrans").items():
        for address in (IPAddress(whole.first), IPAddress(whole.last)):
            assert holds(found, address) is (name == environment)


def test_no_other_network_is_listed() -> None:
    listed = {
        name: {
            listing.origin.removeprefix("Midtrans, "): list(listing.networks)
            for listing in found.listings
        }
        for name, found in environments("midtrans").items()
    }
    assert listed == MIDTRANS
    assert not any(found.hosts for found in environments("midtrans").values())


def test_the_counts_are_those_of_the_pages() -> None:
    counts = {name: [len(n) for n in pages.values()] for name, pages in MIDTRANS.items()}
    assert counts == {"production": [4, 30, 23], "sandbox": [2, 30, 10]}


def test_the_address_dropped_in_2022_is_nowhere() -> None:
    for found in environments("midtrans").values():
        assert not holds(found, IPAddress("103.58.103.177"))


# A host that only one of them knows is a refused payment.
@pytest.mark.parametrize("provider", ["vipps", "vipps-callback"])
def test_vipps_is_known_by_its_hosts_alone(provider: str) -> None:
    found = environments(provider)
    assert {name: list(environment.hosts) for name, environment in found.items()} == VIPPS
    assert not any(environment.listings for environment in found.values())


@pytest.mark.parametrize("provider", ["vipps", "vipps-callback"])
def test_the_disaster_recovery_hosts_are_production(provider: str) -> None:
    hosts = {name: found.hosts for name, found in environments(provider).items()}
    assert sum("-dr-" in host for host in hosts["production"]) == 4
    assert not any("-dr-" in host for host in hosts["test"])
