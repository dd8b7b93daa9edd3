"""What a token server's answers mean, when a token is due, and when its server is asked again."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.secret import Secret
from relay.delivery.oauth2 import (
    MAX_TOKEN,
    Client,
    NoToken,
    Token,
    TokenSchedule,
    read_answer,
)

CANARY = "canary-of-the-token-server"


def said(**fields: object) -> bytes:
    return json.dumps({"access_token": "abc.def", "token_type": "Bearer"} | fields).encode()


# ---- a question -----------------------------------------------------------------------------


def test_the_client_shows_itself_by_basic_authentication() -> None:
    client = Client("https://login.internal/oauth2/token?tenant=1", "a b", Secret("s/+"), "x:y z")
    head, _, body = client.request().partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /oauth2/token?tenant=1 HTTP/1.1",
        b"Host: login.internal",
        # a%20b:s%2F%2B
        b"Authorization: Basic YSUyMGI6cyUyRiUyQg==",
        b"Accept: application/json",
        b"Content-Type: application/x-www-form-urlencoded",
        b"Content-Length: %d" % len(body),
    ]
    assert body == b"grant_type=client_credentials&scope=x%3Ay%20z"


def test_no_scope_is_asked_for_that_is_not_named() -> None:
    request = Client("http://h", "a", Secret("s")).request()
    assert request.startswith(b"POST / HTTP/1.1\r\n")
    assert request.endswith(b"\r\n\r\ngrant_type=client_credentials")


def test_nothing_of_it_prints() -> None:
    client = Client(f"http://h/?key={CANARY}", "a", Secret(CANARY))
    token = read_answer(200, said(access_token=CANARY), 0.0)
    assert CANARY not in repr(client) + str(token) + repr(client.secrets())


# ---- an answer ------------------------------------------------------------------------------


def test_a_token_is_a_line_of_the_head() -> None:
    token = read_answer(200, said(expires_in=3600), 1000.0)
    assert token.line == "\r\nAuthorization: Bearer abc.def"
    assert token.secret.reveal() == b"abc.def"
    assert (token.asked_at, token.due_at, token.ends_at) == (1000.0, 4300.0, 4595.0)


@pytest.mark.parametrize(
    ("told", "lasts"),
    [
        (3600, 3600.0),
        ("3600", 3600.0),
        (2, 2.0),
        (1.5, 1.0),
        (10**30, 3600.0),
        (999_999_999, 315_360_000.0),
        (0, 3600.0),
        (-1, 3600.0),
        (None, 3600.0),
        ("soon", 3600.0),
        (True, 3600.0),
        ([5], 3600.0),
    ],
)
def test_how_long_it_is_good(told: object, lasts: float) -> None:
    token = read_answer(200, said(expires_in=told), 0.0)
    assert token.ends_at == lasts - min(5.0, lasts / 10)
    assert token.due_at == lasts - min(300.0, lasts / 5)
    assert 0 < token.due_at < token.ends_at < lasts


def test_an_answer_without_expires_in_lasts_an_hour() -> None:
    assert read_answer(200, said(), 0.0).ends_at == 3595.0


@pytest.mark.parametrize("kind", ["bearer", "BEARER", None])
def test_the_type_is_bearer_in_any_case_or_missing(kind: str | None) -> None:
    assert read_answer(200, said(token_type=kind), 0.0).secret == Secret("abc.def")


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, b"", "no JSON object"),
        (200, b"<html><h1>It works</h1>" + CANARY.encode(), "no JSON object"),
        (200, b"[]", "no JSON object"),
        (200, b'"abc"', "no JSON object"),
        (200, b"\xff\xfe", "no JSON object"),
        (200, b'{"access_token": "a", "access_token": "b"}', "no JSON object"),
        (200, b'{"access_token": "a"', "no JSON object"),
        (200, b"[" * 10_000, "no JSON object"),
        (200, b"{}", "no access_token"),
        (200, said(access_token=""), "no access_token"),
        (200, said(access_token=None), "no access_token"),
        (200, said(access_token=12345678), "no access_token"),
        (200, said(access_token=[CANARY]), "no access_token"),
        (200, said(access_token="a\r\nRelay-Signed: body"), "access_token unusable"),
        (200, said(access_token="a\nb"), "access_token unusable"),
        (200, said(access_token="abc\n"), "access_token unusable"),
        (200, said(access_token="a b"), "access_token unusable"),
        (200, said(access_token="a\0"), "access_token unusable"),
        (200, said(access_token="é"), "access_token unusable"),
        (200, said(access_token="\u202e"), "access_token unusable"),
        (200, said(access_token="a" * (MAX_TOKEN + 1)), "access_token unusable"),
        (200, said(token_type="mac"), "token_type is not Bearer"),
        (200, said(token_type=CANARY), "token_type is not Bearer"),
        (200, said(token_type=1), "token_type is not Bearer"),
        (302, said(), "status 302"),
        (500, b"", "status 500"),
        (503, said(), "status 503"),
        (401, b"<html>", "status 401"),
        (400, said(error=CANARY), "status 400"),
        (400, said(error=["invalid_scope"]), "status 400"),
        (400, said(error="invalid_scope", error_description=CANARY), "invalid_scope"),
        (401, said(error="invalid_client"), "invalid_client"),
    ],
)
def test_nonsense_is_told_in_our_words(status: int, body: bytes, reason: str) -> None:
    with pytest.raises(NoToken) as caught:
        read_answer(status, body, 0.0)
    assert caught.value.reason == str(caught.value) == reason
    assert caught.value.__cause__ is None


def test_the_longest_token_is_taken() -> None:
    token = read_answer(200, said(access_token="a" * MAX_TOKEN), 0.0)
    assert len(token.secret.reveal()) == MAX_TOKEN


@given(
    st.integers(100, 599), st.binary() | st.builds(lambda text: said(access_token=text), st.text())
)
def test_whatever_is_answered_makes_one_line_or_none(status: int, body: bytes) -> None:
    try:
        token = read_answer(status, body, 0.0)
    except NoToken:
        return
    assert token.line[2:].isprintable()
    assert token.line.isascii()


# ---- when to ask ----------------------------------------------------------------------------


def token_of(asked_at: float, lifetime: float | None = 100.0) -> Token:
    return Token.of("abc", asked_at, lifetime)


def test_a_token_is_due_ahead_of_its_end_and_good_meanwhile() -> None:
    schedule = TokenSchedule()
    assert schedule.is_due(0.0)
    assert schedule.good(0.0) is None
    token = token_of(0.0)
    schedule.fetched(token)
    assert [(at, schedule.is_due(at), schedule.good(at) is token) for at in (0, 79, 80, 94)] == [
        (0, False, True),
        (79, False, True),
        (80, True, True),
        (94, True, True),
    ]
    assert schedule.good(95.0) is None
    assert schedule.is_due(95.0)


def test_a_server_that_fails_is_asked_ever_more_seldom() -> None:
    schedule, now, pauses = TokenSchedule(), 0.0, []
    for _ in range(8):
        pauses.append(schedule.failed(now, "timeout"))
        assert schedule.pause(now) == pauses[-1]
        assert not schedule.is_due(now + pauses[-1] - 0.01)
        now += pauses[-1]
        assert schedule.is_due(now)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    assert schedule.reason == "timeout"
    schedule.fetched(token_of(now))
    assert (schedule.reason, schedule.pause(now)) == ("", 0.0)
    assert schedule.failed(now, "dns") == 1


@pytest.mark.parametrize(("told", "pause"), [(0, 1), (20, 20), (86_400, 300)])
def test_a_server_may_ask_for_a_longer_pause(told: int, pause: float) -> None:
    assert TokenSchedule().failed(0.0, "status 429", timedelta(seconds=told)) == pause


def test_a_token_that_was_replaced_has_a_newer_one() -> None:
    schedule, old = TokenSchedule(), token_of(0.0)
    schedule.fetched(old)
    schedule.fetched(token_of(0.0))
    assert schedule.may_renew(old, 0.0)


def test_an_upstream_that_refuses_every_token_has_few_fetched() -> None:
    schedule, now, fetched = TokenSchedule(), 0.0, 0
    schedule.fetched(token_of(now, None))
    # Ten times a second for an hour.
    for tick in range(36_000):
        now = tick / 10
        assert schedule.token is not None
        if schedule.may_renew(schedule.token, now):
            fetched += 1
            schedule.fetched(token_of(now, None))
    assert fetched < 25


def test_a_token_that_was_good_for_long_is_replaced_at_once() -> None:
    schedule = TokenSchedule()
    for at in (0.0, 0.0, 3.0, 8.0, 20.0):
        schedule.fetched(token_of(at))
        assert schedule.token is not None
        schedule.may_renew(schedule.token, at)
    schedule.fetched(token_of(100.0))
    token = token_of(1000.0)
    schedule.fetched(token)
    assert schedule.may_renew(token, 5000.0)
    fresh = token_of(5000.0)
    schedule.fetched(fresh)
    assert schedule.may_renew(fresh, 5000.0)
