"""What is said of challenges: as they come, and of what was kept before there were any."""

import hmac
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest

from relay.config import Settings
from relay.config.loader import load
from relay.core.clock import SystemClock
from relay.core.errors import Reason
from relay.core.request import ClientAddress, Headers, RequestHead, Via
from relay.explain.capture import parse
from relay.explain.judge import Judge, Taken
from relay.explain.refusal import walk_refusal
from relay.explain.steps import Walk
from relay.explain.walk import walk
from relay.spool.refusals import Refused, StoredRefusal
from tests.harness.deliveries import RECEIVED

PEER = ip_address("192.0.2.1")
SECRET = "the secret of the tests"
CONFIGURATION = """
listen: [{bind: "127.0.0.1:8080"}]
upstreams: {billing: {url: "http://127.0.0.1:8081"}}
endpoints:
  - name: sender
    path: /hook
    upstream: billing
    secrets: ["${env:SECRET}"]
    provider:
      name: sender
      networks: {live: {cidrs: ["192.0.2.0/24"]}}
      signature: {scheme: hmac, from: {header: X-Signature}}
      challenge:
        - when: [{method: GET, query: token, is: "${env:TOKEN}"}]
          signed: false
          answer: {text: "{query:challenge}"}
        - when: {json: /challenge}
          answer: {text: "{hmac_sha256_hex:{json:/challenge}}"}
"""
BODY = b'{"challenge": "abc"}'


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "relay.yaml"
    path.write_text(CONFIGURATION)
    return load(path, {"SECRET": SECRET, "TOKEN": "a-token-canary"})


def walked(settings: Settings, start: str, body: bytes = b"", *fields: str) -> Walk:
    lines = [f"{start} HTTP/1.1", "Host: relay", *fields, f"Content-Length: {len(body)}"]
    return walk(settings, parse("\r\n".join([*lines, "", ""]).encode() + body), PEER, RECEIVED)


def last(found: Walk) -> tuple[str, str, str]:
    step = found.steps[-1]
    return step.name, step.result, step.detail


def signature(body: bytes) -> str:
    return f"X-Signature: {hmac.digest(SECRET.encode(), body, 'sha256').hex()}"


def test_one_that_is_answered(settings: Settings) -> None:
    found = walked(settings, "GET /hook?token=a-token-canary&challenge=77")
    said = "unsigned; answered at once with 2 bytes, stored and delivered nowhere"
    assert last(found) == ("challenge.0", "ok", said)
    assert (found.reason, found.is_challenge) == (None, True)
    assert "canary" not in str(found)
    found = walked(settings, "POST /hook", BODY, signature(BODY))
    said = "fits secrets.0; answered at once with 64 bytes, stored and delivered nowhere"
    assert last(found) == ("challenge.1", "ok", said)


def test_one_that_is_refused(settings: Settings) -> None:
    found = walked(settings, "POST /hook", BODY, signature(b"other"))
    assert last(found) == ("challenge.1", "no", "signature_mismatch: fits no secret")
    found = walked(settings, "GET /hook?token=a-token-canary")
    assert found.reason is Reason.FIELD_INVALID
    found = walked(settings, "GET /hook?token=another")
    assert last(found) == ("challenge", "no", "method_not_allowed: it is none of the challenges")


def test_an_event_is_walked_as_ever(settings: Settings) -> None:
    found = walked(settings, "POST /hook", b"{}", signature(b"{}"))
    assert (found.reason, found.is_challenge) == (None, False)
    assert not [step for step in found.steps if step.name.startswith("challenge")]


def test_what_would_be_one_now_would_be_stored_nowhere(settings: Settings) -> None:
    head = RequestHead("POST", "/hook", Headers(), PEER, RECEIVED - timedelta(days=1))
    client = ClientAddress(PEER, Via.PEER)
    refused = Refused(
        "ref_1", "sender", "sender", Reason.SIGNATURE_MISMATCH, "", head, client, BODY
    )
    judge = Judge(settings, SystemClock())
    by = "challenge.1 answers it, and it is stored nowhere"
    assert judge.refusal(refused) == Taken("sender", (), False, None, by)
    other = judge.refusal(replace(refused, body=b"{}"))
    assert not isinstance(other, Taken)


def test_no_release_is_suggested_for_it(settings: Settings) -> None:
    mac = hmac.digest(SECRET.encode(), BODY, "sha256").hex()
    head = RequestHead("POST", "/hook", Headers((("X-Signature", mac),)), PEER, RECEIVED)
    client = ClientAddress(PEER, Via.PEER)
    refused = Refused(
        "ref_1", "sender", "sender", Reason.SIGNATURE_MISMATCH, "", head, client, BODY
    )
    found = walk_refusal(settings, StoredRefusal(refused, 1, None, None))
    assert found.is_challenge
    assert found.nearest == ["it is a challenge now, and no event, so it cannot be released"]
