"""The routes of an endpoint, and the header fields that they make it keep."""

from pathlib import Path

import pytest

from relay.app.endpoint_parts import kept_headers, token_fields, upstream_routes
from relay.config import Endpoint, provider_of
from relay.config.loader import load_text
from relay.core.conditions import HeaderCondition, JsonCondition
from relay.ingest.upstream_routes import UpstreamRoute
from tests.harness.deliveries import ENVIRON

_PROVIDER = """
    provider:
      name: acme
      signature: {scheme: SCHEME, from: {header: X-Proof}, FORMAT}
      event_key: {header: X-Id}
"""


def endpoint(tmp_path: Path, routes: str = "", scheme: str = "hmac") -> Endpoint:
    form = "format: '{signature}'" + (
        "" if scheme == "token" else ", encoding: hex, signed: '{body}'"
    )
    text = f"""
listen: [{{bind: "127.0.0.1:0"}}]
spool: {{path: relay.db}}
upstreams: {{billing: {{url: "http://127.0.0.1:1"}}, ledger: {{url: "http://127.0.0.1:2"}}}}
endpoints:
  - name: acme
    path: /acme
    upstream: billing
    secrets: ["${{env:VIPPS_SECRET}}"]
    allowlist: {{mode: "off"}}
    {routes}
{_PROVIDER.replace("SCHEME", scheme).replace("FORMAT", form)}
"""
    return load_text(text, "relay.yaml", ENVIRON, tmp_path).endpoints[0]


def test_routes_name_each_upstream_once(tmp_path: Path) -> None:
    routes = """routes:
      - {when: {json: /type, in: [charge, 7]}, upstreams: [ledger, billing]}
      - {when: {header: X-Event, is: ping}, upstreams: []}"""
    assert upstream_routes(endpoint(tmp_path, routes)) == (
        UpstreamRoute(JsonCondition("/type", ("charge", "7")), ("ledger", "billing")),
        UpstreamRoute(HeaderCondition("X-Event", ("ping",)), ()),
    )


@pytest.mark.parametrize(
    ("scheme", "named", "kept"),
    [
        ("hmac", (), ("X-Proof", "X-Id")),
        ("hmac", ("X-Event", "x-event", "X-Other"), ("X-Proof", "X-Id", "X-Event", "X-Other")),
        ("hmac", ("x-id", "content-type"), ("X-Proof", "X-Id")),
        ("hmac", ("Authorization", "Cookie"), ("X-Proof", "X-Id")),
        ("token", ("X-Proof", "X-Event"), ("X-Id", "X-Event")),
    ],
)
def test_a_field_that_a_route_looks_at_is_kept_unless_it_may_hold_a_token(
    scheme: str, named: tuple[str, ...], kept: tuple[str, ...], tmp_path: Path
) -> None:
    entries = [f"{{when: {{header: {name}, is: a}}, upstreams: [ledger]}}" for name in named]
    made = endpoint(tmp_path, f"routes: [{', '.join(entries)}]" if named else "", scheme)
    assert kept_headers(made, provider_of(made).info) == kept
    assert token_fields(made) == (("X-Proof",) if scheme == "token" else ())
