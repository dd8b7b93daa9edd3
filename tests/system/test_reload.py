"""An operator changes the configuration of a relay that runs, in each way there is."""

import signal
from pathlib import Path

import pytest

from tests.harness.node import Node
from tests.harness.upstream import Upstream
from tests.harness.wire import Reply, exchange, request
from tests.system.conftest import ENVIRON, configuration
from tests.system.messages import midtrans_body, midtrans_request

TOKEN = [("Authorization", f"Bearer {ENVIRON['RELAY_ADMIN_TOKEN']}")]


async def delivered(node: Node, path: bytes = b"/midtrans/notification") -> int:
    raw = midtrans_request(midtrans_body()).replace(b"/midtrans/notification", path)
    return (await exchange(node.public[0], raw)).status


async def reloaded(node: Node) -> Reply:
    return await exchange(node.admin, request("POST", "/-/reload", TOKEN))


async def test_sighup_takes_a_good_file_and_leaves_a_bad_one(config: Path) -> None:
    text = config.read_text()
    async with Node(config, ENVIRON) as node:
        config.write_text(text.replace("/midtrans/notification", "/hook"))
        node.send(signal.SIGHUP)
        assert (await node.wait_for(event="reloaded"))["changed"] == ["endpoints.midtrans"]
        assert await delivered(node, b"/hook") == 200
        config.write_text(text.replace("upstream: billing", "upstream: biling", 1))
        node.send(signal.SIGHUP)
        line = await node.wait_for(event="reload_refused")
        assert line["level"] == "error"
        assert line["detail"].startswith(f"{config}:")
        assert 'did you mean "billing"' in line["detail"]
        assert await delivered(node, b"/hook") == 200
        metrics = await exchange(node.admin, request("GET", "/metrics"))
        assert b"relay_config_reload_success 0.0" in metrics.body
        assert await node.end() == 0
        assert node.noise == []


async def test_the_admin_api_answers_what_came_of_it(config: Path) -> None:
    text = config.read_text()
    async with Node(config, ENVIRON) as node:
        assert (await reloaded(node)).status == 200
        config.write_text(text.replace("upstream: billing", "upstream: biling", 1))
        refused = await reloaded(node)
        assert refused.status == 422
        assert b'"where":"endpoints.0.upstream"' in refused.body
        config.write_text(text.replace("path: relay.db", "path: other.db"))
        refused = await reloaded(node)
        assert refused.status == 422
        assert b"restart needed" in refused.body
        assert (await exchange(node.admin, request("POST", "/-/reload"))).status == 401
        assert ENVIRON["RELAY_ADMIN_TOKEN"] not in str(node.lines)


async def test_a_storm_of_sighup_ends_nothing(config: Path) -> None:
    async with Node(config, ENVIRON) as node:
        for _ in range(100):
            node.send(signal.SIGHUP)
            assert await delivered(node) == 200
        assert (await reloaded(node)).status == 200
        assert await node.end() == 0
        assert node.noise == []
        assert node.having(event="reload_fault") == []


async def test_a_watched_file_is_read_when_it_changes(config: Path) -> None:
    text = config.read_text()
    async with Node(config, ENVIRON, options=("--watch",)) as node:
        config.write_text(text.replace("/midtrans/notification", "/hook"))
        await node.wait_for(event="reloaded")
        assert await delivered(node, b"/hook") == 200


@pytest.mark.parametrize("part", ["configuration", "secret"])
async def test_kubernetes_swaps_a_directory(part: str, tmp_path: Path, upstream: Upstream) -> None:
    """A volume there is links to `..data`, a link to a directory, which is exchanged."""
    mounted = tmp_path / "mounted"
    text = configuration(upstream.url).replace("path: relay.db", f"path: {tmp_path}/relay.db")
    key = ENVIRON["MIDTRANS_SERVER_KEY"]
    text = text.replace("${env:MIDTRANS_SERVER_KEY}", f"${{file:{mounted}/key}}")
    versions = {
        "..one": {"relay.yaml": text, "key": key},
        "..two": (
            {"relay.yaml": text.replace("/midtrans/notification", "/hook"), "key": key}
            if part == "configuration"
            else {"relay.yaml": text, "key": "SB-Mid-server-another-one-entirely"}
        ),
    }
    for version, files in versions.items():
        (mounted / version).mkdir(parents=True)
        for name, content in files.items():
            (mounted / version / name).write_text(content)
    (mounted / "..data").symlink_to("..one")
    for name in ("relay.yaml", "key"):
        (mounted / name).symlink_to(f"..data/{name}")
    async with Node(mounted / "relay.yaml", ENVIRON, options=("--watch",)) as node:
        assert await delivered(node) == 200
        (mounted / "..tmp").symlink_to("..two")
        (mounted / "..tmp").replace(mounted / "..data")
        await node.wait_for(event="reloaded")
        assert await delivered(node) == (404 if part == "configuration" else 401)
