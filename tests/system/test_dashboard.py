"""deploy/grafana-dashboard.json: a real Prometheus answers each of its expressions."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from relay.core.clock import SystemClock
from tests.harness.deliveries import (
    ENVIRON,
    configuration,
    midtrans_body,
    midtrans_request,
    vipps_request,
)
from tests.harness.nameserver import BrokenNameserver, gives
from tests.harness.node import Node
from tests.harness.prometheus import prometheus
from tests.harness.upstream import Upstream, hang
from tests.harness.wire import exchange, request, write_pair

DASHBOARD: Final = Path(__file__).parent.parent.parent / "deploy" / "grafana-dashboard.json"
PANELS: Final[list[dict[str, Any]]] = json.loads(DASHBOARD.read_text())["panels"]
#: Panel and expression; what Grafana puts in for its variables is put in.
EXPRESSIONS: Final = [
    (panel["title"], re.sub(r"\$(instance|endpoint|upstream)", ".*", target["expr"]))
    for panel in PANELS
    for target in panel.get("targets", [])
]
#: Of what has not happened there is nothing to be shown.
_NOTHING_YET: Final = ("relay_upstream_missing", "relay_allowlist_knocks_total", "dead|held")


def _config(upstream: str, nameserver: BrokenNameserver) -> str:
    text = configuration(upstream).replace(
        'listen: [{bind: "127.0.0.1:0"}]',
        'listen: [{bind: "127.0.0.1:0"}, {bind: "127.0.0.1:0",'
        " tls: {certificate: certificate.pem, key: key.pem}}]",
    )
    text = text.replace('replace: ["', 'add: [hooks.example.com], replace: ["', 1)
    dns = f'nameservers: ["127.0.0.1:{nameserver.port}"], min_refresh: 1s, max_refresh: 1s'
    return f"{text}dns: {{{dns}}}\n"


@pytest.mark.debian
@pytest.mark.proof
async def test_each_panel_shows_what_a_relay_exposes(tmp_path: Path, upstream: Upstream) -> None:
    write_pair(tmp_path, end=SystemClock().now() + timedelta(days=90))
    file = tmp_path / "relay.yaml"
    async with BrokenNameserver() as nameserver:
        nameserver.both(gives("104.45.17.198"))
        file.write_text(_config(upstream.url, nameserver))
        async with Node(file, ENVIRON) as node:
            target = "{}:{}".format(*node.admin)
            left = "the dashboard was NOT seen to show anything"
            async with prometheus(tmp_path, [target], left=left) as running:
                await running.has_scraped(1, 1)
                for raw in (midtrans_request(midtrans_body()), vipps_request()[0]):
                    assert (await exchange(node.public[0], raw)).status == 200
                await exchange(node.public[0], request("POST", "/unknown"))
                await upstream.has_received(2)
                upstream.behave(hang)
                await exchange(node.public[0], midtrans_request(midtrans_body()))
                await running.has_scraped(1, 4)
                empty = [
                    (title, expression)
                    for title, expression in EXPRESSIONS
                    if not await _shown(running, expression)
                ]
    assert [each for each in empty if not any(word in each[1] for word in _NOTHING_YET)] == []


async def _shown(running: Any, expression: str) -> list[Any]:
    """Return what Prometheus makes of an expression; one that it cannot read raises."""
    query = expression.replace("$__rate_interval", "10s")
    found: list[Any] = (await running.ask("/api/v1/query", query=query))["result"]
    return found


def test_panels_have_each_a_place_and_a_title_of_their_own() -> None:
    titles = [panel["title"] for panel in PANELS]
    assert len(titles) == len(set(titles))
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        cells = {
            (place["x"] + column, place["y"] + line)
            for column in range(place["w"])
            for line in range(place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
