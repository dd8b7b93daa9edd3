"""What `relay explain` shows of a request that holds a token, and of one in gzip."""

import json
from gzip import compress
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote_plus

import pytest

from relay.config.loader import load
from relay.config.settings import Settings
from relay.core.errors import Reason
from relay.explain.capture import parse
from relay.explain.steps import Walk
from relay.explain.walk import walk
from tests.harness.deliveries import RECEIVED
from tests.harness.wire import request
from tests.system.canaries import found as leaked

TOKEN, OTHER = "canary-token/ü 17", "canary-wrong-token/ü 3"
PLACES = {
    "json": "{json: /t}",
    "each": '{json: "/a/*/t"}',
    "form": "{form: t}",
    "query": "{query: t}",
}
ROUTE = "routes: [{when: {json: /t, is: x}, upstreams: [billing]}]"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "relay.yaml"
    endpoints = "".join(
        f"""
  - name: {name}
    path: /{name}
    upstream: billing
    query: drop
    secrets: ["${{env:TOKEN}}"]
    {ROUTE}
    provider:
      name: sender
      decode: gzip
      networks: {{live: {{cidrs: ["192.0.2.0/24"]}}}}
      signature: {{scheme: token, from: {place}}}"""
        for name, place in PLACES.items()
    )
    path.write_text(
        f"""
listen: [{{bind: "127.0.0.1:8080"}}]
upstreams: {{billing: {{url: "http://127.0.0.1:8081/"}}}}
endpoints:{endpoints}
"""
    )
    return load(path, {"TOKEN": TOKEN})


def sent(name: str, token: str, *, packed: bool = False) -> bytes:
    body = json.dumps({"t": token, "a": [{"t": token}]}).encode()
    query = ""
    if name == "form":
        body = f"a=1&t={quote_plus(token)}".encode()
    if name == "query":
        body, query = b"{}", f"?t={quote_plus(token)}"
    fields = [("Content-Encoding", "gzip")] if packed else []
    return request("POST", f"/{name}{query}", fields, compress(body) if packed else body)


def walked(settings: Settings, raw: bytes) -> Walk:
    return walk(settings, parse(raw), ip_address("192.0.2.1"), RECEIVED)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", PLACES)
def test_a_token_is_shown_nowhere_whether_it_fits_or_not(
    name: str, packed: bool, settings: Settings
) -> None:
    right = walked(settings, sent(name, TOKEN, packed=packed))
    wrong = walked(settings, sent(name, OTHER, packed=packed))
    assert (right.reason, wrong.reason) == (None, Reason.SIGNATURE_MISMATCH)
    for seen in (right, wrong):
        text = "\n".join([*(each.detail for each in seen.steps), *seen.nearest]).encode()
        assert leaked([("it", TOKEN), ("another", OTHER)], [("explain", text)]) == []
        # A digest tells who guesses that the guess is right.
        shown = {f"sha256 {sha256(b'{}').hexdigest()}"} if name == "query" else set()
        details = {each.detail.removeprefix("unpacked from gzip; ") for each in seen.steps}
        assert {each for each in details if each.startswith("sha256 ")} == shown


def test_what_is_no_gzip_is_refused_as_the_edge_does(settings: Settings) -> None:
    raw = request("POST", "/json", [("Content-Encoding", "gzip")], b'{"t": "x"}')
    assert walked(settings, raw).reason is Reason.BODY_MALFORMED
    raw = request("POST", "/json", [("Content-Encoding", "br")], b'{"t": "x"}')
    assert walked(settings, raw).reason is Reason.BODY_ENCODED
