"""A linked account of Midtrans (SNAP, service 88), and what becomes of its token."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from relay.core.clock import SystemClock
from relay.core.request import Headers
from relay.providers import Sample, SampleOrder
from relay.providers.builtin import provider_named
from relay.providers.snap import LINK
from tests.contracts.provider import keys_for
from tests.harness.deliveries import BEARER, ENVIRON, configuration
from tests.harness.node import Node, output
from tests.harness.upstream import Upstream, answer
from tests.harness.wire import exchange, request

TOKEN = "MjAyMjEwMTM2NjE1OGRiMS00NmM1"
SENDER = "192.0.2.88"
ENDPOINT = f"""
  - name: snap
    path: /snap
    provider: midtrans-snap
    environment: sandbox
    secrets: ["${{env:SNAP_KEY}}"]
    upstream: billing
    allowlist: {{replace: ["{SENDER}/32"]}}
"""
PROVIDER = provider_named("midtrans-snap")
KEYS = keys_for(PROVIDER)[0]
WITH_KEY = {**ENVIRON, "SNAP_KEY": KEYS.verifying.reveal().decode()}


def linked(**changes: str) -> tuple[bytes, bytes]:
    """Return the request for a linked account, and its body."""
    order = SampleOrder(
        "http://127.0.0.1/snap",
        KEYS.signing,
        SystemClock().now(),
        {"path": LINK, "additionalInfo.accessToken": TOKEN, **changes},
    )
    sample: Sample = PROVIDER.sample(order)
    headers = [("Host", "127.0.0.1"), *Headers(tuple(sample.headers)), ("X-Forwarded-For", SENDER)]
    return request("POST", "/snap" + sample.suffix, headers, sample.body), sample.body


def written(directory: Path, upstream: str, mode: str = "store") -> Path:
    path = directory / "relay.yaml"
    text = configuration(upstream).replace("schedule: [50ms]", "schedule: [1h]")
    path.write_text(f"{text}{ENDPOINT}    mode: {mode}\n")
    return path


def stored_bodies(directory: Path) -> list[bytes]:
    with closing(sqlite3.connect(directory / "relay.db")) as spool:
        return [body for (body,) in spool.execute("SELECT body FROM events")]


async def shown(config: Path, event_id: str) -> dict[str, Any]:
    """Return what `relay events show` prints, and check that nothing shows the token."""
    texts = [
        await output(config, "events", "show", event_id, "--format", "json", environ=WITH_KEY),
        await output(config, "events", "show", event_id, environ=WITH_KEY),
        await output(config, "events", "export", environ=WITH_KEY),
    ]
    assert not any(TOKEN in each for each in texts)
    found: dict[str, Any] = json.loads(texts[0])
    return found


async def test_a_linked_account_is_taken_delivered_whole_and_its_token_is_gone(
    tmp_path: Path,
) -> None:
    sent, body = linked()
    async with Upstream(answer(200)) as upstream:
        config = written(tmp_path, upstream.url)
        async with Node(config, WITH_KEY) as node:
            reply = await exchange(node.public[0], sent)
            assert reply.status == 200
            assert json.loads(reply.body) == {
                "responseCode": "2008800",
                "responseMessage": "Successful",
            }
            line = await node.wait_for(event="attempt", decision="done")
            [arrived] = upstream.received
            assert (arrived.body, arrived.values("Relay-Redacted")) == (body, [])
            event = await shown(config, line["id"])
            assert json.loads(event["content"]["body"])["additionalInfo"]["accessToken"] == "***"
            assert not any(TOKEN.encode() in each for each in stored_bodies(tmp_path))
            assert not any(TOKEN in json.dumps(each) for each in node.lines)
            # What is left can be delivered again, and says what is missing.
            await output(config, "events", "requeue", line["id"], environ=WITH_KEY)
            await upstream.has_received(2)
        again = upstream.received[1]
        assert again.values("Relay-Redacted") == ["/additionalInfo/accessToken"]
        assert json.loads(again.body)["additionalInfo"]["accessToken"] == "***"


async def test_a_token_that_waits_is_shown_nowhere(tmp_path: Path) -> None:
    async with Upstream(answer(503)) as upstream:
        config = written(tmp_path, upstream.url)
        async with Node(config, WITH_KEY) as node:
            assert (await exchange(node.public[0], linked()[0])).status == 200
            line = await node.wait_for(event="attempt", decision="retry")
            await shown(config, line["id"])
            for path in (f"/api/v1/events/{line['id']}", f"/events/{line['id']}"):
                reply = await exchange(node.admin, request("GET", path, [BEARER]))
                assert reply.status == 200
                assert b"***" in reply.body
                assert TOKEN.encode() not in reply.body


@pytest.mark.parametrize("mode", ["store", "proxy"])
async def test_neither_a_refusal_nor_the_history_of_a_proxy_keeps_a_token(
    tmp_path: Path, mode: str
) -> None:
    async with Upstream(answer(200)) as upstream:
        config = written(tmp_path, upstream.url, mode)
        sent, _ = linked()
        forged = sent.replace(b"ENABLED", b"enabled")
        async with Node(config, WITH_KEY) as node:
            assert (await exchange(node.public[0], forged)).status == 401
            assert (await exchange(node.public[0], sent)).status == 200
            assert await node.end() == 0
        for each in tmp_path.glob("relay.db*"):
            assert TOKEN.encode() not in each.read_bytes()
        listed = json.loads(
            await output(config, "refusals", "list", "--format", "json", environ=WITH_KEY)
        )
        assert listed["refusals"] == []
