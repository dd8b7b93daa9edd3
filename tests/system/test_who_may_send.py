"""Every published address gets in on its own environment, and on no other."""

import json
import signal
from collections.abc import AsyncIterator, Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path

import pytest
from netaddr import IPNetwork

from relay.providers import Environment, Provider
from relay.providers.builtin import names, provider_named
from tests.contracts.provider import keys_for
from tests.harness.nameserver import PROGRAM, Nsd
from tests.harness.node import Node
from tests.harness.wire import exchange, request

VECTORS = Path(__file__).parent.parent / "vectors"

#: The example addresses of the page "Vipps servers", by environment; data, never contacted.
VIPPS: dict[str, list[str]] = json.loads((VECTORS / "vipps_examples.json").read_text())
#: Addresses for host names, by the zone that the names are in. Others have theirs made up.
EXAMPLES = {"vipps.no": VIPPS}

PROVIDERS: dict[str, Provider] = {name: provider_named(name) for name in names()}
LISTED = [
    name
    for name, provider in PROVIDERS.items()
    if any(each.listings for each in provider.info.environments.values())
]
FOLLOWED = [
    name
    for name, provider in PROVIDERS.items()
    if any(each.hosts for each in provider.info.environments.values())
]

#: No longer Midtrans', right beside its networks, and nobody's.
STRANGERS = (
    *("103.58.103.177", "103.208.22.255", "103.208.24.0", "103.127.18.0"),
    *("203.0.113.66", "127.0.0.2", "2001:db8::1"),
)
ADMITTED, REFUSED = 401, 403


def configuration(provider: str, environments: Iterable[str], dns_port: int = 1) -> str:
    endpoints = "".join(
        f"""
  - name: {environment}
    path: /{environment}
    provider: {provider}
    environment: {environment}
    secrets: ["${{env:SECRET}}"]
    upstream: nobody"""
        for environment in environments
    )
    return f"""
listen: [{{bind: "127.0.0.1:0"}}]
trusted_proxies: ["127.0.0.1/32"]
admin: {{bind: "127.0.0.1:0"}}
dns: {{nameservers: ["127.0.0.1:{dns_port}"], timeout: 500ms, knock_interval: 1ms}}
upstreams: {{nobody: {{url: "http://127.0.0.1:1/"}}}}
endpoints:{endpoints}
"""


def environ(provider: str) -> dict[str, str]:
    """Return a secret of the kind that the provider takes."""
    right, _ = keys_for(PROVIDERS[provider])
    return {"SECRET": right.verifying.reveal().decode()}


async def answer(node: Node, provider: str, environment: str, client: str) -> int:
    """Send a delivery without signature: who is admitted is asked for one."""
    info = PROVIDERS[provider].info
    method, below = info.methods[0], ""
    if info.shapes:
        shape = info.shapes[0]
        method, below = shape.method, shape.path.replace("{", "").replace("}", "")
    fields = [("X-Forwarded-For", client)]
    raw = request(method, f"/{environment}{below}", fields, b'{"order_id":"1"}')
    return (await exchange(node.public[0], raw)).status


async def assert_who_gets_in(
    node: Node, provider: str, clients: Mapping[str, Iterable[str]]
) -> None:
    """Check that each client is admitted to its own environment, and to no other."""
    environments = PROVIDERS[provider].info.environments
    for own, addresses in clients.items():
        for client in addresses:
            for environment in environments:
                expected = ADMITTED if environment == own else REFUSED
                found = await answer(node, provider, environment, client)
                assert found == expected, (own, client, environment)
    for environment in environments:
        for client in STRANGERS:
            assert await answer(node, provider, environment, client) == REFUSED, client


def edges(networks: Iterable[str]) -> list[str]:
    """Return the first and the last address of each network."""
    found = [IPNetwork(each) for each in networks]
    ends = {str(ip_address(end)) for each in found for end in (each.first, each.last)}
    return sorted(ends)


def test_no_provider_is_left_out() -> None:
    assert {*LISTED, *FOLLOWED} == set(names())


