"""An upstream that a person pauses gets nothing until a person resumes it, through a restart."""

import asyncio
from pathlib import Path

import orjson

from tests.harness.deliveries import BEARER, ENVIRON, midtrans_body, midtrans_request
from tests.harness.node import Node, output
from tests.harness.ports import free_port
from tests.harness.upstream import Upstream
from tests.harness.wire import exchange, request


async def send(node: Node, first: int, end: int) -> None:
    """Have these events acknowledged."""
    for number in range(first, end):
        raw = midtrans_request(midtrans_body(order_id=f"order-{number}"))
        assert (await exchange(node.public[0], raw)).status == 200


async def row(config: Path) -> dict[str, object]:
    listed = orjson.loads(await output(config, "upstreams", "list", "--format", "json"))
    found: dict[str, object] = listed["upstreams"][0]
    return found


async def test_a_pause_by_command_holds_through_a_restart_until_it_is_ended(
    config: Path, upstream: Upstream
) -> None:
    # Commands ask the running relay where they know its port.
    text, bind = config.read_text(), f'admin: {{bind: "127.0.0.1:{free_port()}"'
    config.write_text(text.replace('admin: {bind: "127.0.0.1:0"', bind))
    assert config.read_text() != text
    async with Node(config, ENVIRON) as node:
        await send(node, 0, 3)
        await upstream.has_received(3)
        assert (await row(config))["breaker"] == "closed"
        await output(config, "upstreams", "pause", "billing")
        async with asyncio.timeout(2.5):
            await node.wait_for(event="upstream_paused", upstream="billing")
        await send(node, 3, 6)
        assert await node.metric('upstream_paused{upstream="billing"}') == 1
        ready = await exchange(node.admin, request("GET", "/readyz"))
        assert b"upstream billing: paused" in ready.body
        found = await row(config)
        assert (found["paused"], found["backlog"]) == (True, 3)
        assert await node.end() == 0
        assert node.noise == []
    assert len(upstream.received) == 3
    found = await row(config)
    assert (found["paused"], found["backlog"], found["breaker"]) == (True, 3, None)
    async with Node(config, ENVIRON) as node:
        await node.wait_for(event="upstream_paused", upstream="billing")
        await send(node, 6, 8)
        resumed = await exchange(
            node.admin, request("POST", "/api/v1/upstreams/billing/resume", [BEARER])
        )
        assert (resumed.status, len(upstream.received)) == (200, 3)
        await upstream.has_received(8)
        await node.wait_for(5, event="attempt", decision="done", attempt=1)
        assert await node.end() == 0
    orders = {orjson.loads(each.body)["order_id"] for each in upstream.received}
    assert (len(upstream.received), len(orders)) == (8, 8)
    acts = [(line["act"], line["actor"]) for line in node.having(event="audit")]
    assert acts == [("resume", "token")]
