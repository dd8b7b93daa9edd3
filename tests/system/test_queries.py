"""Queries: the upstream's own is kept, the caller's is forwarded or dropped with a mark."""

from pathlib import Path

import orjson
import pytest

from tests.harness.deliveries import BEARER, ENVIRON, MIDTRANS, configuration, midtrans_body
from tests.harness.node import Node
from tests.harness.upstream import Upstream
from tests.harness.wire import exchange, request

_OWN = "?wc-api=WC_Gateway_Midtrans"


def _message(query: str) -> bytes:
    fields = [("Content-Type", "application/json"), ("X-Forwarded-For", MIDTRANS)]
    return request("POST", f"/midtrans/notification{query}", fields, midtrans_body())


@pytest.mark.parametrize("mode", ["store", "proxy"])
@pytest.mark.parametrize(
    ("own", "policy", "query", "target", "dropped"),
    [
        ("", "", "", "/hooks", False),
        (_OWN, "", "", f"/hooks{_OWN}", False),
        (_OWN, "query: drop", "?shop=7&uuid=c12b", f"/hooks{_OWN}", True),
        ("", "", "?shop=7&uuid=c12b", "/hooks", True),
        ("", "query: forward", "?shop=7&uuid=c12b", "/hooks?shop=7&uuid=c12b", False),
        (_OWN, "query: forward", "?shop=7", f"/hooks{_OWN}&shop=7", False),
        (_OWN, "query: forward", "?", f"/hooks{_OWN}", False),
    ],
)
async def test_what_becomes_of_queries(
    *,
    own: str,
    policy: str,
    query: str,
    target: str,
    dropped: bool,
    mode: str,
    tmp_path: Path,
    upstream: Upstream,
) -> None:
    path = tmp_path / "relay.yaml"
    text = configuration(upstream.url).replace("/hooks", f"/hooks{own}")
    keys = f"    upstream: billing\n    mode: {mode}\n" + (f"    {policy}\n" if policy else "")
    path.write_text(text.replace("    upstream: billing\n", keys, 1))
    async with Node(path, ENVIRON) as node:
        assert (await exchange(node.public[0], _message(query))).status == 200
        await upstream.has_received(1)
        (received,) = upstream.received
        assert received.target == target
        await node.wait_for(event="attempt", outcome="delivered")
        assert await _shown(node) is dropped


async def _shown(node: Node) -> bool:
    """Return what the API tells of the one event, whose history may be written a moment later."""
    events: list[dict[str, str]] = []
    while not events:
        reply = await exchange(node.admin, request("GET", "/api/v1/events", [BEARER]))
        events = orjson.loads(reply.body)["events"]
    path = f"/api/v1/events/{events[0]['id']}"
    detail = orjson.loads((await exchange(node.admin, request("GET", path, [BEARER]))).body)
    content = detail["content"]
    assert content is None or not content["suffix"].endswith("?")
    return bool(detail["query_dropped"])
