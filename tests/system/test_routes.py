"""Routes: each event is at its upstreams and nowhere else, through `relay run` and three sinks."""

import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from tests.harness.deliveries import BEARER, ENVIRON, RECEIVED, midtrans_body, midtrans_request
from tests.harness.node import Node, command
from tests.harness.upstream import Upstream
from tests.harness.wire import Reply, exchange, request

_TOKEN: Final = "the-token-of-the-shop-canary"
_ENVIRON: Final = {**ENVIRON, "SHOP_TOKEN": _TOKEN}

MIDTRANS: Final = """
      - {when: {json: /transaction_status, is: settlement}, upstreams: [billing, ledger]}
      - {when: {json: /transaction_status, in: [expire, cancel]}, upstreams: []}"""
SHOP: Final = """
      - {when: {header: X-Event, is: ping}, upstreams: []}
      - {when: {json: /items/0/live, is: "true"}, upstreams: [crm, billing]}
      - {when: {header: X-Event, in: [customer, lead]}, upstreams: [crm]}"""


@dataclass
class Sinks:
    """The three upstreams, and the file that names them."""

    billing: Upstream
    ledger: Upstream
    crm: Upstream
    config: Path

    def write(self, midtrans: str = MIDTRANS, shop: str = SHOP) -> None:
        """Write the file with these routes."""
        self.config.write_text(f"""
listen: [{{bind: "127.0.0.1:0"}}]
trusted_proxies: ["127.0.0.1/32"]
admin: {{bind: "127.0.0.1:0", token: "${{env:RELAY_ADMIN_TOKEN}}"}}
spool: {{path: relay.db}}
upstreams:
  billing: {{url: "{self.billing.url}/billing"}}
  ledger: {{url: "{self.ledger.url}/ledger"}}
  crm: {{url: "{self.crm.url}/crm"}}
endpoints:
  - name: midtrans
    path: /midtrans/notification
    provider: midtrans
    environment: sandbox
    secrets: ["${{env:MIDTRANS_SERVER_KEY}}"]
    upstream: billing
    routes:{midtrans}
  - name: shop
    path: /shop
    upstream: ledger
    secrets: ["${{env:SHOP_TOKEN}}"]
    allowlist: {{mode: "off"}}
    provider: &shop
      name: shop
      signature: {{scheme: token, from: {{header: X-Token}}}}
      event_key: {{json: [/id]}}
    routes:{shop}
  - name: asked
    path: /asked
    upstream: crm
    mode: proxy
    secrets: ["${{env:SHOP_TOKEN}}"]
    allowlist: {{mode: "off"}}
    provider: *shop
""")

    def received(self) -> dict[str, list[str]]:
        """Return the ids that each has got, as `order_id` or `id` of the bodies, sorted."""
        found: dict[str, list[str]] = {}
        for name in ("billing", "ledger", "crm"):
            sink: Upstream = getattr(self, name)
            bodies = [orjson.loads(each.body) for each in sink.received]
            found[name] = sorted(str(each.get("order_id", each.get("id"))) for each in bodies)
        return found


@pytest.fixture
async def sinks(tmp_path: Path) -> AsyncIterator[Sinks]:
    async with AsyncExitStack() as stack:
        billing, ledger, crm = [await stack.enter_async_context(Upstream()) for _ in range(3)]
        made = Sinks(billing, ledger, crm, tmp_path / "relay.yaml")
        made.write()
        yield made


def shop(body: object, event: str | None = None, path: str = "/shop") -> bytes:
    fields = [("Content-Type", "application/json"), ("X-Forwarded-For", "192.0.2.7")]
    fields.append(("X-Token", _TOKEN))
    if event is not None:
        fields.append(("X-Event", event))
    return request("POST", path, fields, json.dumps(body).encode())


def payment(order: str, status: str) -> bytes:
    named = {"order_id": order, "transaction_status": status, "transaction_id": f"tx-{order}"}
    return midtrans_request(midtrans_body(RECEIVED, **named))


async def sent(node: Node, *messages: bytes) -> None:
    for each in messages:
        assert (await exchange(node.public[0], each)).status == 200, each


async def api(node: Node, path: str, method: str = "GET") -> Reply:
    return await exchange(node.admin, request(method, path, [BEARER]))