@pytest.mark.parametrize("provider", LISTED)
async def test_listed_addresses_by_environment(provider: str, tmp_path: Path) -> None:
    environments = PROVIDERS[provider].info.environments
    clients = {
        name: edges(network for listing in each.listings for network in listing.networks)
        for name, each in environments.items()
    }
    assert all(clients[name] for name, each in environments.items() if not each.hosts)
    config = tmp_path / "relay.yaml"
    config.write_text(configuration(provider, environments))
    async with Node(config, environ(provider)) as node:
        await assert_who_gets_in(node, provider, clients)


@pytest.fixture
def nameserver_directory(tmp_path: Path) -> Path:
    if not PROGRAM.exists():
        pytest.skip("Debian's nsd is not installed: following host names was NOT tested")
    directory = tmp_path / "nsd"
    directory.mkdir()
    return directory


@pytest.fixture
async def vipps_zone(nameserver_directory: Path) -> AsyncIterator[Nsd]:
    async with Nsd(nameserver_directory, "vipps.no") as nsd:
        yield nsd


def origin_of(environments: Mapping[str, Environment]) -> str:
    """Return the one zone that all host names are in."""
    origins = {host.split(".", 1)[1] for each in environments.values() for host in each.hosts}
    (origin,) = origins
    return origin


def addresses_of(environments: Mapping[str, Environment]) -> Mapping[str, list[str]]:
    """Return addresses for the hosts of each environment: at least one for each."""
    found = EXAMPLES.get(origin_of(environments)) or {
        name: [f"198.51.{number}.{at}" for at in range(1, len(each.hosts) + 1)]
        for number, (name, each) in enumerate(environments.items())
    }
    assert all(len(found[name]) >= len(each.hosts) for name, each in environments.items())
    return found


def zone(environments: Mapping[str, Environment], clients: Mapping[str, list[str]]) -> str:
    """Return records that spread an environment's addresses over all of its hosts."""
    return "".join(
        f"{each.hosts[at % len(each.hosts)]}. 300 IN A {address}\n"
        for name, each in environments.items()
        for at, address in enumerate(clients[name] if each.hosts else ())
    )


@pytest.mark.debian
@pytest.mark.parametrize("provider", FOLLOWED)
async def test_followed_addresses_by_environment(
    provider: str, tmp_path: Path, nameserver_directory: Path
) -> None:
    environments = PROVIDERS[provider].info.environments
    clients = addresses_of(environments)
    config = tmp_path / "relay.yaml"
    async with Nsd(nameserver_directory, origin_of(environments)) as nsd:
        await nsd.publish(zone(environments, clients))
        config.write_text(configuration(provider, environments, nsd.port))
        async with Node(config, environ(provider)) as node:
            await assert_who_gets_in(node, provider, clients)


@pytest.mark.debian
async def test_a_new_address_gets_in_at_once_and_outlives_a_restart_without_dns(
    tmp_path: Path, vipps_zone: Nsd
) -> None:
    old, new = VIPPS["production"][0], VIPPS["production"][1]
    environments = PROVIDERS["vipps"].info.environments
    await vipps_zone.publish(zone(environments, {**VIPPS, "production": [old]}))
    config = tmp_path / "relay.yaml"
    config.write_text(configuration("vipps", VIPPS, vipps_zone.port))
    async with Node(config, environ("vipps")) as node:
        assert await answer(node, "vipps", "production", old) == ADMITTED
        assert await answer(node, "vipps", "production", new) == REFUSED
        await vipps_zone.publish(zone(environments, {**VIPPS, "production": [new]}))
        assert await answer(node, "vipps", "production", new) == ADMITTED
        assert await node.end(signal.SIGTERM) == 0
    await vipps_zone.stop()
    async with Node(config, environ("vipps")) as node:
        # The one that has disappeared stays for a day of good answers without it.
        assert await answer(node, "vipps", "production", old) == ADMITTED
        assert await answer(node, "vipps", "production", new) == ADMITTED
        assert await answer(node, "vipps", "production", VIPPS["test"][0]) == REFUSED
        assert await answer(node, "vipps", "test", VIPPS["test"][0]) == ADMITTED
