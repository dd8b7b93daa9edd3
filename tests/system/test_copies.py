"""Copies of what never arrived, through `relay run` and a real upstream."""

import hashlib
import hmac
import json
import sqlite3
from base64 import b64encode
from contextlib import closing
from pathlib import Path

from tests.harness.deliveries import ENVIRON, configuration, midtrans_body, midtrans_request
from tests.harness.node import Node, output
from tests.harness.upstream import Upstream, answer, hang
from tests.harness.wire import exchange, request


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
        assert await node.metric('revived_total{endpoint="midtrans"}') == 1
        assert await node.metric('revived_total{endpoint="vipps"}') == 0
        assert await node.end() == 0


async def test_an_answer_that_is_final_ends_an_event_for_all_but_a_person(
    tmp_path: Path, upstream: Upstream
) -> None:
    config = tmp_path / "relay.yaml"
    text = configuration(upstream.url)
    config.write_text(text.replace("retry: {", "final: [400, 422]\n    retry: {"))
    raw = midtrans_request(midtrans_body())
    upstream.behave(answer(422, [("Retry-After", "60")], b"no such merchant"))
    async with Node(config, ENVIRON) as node:
        assert (await exchange(node.public[0], raw)).status == 200
        dead = await node.wait_for(event="attempt", decision="dead")
        assert (dead["level"], dead["status"], dead["reason"]) == ("warning", 422, "final")
        assert await node.metric('dead_letters_total{upstream="billing"}') == 1
        upstream.behave(answer(200))
        assert (await exchange(node.public[0], raw)).status == 200
        copy = await node.wait_for(event="delivery", verdict="duplicate")
        assert "revived" not in copy
        words = ("events", "show", dead["id"], "--format", "json")
        shown = json.loads(await output(config, *words))
        [destination] = shown["destinations"]
        told = (destination["last_outcome"], destination["reason"], destination["attempts"])
        assert told == ("rejected 422", "final", 1)
        assert len(upstream.received) == 1
        await output(config, "events", "requeue", dead["id"])
        done = await node.wait_for(event="attempt", decision="done")
        assert (done["id"], done["attempt"], "reason" in done) == (dead["id"], 2, False)
        assert await node.end() == 0


async def test_a_copy_replaces_an_event_whose_body_a_disk_has_spoilt(
    tmp_path: Path, config: Path, upstream: Upstream
) -> None:
    body = midtrans_body()
    raw = midtrans_request(body)
    upstream.behave(hang)
    async with Node(config, ENVIRON) as node:
        assert (await exchange(node.public[0], raw)).status == 200
        # While the attempt is under way nobody reads it; the next claim finds it damaged.
        await upstream.has_received(1)
        with closing(sqlite3.connect(tmp_path / "relay.db")) as spool, spool:
            flipped = bytes([body[0] ^ 1]) + body[1:]
            assert spool.execute("UPDATE events SET body = ?", (flipped,)).rowcount == 1
        assert (await exchange(node.public[0], raw)).status == 200
        upstream.behave(answer(200))
        await node.wait_for(event="attempt", decision="done")
        assert await node.end() == 0
    assert upstream.received[-1].body == body


# ---- the same signed bytes under other ids --------------------------------------------------

SECRET = "the-secret-of-the-sender"


def described(directory: Path, upstream: Upstream, provider: str) -> Path:
    """Write a configuration with one endpoint for this provider."""
    config = directory / "relay.yaml"
    config.write_text(f"""
listen: [{{bind: "127.0.0.1:0"}}]
admin: {{bind: "127.0.0.1:0"}}
upstreams: {{billing: {{url: "{upstream.url}"}}}}
endpoints:
  - name: sender
    path: /hook
    secrets: ["{SECRET}"]
    allowlist: {{mode: "off"}}
    upstream: billing
    provider: {provider}
""")
    return config


def hook(body: bytes, **headers: str) -> bytes:
    return request("POST", "/hook", [(n.replace("_", "-"), v) for n, v in headers.items()], body)


async def test_a_message_of_github_under_ten_ids_is_one_event(
    tmp_path: Path, upstream: Upstream
) -> None:
    body = b'{"zen": "Keep it logically awesome.", "hook_id": 1}'
    mac = hmac.digest(SECRET.encode(), body, hashlib.sha256).hex()
    async with Node(described(tmp_path, upstream, "github")) as node:
        for number in range(10):
            raw = hook(
                body, X_Hub_Signature_256=f"sha256={mac}", X_GitHub_Delivery=f"delivery-{number}"
            )
            assert (await exchange(node.public[0], raw)).status == 200
        await node.wait_for(9, event="delivery", verdict="duplicate")
        await upstream.has_received(1)
        assert await node.metric('repeats_total{endpoint="sender"}') == 0
        assert await node.end() == 0
    assert len(upstream.received) == 1


async def test_two_topics_of_shopify_are_two_events(tmp_path: Path, upstream: Upstream) -> None:
    body = b'{"id": 820982911946154508, "created_at": "2026-01-05T12:00:00+01:00"}'
    mac = b64encode(hmac.digest(SECRET.encode(), body, hashlib.sha256)).decode()
    async with Node(described(tmp_path, upstream, "shopify")) as node:
        for number, topic in enumerate(("orders/create", "orders/paid") * 2):
            raw = hook(
                body,
                X_Shopify_Hmac_SHA256=mac,
                X_Shopify_Webhook_Id=f"id-{number}",
                X_Shopify_Topic=topic,
            )
            assert (await exchange(node.public[0], raw)).status == 200
        await node.wait_for(2, event="delivery", verdict="duplicate")
        await upstream.has_received(2)
        assert await node.end() == 0
    topics = [each.values("X-Shopify-Topic") for each in upstream.received]
    assert sorted(topics) == [["orders/create"], ["orders/paid"]]
    assert [each.values("Relay-Repeats") for each in upstream.received] == [[], []]


async def test_a_repeat_of_any_other_sender_is_marked_and_counted(
    tmp_path: Path, upstream: Upstream
) -> None:
    body = b"no id and no time"
    mac = hmac.digest(SECRET.encode(), body, hashlib.sha256).hex()
    provider = (
        "{name: other, signature: {scheme: hmac, from: {header: X-Signature}},"
        " event_key: {header: X-Id}}"
    )
    async with Node(described(tmp_path, upstream, provider)) as node:
        for number in range(3):
            raw = hook(body, X_Signature=mac, X_Id=str(number))
            assert (await exchange(node.public[0], raw)).status == 200
            await upstream.has_received(number + 1)
        first = await node.wait_for(event="delivery", verdict="accepted")
        assert await node.metric('repeats_total{endpoint="sender"}') == 2
        assert await node.end() == 0
    marks = [each.values("Relay-Repeats") for each in upstream.received]
    assert marks == [[], [first["id"]], [first["id"]]]
