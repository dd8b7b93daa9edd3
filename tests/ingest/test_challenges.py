"""A challenge is answered before anything is stored, to allowed addresses alone, in both lanes."""

import hmac
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import pytest

from relay.core.conditions import JsonCondition, MethodCondition, QueryCondition
from relay.core.secret import Secret
from relay.ingest.admission import Endpoint
from relay.ingest.authenticated_knock import AuthenticatedKnock
from relay.providers import EndpointOptions
from relay.providers.inline.challenge_rules import AnswerRule, ChallengeRule
from relay.providers.inline.provider import InlineProvider
from tests.edge.lanes import Lane, endpoint
from tests.harness.clock import ManualClock
from tests.providers.inline.describe import described

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
SECRET = "the secret of the tests"
STRANGER = ip_address("203.0.113.9")

RULES = (
    ChallengeRule(
        (MethodCondition("GET"), QueryCondition("challenge")),
        AnswerRule("{query:challenge}"),
        signed=False,
    ),
    ChallengeRule((MethodCondition("HEAD"),), signed=False),
    ChallengeRule(
        (JsonCondition("/type", ("check",)),),
        AnswerRule(None, {"signed": "{hmac_sha256_hex:{json:/token}}"}),
    ),
)


def challenged(**changes: Any) -> Endpoint:
    """Return an endpoint of a sender with challenges."""
    provider = InlineProvider(replace(described(), challenges=RULES))
    options = EndpointOptions(secrets=(Secret(SECRET),))
    return endpoint(
        provider.bind(options),
        provider="test",
        methods=provider.info.methods,
        challenges=provider.challenges(options),
        **changes,
    )


@pytest.fixture(params=[True, False], ids=["fast lane", "other lane"])
async def lane(request: pytest.FixtureRequest) -> AsyncIterator[Lane]:
    found = Lane(ManualClock(AT), fast_lane=request.param)
    await found.start()
    found.serve([challenged()])
    yield found
    await found.stop()


def asked(method: str, target: str = "/hook", body: bytes = b"", *fields: str) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: relay", *fields, f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def signed(body: bytes, secret: str = SECRET) -> bytes:
    value = hmac.digest(secret.encode(), body, "sha256").hex()
    return asked("POST", "/hook", body, f"X-Signature: {value}")


CHECK = b'{"type": "check", "token": "abc"}'


async def test_it_is_answered_and_not_stored(lane: Lane) -> None:
    outcome = await lane.send([(asked("GET", "/hook?challenge=a%20b"), 5)])
    assert outcome.answers.startswith(b"HTTP/1.1 200 OK\r\n")
    assert outcome.answers.endswith(b"\r\n\r\na b")
    assert b"\r\nContent-Type: text/plain; charset=utf-8\r\n" in outcome.answers
    assert b"\r\nX-Content-Type-Options: nosniff\r\n" in outcome.answers
    [line] = outcome.lines
    assert (line["verdict"], line["status"]) == ("challenged", 200)
    assert "a b" not in str(line)
    assert outcome.rows == []


async def test_an_answer_to_head_has_no_body(lane: Lane) -> None:
    outcome = await lane.send([(asked("HEAD"), 5)])
    assert outcome.answers.startswith(b"HTTP/1.1 200 OK\r\n")
    assert outcome.answers.endswith(b"\r\n\r\n")
    assert [line["verdict"] for line in outcome.lines] == ["challenged"]


async def test_a_signed_one_needs_its_signature(lane: Lane) -> None:
    outcome = await lane.send([(signed(CHECK), 5)])
    expected = hmac.digest(SECRET.encode(), b"abc", "sha256").hex()
    assert outcome.answers.endswith(f'{{"signed":"{expected}"}}'.encode())
    assert [(line["verdict"], line["secret"]) for line in outcome.lines] == [("challenged", 0)]
    outcome = await lane.send([(signed(CHECK, "another"), 5)])
    assert outcome.answers.startswith(b"HTTP/1.1 401 ")
    assert expected.encode() not in outcome.answers
    assert [line["reason"] for line in outcome.lines] == ["signature_mismatch"]
    assert outcome.rows == []


async def test_an_event_is_stored_as_ever(lane: Lane) -> None:
    outcome = await lane.send([(signed(b'{"type": "event"}'), 5)])
    assert [line["verdict"] for line in outcome.lines] == ["accepted"]
    assert len(outcome.rows) == 1


async def test_a_method_of_challenges_alone_takes_no_event(lane: Lane) -> None:
    outcome = await lane.send([(asked("GET", "/hook?other=1"), 5)])
    assert outcome.answers.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: POST, GET, HEAD\r\n" in outcome.answers
    assert [line["reason"] for line in outcome.lines] == ["method_not_allowed"]
    outcome = await lane.send([(asked("PUT", "/hook?challenge=1"), 5)])
    assert [line["reason"] for line in outcome.lines] == ["method_not_allowed"]


@pytest.mark.parametrize("challenge", ["a" * 4097, "%00", "%ff%fe", "%c2%80"])
async def test_what_cannot_be_answered_is_refused(lane: Lane, challenge: str) -> None:
    body = b"challenge=" + challenge.encode()
    outcome = await lane.send([(asked("GET", f"/hook?{body.decode()}"), 5)])
    if challenge == "%ff%fe":
        # No parameter of a query at all.
        assert [line["reason"] for line in outcome.lines] == ["method_not_allowed"]
    else:
        assert outcome.answers.startswith(b"HTTP/1.1 400 ")
        assert [line["reason"] for line in outcome.lines] == ["field_invalid"]
    assert outcome.rows == []


async def test_a_refused_one_is_not_kept(lane: Lane) -> None:
    kept: list[object] = []
    lane._edge._ingest._on_refused = lambda *refused: kept.append(refused)
    if lane._edge._lane is not None:
        lane._edge._lane._ingest._on_refused = lambda *refused: kept.append(refused)
    await lane.send([(signed(CHECK, "another"), 5)])
    assert kept == []
    await lane.send([(signed(b"{}", "another"), 5)])
    assert len(kept) == 1


@pytest.mark.parametrize("proxied", [False, True])
async def test_it_is_answered_in_both_modes(lane: Lane, proxied: bool) -> None:
    lane.serve([challenged(proxied=proxied)])
    outcome = await lane.send([(asked("GET", "/hook?challenge=a"), 5)])
    assert outcome.answers.endswith(b"\r\n\r\na")


async def test_no_stranger_is_answered(lane: Lane) -> None:
    for raw in (asked("GET", "/hook?challenge=a"), asked("HEAD"), signed(CHECK)):
        outcome = await lane.send([(raw, 5)], STRANGER)
        assert outcome.answers.startswith(b"HTTP/1.1 403 ")
        assert [line["reason"] for line in outcome.lines] == ["source_not_allowed"]


async def test_no_challenge_lets_an_unknown_address_prove_itself(lane: Lane) -> None:
    lane.serve([challenged(authenticated_knock=AuthenticatedKnock(None, ManualClock(AT)))])
    for raw in (asked("GET", "/hook?challenge=a"), signed(CHECK)):
        outcome = await lane.send([(raw, 5)], STRANGER)
        assert outcome.answers.startswith(b"HTTP/1.1 403 ")
        assert [line["reason"] for line in outcome.lines] == ["source_not_allowed"]
        assert "detail" not in outcome.lines[0]
