"""Where a message goes, by which route, and what is shown of the values that decide."""

import json
from ipaddress import ip_address
from pathlib import Path

import pytest

from relay.config.loader import load
from relay.core.conditions import JsonCondition
from relay.core.redaction import Redaction
from relay.explain.capture import parse
from relay.explain.destinations import destinations
from relay.explain.steps import Walk, walk_json
from relay.explain.walk import walk
from relay.ingest.upstream_routes import UpstreamRoute
from tests.harness.deliveries import RECEIVED, verified

_PEER = ip_address("192.0.2.7")

_FILE = """
listen: [{bind: "127.0.0.1:0"}]
upstreams:
  billing: {url: "http://127.0.0.1:1/"}
  ledger: {url: "http://127.0.0.1:2/"}
endpoints:
  - name: shop
    path: /shop
    UPSTREAMS
    allowlist: {add: [192.0.2.0/24]}
    provider:
      name: shop
      signature: {scheme: token, from: {header: X-Token}}
      event_key: {json: [/id]}
    secrets: [the-token-canary]
"""

_ROUTES = """
    routes:
      - {when: {header: X-Event, in: [ping, hello]}, upstreams: []}
      - {when: {json: /data/kind, is: charge}, upstreams: [billing, ledger]}
      - {when: {json: /card/number, is: "4111111111111111"}, upstreams: [ledger]}
      - {when: {header: X-Token, is: nothing}, upstreams: [ledger]}
    redact: [/card/number]
"""


def walked(
    tmp_path: Path,
    body: object,
    *fields: tuple[str, str],
    upstreams: str = f"upstream: billing{_ROUTES}",
) -> Walk:
    path = tmp_path / "relay.yaml"
    path.write_text(_FILE.replace("UPSTREAMS", upstreams))
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = [("Content-Type", "application/json"), ("X-Token", "the-token-canary"), *fields]
    lines = ["POST /shop HTTP/1.1", "Host: a.example", f"Content-Length: {len(sent)}"]
    lines += [f"{name}: {value}" for name, value in given]
    captured = parse("\r\n".join([*lines, "", ""]).encode() + sent)
    return walk(load(path, {}), captured, _PEER, RECEIVED)


def said(found: Walk) -> list[tuple[str, str]]:
    return [(step.result, step.detail) for step in found.steps if step.name == "route"]


NOWHERE = "it goes nowhere: it is stored, and delivered to no upstream"
NOT_PING = ("-", "routes.0 does not hold: the header X-Event is not there")


@pytest.mark.parametrize(
    ("body", "event", "steps", "upstreams", "route"),
    [
        (
            {"id": "1"},
            "ping",
            [("ok", f'routes.0 holds: the header X-Event is "ping"; {NOWHERE}')],
            [],
            0,
        ),
        (
            {"id": "1", "data": {"kind": "charge"}},
            "push",
            [
                ("-", 'routes.0 does not hold: the header X-Event is "push"'),
                ("ok", 'routes.1 holds: /data/kind is "charge"; goes to billing, ledger'),
            ],
            ["billing", "ledger"],
            1,
        ),
        (
            {"id": "1", "data": {"kind": "re\u202efund" + "x" * 100}},
            None,
            [
                NOT_PING,
                (
                    "-",
                    'routes.1 does not hold: /data/kind is "re\\u202efund'
                    + "x" * (80 - 12)
                    + '…" (107 characters)',
                ),
                ("-", "routes.2 does not hold: /card/number is not there, or null"),
                ("-", 'routes.3 does not hold: the header X-Token is "***"'),
                ("ok", "no route holds: goes to billing"),
            ],
            ["billing"],
            None,
        ),
        (
            {"id": "1", "data": [], "card": {"number": "4111111111111111"}},
            None,
            [
                NOT_PING,
                ("-", "routes.1 does not hold: /data/kind is not there, or null"),
                ("ok", 'routes.2 holds: /card/number is "***"; goes to ledger'),
            ],
            ["ledger"],
            2,
        ),
    ],
)
def test_it_is_told_which_route_is_taken_and_why(  # noqa: PLR0917 - a table
    body: object,
    event: str | None,
    steps: list[tuple[str, str]],
    upstreams: list[str],
    route: int | None,
    tmp_path: Path,
) -> None:
    found = walked(tmp_path, body, *([] if event is None else [("X-Event", event)]))
    assert said(found) == steps
    told = walk_json(found)
    assert (told["verdict"], told["upstreams"], told["route"]) == ("accept", upstreams, route)
    assert "4111" not in json.dumps(told)
    assert "canary" not in json.dumps(told)


def test_a_token_that_stands_in_the_body_is_shown_as_a_mask() -> None:
    body = b'{"accessToken": "token-canary", "kind": "link"}'
    event = verified(body=body, tokens=("/accessToken",), upstreams=("ledger",))
    routes = (
        UpstreamRoute(JsonCondition("/accessToken", ("another",)), ()),
        UpstreamRoute(JsonCondition("/kind", ("link",)), ("ledger",)),
    )
    assert destinations(routes, event, Redaction()).steps == (
        ('routes.0 does not hold: /accessToken is "***"', False),
        ('routes.1 holds: /kind is "link"; goes to ledger', True),
    )


@pytest.mark.parametrize("body", [b"4111 no json", b'{"card": "4111", "card": "4111"}'])
def test_of_a_body_in_which_nothing_can_be_masked_nothing_is_shown(body: bytes) -> None:
    routes = (UpstreamRoute(JsonCondition("/card", ("a",)), ()),)
    found = destinations(routes, verified(body=body), Redaction(["/card"]))
    assert (found.upstreams, found.route) == (("billing",), None)
    first, last = found.steps
    assert first[0].startswith("routes.0 does not hold: /card cannot be looked for: ")
    assert "4111" not in first[0]
    assert last == ("no route holds: goes to billing", True)


@pytest.mark.parametrize(
    ("upstreams", "detail"),
    [
        ("upstream: billing", "goes to billing"),
        ("upstreams: [billing, ledger]", "goes to billing, ledger"),
    ],
)
def test_without_routes_it_goes_to_the_upstreams(
    upstreams: str, detail: str, tmp_path: Path
) -> None:
    found = walked(tmp_path, {"id": "1"}, upstreams=upstreams)
    assert said(found) == [("ok", detail)]
    assert walk_json(found)["route"] is None


def test_what_is_refused_goes_nowhere(tmp_path: Path) -> None:
    found = walked(tmp_path, b"no json", ("X-Event", "ping"))
    told = walk_json(found)
    assert said(found) == []
    assert (told["reason"], told["upstreams"]) == ("body_malformed", None)
