"""A sender of BI-SNAP that asks for an access token, and what becomes of that token."""

import json
import signal
from pathlib import Path

import pytest

from relay.core.clock import SystemClock
from relay.core.secret import Secret
from relay.providers import Sample, SampleOrder
from relay.providers.snap import ACCESS, INQUIRY, Dialect
from relay.providers.snap.provider import SnapProvider, described
from tests.harness.deliveries import BEARER, ENVIRON, configuration
from tests.harness.node import Node, output
from tests.harness.upstream import Upstream, answer
from tests.harness.wire import Reply, exchange, request
from tests.providers.snap.dialects import CLIENT, KEYS, SYMMETRIC

SENDER, STRANGER = "192.0.2.88", "198.51.100.9"
SECRET = Secret("a-secret-of-both-sides")
ASKING = described("gateway", {}, Dialect({INQUIRY: "24"}, symmetric=True, token_path=ACCESS))
ENDPOINT = f"""
  - name: bank
    path: /bank
    secrets: ["${{env:BANK_SECRET}}"]
    tokens: {{client_id: {CLIENT}, keys: ["${{env:BANK_KEY}}"]}}
    upstream: billing
    allowlist: {{replace: ["{SENDER}/32"]}}
    provider:
      name: gateway
      snap:
        signature: symmetric
        services: {{/v1.0/debit/notify: 56, /v1.0/qr/qr-mpm-notify: 52, {INQUIRY}: 24}}
"""
WITH_KEYS = {
    **ENVIRON,
    "BANK_SECRET": SECRET.reveal().decode(),
    "BANK_KEY": KEYS.verifying.reveal().decode(),
}


def written(directory: Path, upstream: str, mode: str = "store") -> Path:
    path = directory / "relay.yaml"
    path.write_text(f"{configuration(upstream)}{ENDPOINT}    mode: {mode}\n")
    return path


async def post(node: Node, sample: Sample, client: str = SENDER) -> Reply:
    headers = [("Host", "127.0.0.1"), *sample.headers, ("X-Forwarded-For", client)]
    raw = request("POST", "/bank" + sample.suffix, headers, sample.body)
    return await exchange(node.public[0], raw)


def question(client_id: str = CLIENT) -> Sample:
    named = {"X-CLIENT-KEY": client_id}
    return SYMMETRIC.token_request(
        SampleOrder("", SECRET, SystemClock().now(), named, key=KEYS.signing)
    )


async def asked(node: Node) -> Secret:
    reply = await post(node, question())
    assert reply.status == 200
    assert reply.value("Content-Type") == "application/json"
    assert reply.value("X-CLIENT-KEY") == CLIENT
    token = SnapProvider.token_in(reply.body)
    assert token is not None
    return token


def message(token: Secret, path: str = "/v1.0/debit/notify") -> Sample:
    order = SampleOrder("", SECRET, SystemClock().now(), {"path": path}, token=token)
    return (ASKING if path == INQUIRY else SYMMETRIC).sample(order)


def code(reply: Reply) -> str:
    return str(json.loads(reply.body)["responseCode"])


@pytest.mark.parametrize("mode", ["store", "proxy"])
async def test_a_token_is_given_and_a_message_signed_with_it_is_taken(
    tmp_path: Path, mode: str
) -> None:
    async with Upstream(answer(200)) as upstream:
        config = written(tmp_path, upstream.url, mode)
        async with Node(config, WITH_KEYS) as node:
            token = await asked(node)
            line = await node.wait_for(event="delivery", verdict="challenged")
            assert (line["endpoint"], line["status"]) == ("bank", 200)
            # Nothing of it is an event, and nothing of it goes further.
            assert upstream.received == []
            assert code(await post(node, message(token))) == "2005600"
            await upstream.has_received(1)
            [arrived] = upstream.received
            assert (arrived.values("Authorization"), arrived.values("Relay-Signed")) == (
                [],
                ["body"],
            )
            # What is not the client's own.
            assert code(await post(node, question("another"))) == "4017300"
            assert code(await post(node, question(), STRANGER)) == "4037301"
            assert code(await post(node, message(Secret("another")))) == "4015600"
            listed = await exchange(node.admin, request("GET", "/api/v1/events", [BEARER]))
            assert len(json.loads(listed.body)["events"]) == 1
            assert await node.end() == 0
            texts = [json.dumps(each) for each in node.lines]
        found = [path.read_bytes() for path in tmp_path.iterdir() if path.is_file()]
        found += [text.encode() for text in texts]
        assert not any(token.reveal() in each for each in found)
        shown = [
            await output(config, *words, environ=WITH_KEYS)
            for words in (("events", "export"), ("refusals", "list"), ("events", "list"))
        ]
        assert not any(token.reveal().decode() in each for each in shown)


async def test_a_token_is_good_after_a_restart_and_a_reload(tmp_path: Path) -> None:
    async with Upstream(answer(200)) as upstream:
        config = written(tmp_path, upstream.url)
        async with Node(config, WITH_KEYS) as node:
            token = await asked(node)
            config.write_text(config.read_text().replace("keys: [", "life: 1h, keys: ["))
            node.send(signal.SIGHUP)
            await node.wait_for(event="reloaded")
            assert code(await post(node, message(token))) == "2005600"
            assert await node.end() == 0
        async with Node(config, WITH_KEYS) as node:
            assert code(await post(node, message(token))) == "2005600"
            assert code(await post(node, message(await asked(node)))) == "2005600"


async def test_a_question_about_an_account_is_answered_by_the_upstream(tmp_path: Path) -> None:
    said = b'{"responseCode":"2002400","responseMessage":"Successful","virtualAccountData":{}}'
    answering = answer(200, body=said, headers=[("Content-Type", "application/json")])
    async with (
        Upstream(answering) as upstream,
        Node(written(tmp_path, upstream.url), WITH_KEYS) as node,
    ):
        reply = await post(node, message(await asked(node), INQUIRY))
        assert (reply.status, reply.body) == (200, said)
        assert reply.value("X-TIMESTAMP")
        forged = message(Secret("another"), INQUIRY)
        assert code(await post(node, forged)) == "4012400"
        assert len(upstream.received) == 1
