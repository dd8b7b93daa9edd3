"""An upstream is taken out of the file while events wait for it: they wait on, and it is said."""

from pathlib import Path

import orjson

from tests.harness.deliveries import BEARER, ENVIRON, midtrans_body, midtrans_request
from tests.harness.node import Node, command, output
from tests.harness.upstream import RefusingPort, Upstream
from tests.harness.wire import exchange, request


def _with_ledger(text: str, url: str) -> str:
    """Return a file whose events go to a second upstream too."""
    named = f'upstreams:\n  ledger: {{url: "{url}", retry: {{schedule: [50ms]}}}}\n'
    return text.replace("upstreams:\n", named).replace(
        "    upstream: billing", "    upstreams: [billing, ledger]", 1
    )


async def _reload(node: Node) -> None:
    reply = await exchange(node.admin, request("POST", "/-/reload", [BEARER]))
    assert reply.status == 200, reply


async def _waits(config: Path, event_id: str) -> dict[str, str]:
    """Return the status of each destination."""
    shown = orjson.loads(await output(config, "events", "show", event_id, "--format", "json"))
    return {each["upstream"]: each["status"] for each in shown["destinations"]}


async def test_what_waits_for_an_upstream_that_is_removed_goes_when_it_is_named_again(
    config: Path, upstream: Upstream
) -> None:
    text, body = config.read_text(), midtrans_body()
    with RefusingPort() as refusing:
        config.write_text(_with_ledger(text, refusing))
        async with Node(config, ENVIRON) as node:
            assert (await exchange(node.public[0], midtrans_request(body))).status == 200
            await upstream.has_received(1)
            event_id = (await node.wait_for(event="attempt", upstream="ledger"))["id"]
            await node.wait_for(event="attempt", upstream="billing", decision="done")

            config.write_text(text)
            await _reload(node)
            await node.wait_for(event="upstream_missing", upstream="ledger")
            assert await _waits(config, event_id) == {"billing": "delivered", "ledger": "pending"}
            assert await node.metric('upstream_missing{upstream="ledger"}') == 1
            code, _, said = await command(config, "check")
            assert code == 0
            assert 'events wait for "ledger" since' in said

            async with Upstream() as ledger:
                config.write_text(_with_ledger(text, ledger.url))
                await _reload(node)
                await ledger.has_received(1)
                await node.wait_for(event="attempt", upstream="ledger", decision="done")
            [received] = ledger.received
            assert received.body == body
            assert received.values("webhook-id") == [event_id]
            assert await _waits(config, event_id) == {"billing": "delivered", "ledger": "delivered"}
            assert await node.end() == 0
            assert node.noise == []
    assert len(upstream.received) == 1


async def test_what_waits_for_an_upstream_that_is_removed_can_go_to_another(
    config: Path, upstream: Upstream
) -> None:
    text, body = config.read_text(), midtrans_body()
    with RefusingPort() as refusing:
        config.write_text(_with_ledger(text, refusing))
        async with Node(config, ENVIRON) as node:
            assert (await exchange(node.public[0], midtrans_request(body))).status == 200
            event_id = (await node.wait_for(event="attempt", upstream="ledger"))["id"]
            async with Upstream() as other:
                named = f'upstreams:\n  other: {{url: "{other.url}"}}\n'
                config.write_text(text.replace("upstreams:\n", named))
                await _reload(node)
                await output(config, "events", "requeue", event_id, "--to", "other")
                await other.has_received(1)
                await node.wait_for(event="attempt", upstream="other", decision="done")
            [received] = other.received
            assert (received.body, received.values("webhook-id")) == (body, [event_id])
            # It is still for the one that is missing, which may be named again.
            assert await _waits(config, event_id) == {
                "billing": "delivered",
                "ledger": "pending",
                "other": "delivered",
            }
            assert await node.end() == 0
    assert len(upstream.received) == 1
