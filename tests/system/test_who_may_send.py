"""Every published address gets in on its own environment, and on no other."""

import json
import signal
from collections.abc import AsyncIterator, Iterable
from ipaddress import ip_address
from pathlib import Path

import pytest
from netaddr import IPNetwork

from relay.demo.keys import asymmetric
from tests.harness.node import Node
from tests.harness.nsd import PROGRAM, Nsd
from tests.harness.wire import exchange, request

VECTORS = Path(__file__).parent.parent / "vectors"
PUBLISHED = json.loads((VECTORS / "addresses.json").read_text())
MIDTRANS: dict[str, dict[str, list[str]]] = PUBLISHED["midtrans"]

#: The example addresses of the page "Vipps servers", by environment; data, never contacted.
VIPPS: dict[str, list[str]] = json.loads((VECTORS / "vipps_examples.json").read_text())

SNAP: dict[str, list[str]] = json.loads((VECTORS / "midtrans_snap.json").read_text())["addresses"]

DEPRECATED = "103.58.103.177"
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


async def answer(node: Node, environment: str, client: str, suffix: str = "") -> int:
    """Send a delivery without signature: who is admitted is asked for one."""
    raw = request(
        "POST", f"/{environment}{suffix}", [("X-Forwarded-For", client)], b'{"order_id":"1"}'
    )
    return (await exchange(node.public[0], raw)).status


def edges(networks: Iterable[str]) -> list[str]:
    """Return the first and the last address of each network."""
    found = [IPNetwork(each) for each in networks]
    ends = {str(ip_address(end)) for each in found for end in (each.first, each.last)}
    return sorted(ends)


async def test_midtrans_addresses_by_environment(tmp_path: Path) -> None:
    config = tmp_path / "relay.yaml"
    config.write_text(configuration("midtrans", MIDTRANS))
    async with Node(config, {"SECRET": "a-server-key"}) as node:
        for own, pages in MIDTRANS.items():
            for client in edges(network for page in pages.values() for network in page):
                for environment in MIDTRANS:
                    expected = ADMITTED if environment == own else REFUSED
                    assert await answer(node, environment, client) == expected, client
        for environment in MIDTRANS:
            for client in (DEPRECATED, "103.208.22.255", "103.208.24.0", "103.127.18.0"):
                assert await answer(node, environment, client) == REFUSED


async def test_bi_snap_addresses_by_environment(tmp_path: Path) -> None:
    config = tmp_path / "relay.yaml"
    config.write_text(configuration("midtrans-snap", SNAP))
    async with Node(config, {"SECRET": asymmetric().verifying}) as node:
        for own, clients in SNAP.items():
            for client in clients:
                for environment in SNAP:
                    expected = ADMITTED if environment == own else REFUSED
                    status = await answer(node, environment, client, "/v1.0/debit/notify")
                    assert status == expected, client


@pytest.fixture
async def vipps_zone(tmp_path: Path) -> AsyncIterator[Nsd]:
    if not PROGRAM.exists():
        pytest.skip("Debian's nsd is not installed: following Vipps' host names was NOT tested")
    directory = tmp_path / "nsd"
    directory.mkdir()
    async with Nsd(directory, "vipps.no") as nsd:
        yield nsd


def zone(production: list[str], test: list[str]) -> str:
    hosts = [f"callback-{n}" for n in (1, 2, 3, 4)] + [f"callback-dr-{n}" for n in (1, 2, 3, 4)]
    records = [(hosts[at % len(hosts)], each) for at, each in enumerate(production)]
    records += [(f"callback-mt-{at % 2 + 1}", each) for at, each in enumerate(test)]
    return "".join(f"{host} 300 IN A {address}\n" for host, address in records)


@pytest.mark.debian
async def test_vipps_addresses_by_environment_through_dns(tmp_path: Path, vipps_zone: Nsd) -> None:
    await vipps_zone.publish(zone(VIPPS["production"], VIPPS["test"]))
    config = tmp_path / "relay.yaml"
    config.write_text(configuration("vipps", VIPPS, vipps_zone.port))
    async with Node(config, {"SECRET": "a-webhook-secret"}) as node:
        for own, clients in VIPPS.items():
            for client in clients:
                for environment in VIPPS:
                    expected = ADMITTED if environment == own else REFUSED
                    assert await answer(node, environment, client) == expected, client


@pytest.mark.debian
async def test_a_new_address_gets_in_at_once_and_outlives_a_restart_without_dns(
    tmp_path: Path, vipps_zone: Nsd
) -> None:
    old, new = VIPPS["production"][0], VIPPS["production"][1]
    await vipps_zone.publish(zone([old], VIPPS["test"]))
    config = tmp_path / "relay.yaml"
    config.write_text(configuration("vipps", VIPPS, vipps_zone.port))
    environ = {"SECRET": "a-webhook-secret"}
    async with Node(config, environ) as node:
        assert await answer(node, "production", old) == ADMITTED
        assert await answer(node, "production", new) == REFUSED
        await vipps_zone.publish(zone([new], VIPPS["test"]))
        assert await answer(node, "production", new) == ADMITTED
        assert await node.end(signal.SIGTERM) == 0
    await vipps_zone.stop()
    async with Node(config, environ) as node:
        # The one that has disappeared stays for a day of good answers without it.
        assert await answer(node, "production", old) == ADMITTED
        assert await answer(node, "production", new) == ADMITTED
        assert await answer(node, "production", VIPPS["test"][0]) == REFUSED
        assert await answer(node, "test", VIPPS["test"][0]) == ADMITTED
