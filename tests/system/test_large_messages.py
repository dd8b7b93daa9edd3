"""What is within `limits.body` and well-formed is taken; `limits.json_*` say otherwise."""

import hashlib
import hmac
import json
from pathlib import Path

import pytest

from tests.harness.deliveries import ENVIRON, configuration
from tests.harness.node import Node
from tests.harness.upstream import Upstream
from tests.harness.wire import Reply, exchange, request

_SECRET = "a-secret-of-a-shop"
_SHOP = """
  - name: shop
    path: /shop
    upstream: billing
    secrets: ["a-secret-of-a-shop"]
    allowlist: {mode: "off"}
    provider:
      name: shop
      signature: {scheme: hmac, from: {header: X-Signature}}
      event_key: {json: [/id, /status]}
"""


def order(lines: int, price: str = "19.90") -> bytes:
    """Return an order with 21 fields in each line, one of them a number as it is written."""
    line = {f"field_{at}": f"value {at}" for at in range(20)} | {"price": 0}
    text = json.dumps({"id": "A-7", "status": "paid", "lines": [line] * lines})
    return text.replace('"price": 0', f'"price": {price}').encode()


async def posted(node: Node, body: bytes) -> Reply:
    signature = hmac.new(_SECRET.encode(), body, hashlib.sha256).hexdigest()
    fields = [("X-Signature", signature), ("X-Forwarded-For", "198.51.100.7")]
    return await exchange(node.public[0], request("POST", "/shop", fields, body))


@pytest.mark.parametrize("price", ["19.90", "1e1", '"19.90"'])
async def test_an_order_of_a_hundred_lines_is_delivered(
    price: str, tmp_path: Path, upstream: Upstream
) -> None:
    path = tmp_path / "relay.yaml"
    path.write_text(configuration(upstream.url) + _SHOP)
    body = order(100, price)
    assert len(body) > 30_000
    async with Node(path, ENVIRON) as node:
        assert (await posted(node, body)).status == 200
        await node.wait_for(event="attempt", outcome="delivered")
        (line,) = node.having(event="delivery")
        assert line["event_key"] == "A-7:paid"
    assert [each.body for each in upstream.received] == [body]


async def test_limits_that_are_set_hold_and_change_with_a_reload(
    tmp_path: Path, upstream: Upstream
) -> None:
    path = tmp_path / "relay.yaml"
    text = configuration(upstream.url) + _SHOP
    path.write_text(text.replace("limits: {body", "limits: {json_keys: 2000, body"))
    async with Node(path, ENVIRON, options=["--watch"]) as node:
        assert (await posted(node, order(100))).status == 400
        line = await node.wait_for(event="delivery", reason="body_malformed")
        assert line["detail"] == "more than 2000 keys"
        path.write_text(text)
        await node.wait_for(event="reloaded")
        assert (await posted(node, order(100))).status == 200
