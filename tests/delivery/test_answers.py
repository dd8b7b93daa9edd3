"""What is kept of an answer is its beginning, byte for byte, but for what nobody may read."""

from dataclasses import replace

import pytest

from relay.core.event import Event, event_of
from relay.core.request import Headers
from relay.core.secret import Secret
from relay.delivery.answers import KEPT, kept_answer
from tests.harness.deliveries import verified

EVENT: Event = event_of(verified())


@pytest.mark.parametrize(
    "answer", [b"no", b'{"error": "\xc3\xa4"}', bytes(range(256)), b"x" * KEPT], ids=len
)
def test_a_short_answer_is_kept_as_it_came(answer: bytes) -> None:
    assert kept_answer(answer, EVENT, ()) == answer


def test_of_a_long_one_the_beginning_is_kept() -> None:
    assert kept_answer(b"ab" * 40_000, EVENT, ()) == b"ab" * 512


def test_a_secret_of_ours_is_not_kept_also_where_it_is_cut() -> None:
    secret = "a-secret-\u00e9-of-ours"
    answer = b"x" * (KEPT - 5) + b" " + secret.encode() + b" end"
    kept = kept_answer(answer, EVENT, [Secret(secret)])
    assert kept == (b"x" * (KEPT - 5) + b" *** end")[:KEPT]


def test_a_long_secret_of_ours_is_not_kept_where_what_is_looked_through_ends() -> None:
    secret = "".join(f"{number:05}" for number in range(1200))
    kept = kept_answer(f"{secret} ".encode() * 4, EVENT, [Secret(secret)])
    assert kept.startswith(b"***")
    assert not any(f"{number:05}".encode() in kept for number in range(1200))


def test_tokens_of_the_event_are_not_kept() -> None:
    body = b'{"a": {"token": "the-access-token"}, "n": 1}'
    event = replace(
        EVENT,
        body=body,
        tokens=("/a/token", "/missing"),
        headers=Headers((("Authorization", "Bearer the-bearer-token"),)),
    )
    answer = b"failed on " + body + b" with Authorization: Bearer the-bearer-token"
    kept = kept_answer(answer, event, ())
    assert b"the-access-token" not in kept
    assert b"the-bearer-token" not in kept
    assert kept.startswith(b'failed on {"a": {"token": "***"}')


def test_a_body_that_cannot_be_read_keeps_no_answer_back() -> None:
    event = replace(EVENT, body=b"{", tokens=("/a",))
    assert kept_answer(b"no", event, ()) == b"no"
