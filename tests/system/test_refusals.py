"""A key that was wrong: what it refused is kept, and released once the key is right."""

import asyncio
import hmac
from pathlib import Path

import orjson

from tests.harness.deliveries import (
    ENVIRON,
    STRANGER,
    VIPPS,
    VIPPS_PATH,
    midtrans_body,
    midtrans_request,
)
from tests.harness.node import Node, command
from tests.harness.upstream import Upstream
from tests.harness.wire import exchange, request

WRONG = {**ENVIRON, "MIDTRANS_SERVER_KEY": "SB-Mid-server-of-another"}


async def kept(config: Path, number: int) -> list[str]:
    """Return the ids of the refusals, once there are so many; they are written behind."""
    async with asyncio.timeout(30):
        while True:
            code, output, errors = await command(config, "refusals", "list", "--format", "json")
            assert (code, errors) == (0, "")
            found = [each["id"] for each in orjson.loads(output)["refusals"]]
            if len(found) >= number:
                return found


async def test_a_mended_key_delivers_what_was_refused(config: Path, upstream: Upstream) -> None:
    raw = midtrans_request(midtrans_body())
    async with Node(config, WRONG) as node:
        assert (await exchange(node.public[0], raw)).status == 401
        await exchange(node.public[0], midtrans_request(midtrans_body(), STRANGER))
        (refusal,) = await kept(config, 1)
    async with Node(config, ENVIRON) as node:
        code, output, errors = await command(config, "refusals", "release", refusal)
        assert (code, errors) == (0, "")
        assert "released" in output
        await node.wait_for(event="attempt", decision="done")
        # The provider's next try is the same event.
        assert (await exchange(node.public[0], raw)).status == 200
        assert (await node.wait_for(event="delivery"))["verdict"] == "duplicate"
    assert len(upstream.received) == 1


async def test_no_token_lies_in_the_spool(config: Path) -> None:
    fields = [("X-Forwarded-For", VIPPS), ("Authorization", "Bearer canary-of-the-tests")]
    async with Node(config, ENVIRON) as node:
        await exchange(node.public[0], request("POST", VIPPS_PATH, fields, b"{}"))
        await exchange(node.public[0], request("POST", VIPPS_PATH, fields[:1], b"{}"))
        await kept(config, 1)
    for path in config.parent.iterdir():
        assert b"canary-of-the-tests" not in path.read_bytes(), path


_SHOP = """
  - name: shop
    path: /shop
    upstream: billing
    secrets: ["SECRET"]
    allowlist: {mode: "off"}
    provider: {name: shop, signature: {scheme: hmac, from: {header: X-Signature}}}
"""


async def test_a_sender_without_enforced_addresses_is_kept_and_released_too(
    config: Path, upstream: Upstream
) -> None:
    body = b'{"id": "A-7"}'
    signature = hmac.new(b"the-right-secret", body, "sha256").hexdigest()
    fields = [("X-Signature", signature), ("X-Forwarded-For", STRANGER)]
    text = config.read_text()
    config.write_text(text + _SHOP.replace("SECRET", "the-wrong-secret"))
    async with Node(config, ENVIRON) as node:
        reply = await exchange(node.public[0], request("POST", "/shop", fields, body))
        assert reply.status == 401
        (refusal,) = await kept(config, 1)
    config.write_text(text + _SHOP.replace("SECRET", "the-right-secret"))
    async with Node(config, ENVIRON) as node:
        assert (await command(config, "refusals", "release", refusal))[0] == 0
        await node.wait_for(event="attempt", decision="done")
    assert [each.body for each in upstream.received] == [body]
