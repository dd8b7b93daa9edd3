"""Copies of what never arrived, through `relay run` and a real upstream."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.harness.deliveries import ENVIRON, configuration, midtrans_body, midtrans_request
from tests.harness.node import Node
from tests.harness.upstream import Upstream, answer, hang
from tests.harness.wire import exchange, request


async def metric(node: Node, name: str) -> float:
    """Return the value of a series that the relay exposes."""
    shown = (await exchange(node.admin, request("GET", "/metrics", []))).body.decode()
    found = re.search(rf"^relay_{re.escape(name)} (\S+)$", shown, re.MULTILINE)
    assert found is not None, name
    return float(found[1])


async def test_a_copy_of_a_dead_event_is_delivered_when_its_upstream_is_well_again(
    tmp_path: Path, upstream: Upstream
) -> None:
    config = tmp_path / "relay.yaml"
    text = configuration(upstream.url)
    config.write_text(text.replace("[50ms]", "[50ms], give_up_after: 200ms"))
    raw = midtrans_request(midtrans_body())
    upstream.behave(answer(500))
    async with Node(config, ENVIRON) as node:
        assert (await exchange(node.public[0], raw)).status == 200
        dead = await node.wait_for(event="attempt", decision="dead")
        assert dead["level"] == "warning"
        upstream.behave(answer(200))
        assert (await exchange(node.public[0], raw)).status == 200
        done = await node.wait_for(event="attempt", decision="done")
        copy = await node.wait_for(event="delivery", verdict="duplicate")
        assert (copy["revived"], copy["id"]) == (True, done["id"])
        first = await node.wait_for(event="delivery", verdict="accepted")
        assert (first["id"], "revived" in first) == (done["id"], False)
        assert (await exchange(node.public[0], raw)).status == 200
        again = await node.wait_for(2, event="delivery", verdict="duplicate")
        assert "revived" not in again
        assert await metric(node, 'revived_total{endpoint="midtrans"}') == 1
        assert await metric(node, 'revived_total{endpoint="vipps"}') == 0
        assert await node.end() == 0


async def test_a_copy_replaces_an_event_whose_body_a_disk_has_spoilt(
    tmp_path: Path, config: Path, upstream: Upstream
) -> None:
    body = midtrans_body()
    raw = midtrans_request(body)
    upstream.behave(hang)
    async with Node(config, ENVIRON) as node:
        assert (await exchange(node.public[0], raw)).status == 200
        await node.wait_for(event="attempt", decision="retry")
        with closing(sqlite3.connect(tmp_path / "relay.db")) as spool, spool:
            flipped = bytes([body[0] ^ 1]) + body[1:]
            assert spool.execute("UPDATE events SET body = ?", (flipped,)).rowcount == 1
        assert (await exchange(node.public[0], raw)).status == 200
        upstream.behave(answer(200))
        await node.wait_for(event="attempt", decision="done")
        assert await node.end() == 0
    assert upstream.received[-1].body == body