async def events(node: Node, query: str = "") -> dict[str, dict[str, Any]]:
    """Return the events by their first reference, or by their key."""
    listed = orjson.loads((await api(node, f"/api/v1/events?{query}")).body)["events"]
    return {(dict(e["references"]).get("order_id") or e["key"]): e for e in listed}


async def test_each_event_is_at_its_upstreams_and_nowhere_else(sinks: Sinks) -> None:
    async with Node(sinks.config, _ENVIRON) as node:
        await sent(
            node,
            payment("both", "settlement"),
            payment("nowhere", "expire"),
            payment("default", "pending"),
            shop({"id": "ping"}, "ping"),
            shop({"id": "live", "items": [{"live": True}]}, "lead"),
            shop({"id": "text", "items": [{"live": "true"}]}),
            shop({"id": "lead", "items": []}, "lead"),
            shop({"id": "other", "items": [{"live": False}]}, "order"),
            shop({"id": "none"}),
            shop({"id": "passed"}, "ping", "/asked"),
        )
        await sinks.billing.has_received(4)
        await sinks.ledger.has_received(3)
        await sinks.crm.has_received(4)
        # What goes nowhere is known as any other event, and its copy is one.
        await sent(node, payment("nowhere", "expire"), shop({"id": "ping"}, "ping"))
        assert sinks.received() == {
            "billing": ["both", "default", "live", "text"],
            "ledger": ["both", "none", "other"],
            "crm": ["lead", "live", "passed", "text"],
        }
        # The field that chose is passed on.
        heads = {orjson.loads(e.body)["id"]: e.values("x-event") for e in sinks.crm.received}
        assert heads == {"lead": ["lead"], "live": ["lead"], "passed": [], "text": []}
        assert await node.metric('unrouted_total{endpoint="midtrans"}') == 1
        assert await node.metric('unrouted_total{endpoint="shop"}') == 1
        await node.wait_for(2, event="delivery", unrouted=True)
        told = node.having(event="delivery", unrouted=True)
        assert [(each["endpoint"], each["verdict"]) for each in told] == [
            ("midtrans", "accepted"),
            ("shop", "accepted"),
        ]
        stored = await events(node)
        nowhere = stored["nowhere"]
        assert (nowhere["upstream"], nowhere["destinations"], nowhere["status"]) == (
            *(None, [], "delivered"),
        )
        assert [d["upstream"] for d in stored["both"]["destinations"]] == ["billing", "ledger"]
        assert stored["both"]["upstream"] == "billing"
        assert set(await events(node, "upstream=ledger&endpoint=midtrans")) == {"both"}
        # A person can send it somewhere all the same.
        path = f"/api/v1/events/{nowhere['id']}/requeue"
        assert (await api(node, path, "POST")).status == 409
        assert (await api(node, f"{path}?to=crm", "POST")).status == 200
        await sinks.crm.has_received(5)
        assert sinks.received()["crm"] == ["lead", "live", "nowhere", "passed", "text"]


async def test_a_reload_changes_where_later_events_go(sinks: Sinks) -> None:
    async with Node(sinks.config, _ENVIRON) as node:
        await sent(node, payment("before", "expire"), shop({"id": "1"}, "lead"))
        await sinks.crm.has_received(1)
        sinks.write(
            "\n      - {when: {json: /transaction_status, is: expire}, upstreams: [ledger]}",
            "\n      - {when: {header: X-Event, is: lead}, upstreams: [billing]}",
        )
        code, said, errors = await command(
            sinks.config, "check", "--replay", "1d", environ=_ENVIRON
        )
        assert code == 1, errors
        assert "taken, and delivered nowhere\ttaken, to ledger\troutes.0 holds" in said
        node.send(signal.SIGHUP)
        await node.wait_for(event="reloaded")
        await sent(node, payment("after", "expire"), shop({"id": "2"}, "lead"))
        await sinks.ledger.has_received(1)
        await sinks.billing.has_received(1)
        # A copy changes nothing, whatever the routes say of it now.
        await sent(node, payment("before", "expire"), shop({"id": "1"}, "lead"))
        await sent(node, payment("last", "expire"))
        await sinks.ledger.has_received(2)
        assert sinks.received() == {"billing": ["2"], "ledger": ["after", "last"], "crm": ["1"]}
        stored = await events(node, "endpoint=midtrans")
        assert {name: len(each["destinations"]) for name, each in stored.items()} == {
            "before": 0,
            "after": 1,
            "last": 1,
        }
