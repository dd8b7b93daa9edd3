import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.core.errors import Reason, Refusal
from relay.core.request import Ack, Delivery, Headers
from relay.core.secret import Secret
from relay.providers import Sample, SampleOrder
from relay.providers.snap import ACCESS, QRIS, stamp
from relay.providers.snap.access_tokens import MAX_RATE, EndpointTokens
from relay.providers.snap.token_requests import MAX_ANSWERS, TokenChallenges, TokenRequests
from relay.signatures import SignedText
from relay.signatures.private_key import sign_rsa
from tests.contracts.proof import other_headers, with_headers
from tests.contracts.provider import NOW, URL, delivery_of, flipped_text, new_rsa_keys
from tests.providers.snap.dialects import CLIENT, KEYS, SYMMETRIC, new_tokens


def question(**changes: str) -> Delivery:
    order = SampleOrder(
        URL, Secret("x"), NOW, {"X-CLIENT-KEY": CLIENT, **changes}, key=KEYS.signing
    )
    return delivery_of(SYMMETRIC.token_request(order))


def asked(
    delivery: Delivery, issued: EndpointTokens | None = None, keys: tuple[Secret, ...] = ()
) -> Ack | Reason:
    requests = TokenRequests(CLIENT, keys or (KEYS.verifying,), issued or new_tokens())
    try:
        return requests.answer(delivery)
    except Refusal as refusal:
        return refusal.reason


def test_a_question_is_answered_with_a_token() -> None:
    issued = new_tokens()
    ack = asked(question(), issued)
    assert isinstance(ack, Ack)
    said = json.loads(ack.body)
    token = said.pop("accessToken")
    assert said == {
        "responseCode": "2007300",
        "responseMessage": "Successful",
        "tokenType": "Bearer",
        "expiresIn": "900",
    }
    assert issued.knows(token, NOW)
    assert (ack.status, ack.content_type) == (200, "application/json")
    assert ack.headers == (
        ("X-TIMESTAMP", "2026-01-05T19:00:00+07:00"),
        ("X-CLIENT-KEY", CLIENT),
    )
    assert SYMMETRIC.token_in(ack.body) == Secret(token)


def test_any_key_answers_during_a_rotation() -> None:
    other = new_rsa_keys()
    assert isinstance(asked(question(), keys=(other.verifying, KEYS.verifying)), Ack)
    assert asked(question(), keys=(other.verifying,)) is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize("name", ["X-CLIENT-KEY", "X-TIMESTAMP", "X-SIGNATURE"])
def test_each_header_is_there_exactly_once(name: str) -> None:
    for changed in other_headers(question(), name):
        assert asked(changed) is Reason.SIGNATURE_MISSING, changed.head.headers


@pytest.mark.parametrize("name", ["X-CLIENT-KEY", "X-TIMESTAMP", "X-SIGNATURE"])
def test_any_flipped_bit_of_them_refuses(name: str) -> None:
    whole = question()
    value = whole.head.headers.values(name)[0]
    for changed in flipped_text(value):
        fields = ((n, changed if n == name else v) for n, v in whole.head.headers)
        assert isinstance(asked(with_headers(whole, *fields)), Reason), changed


def test_another_client_is_not_answered() -> None:
    assert asked(question(**{"X-CLIENT-KEY": "another"})) is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize("minutes", [6, -6])
def test_a_question_is_asked_afresh(minutes: int) -> None:
    whole = question()
    later = replace(whole.head, received_at=NOW + timedelta(minutes=minutes))
    assert asked(replace(whole, head=later)) is Reason.TIMESTAMP_OUTSIDE_WINDOW


def test_a_signature_of_a_message_is_no_question() -> None:
    """The texts of the two differ, and so a message that was seen asks for nothing."""
    at = stamp(NOW)
    for text in (f"POST:{ACCESS}:{CLIENT}:{at}", f"{CLIENT}:{at}", f"{at}|{CLIENT}", CLIENT):
        signature = sign_rsa(KEYS.signing, text.encode())
        assert asked(signed(signature)) is Reason.SIGNATURE_MISMATCH
    good = sign_rsa(KEYS.signing, f"{CLIENT}|{at}".encode())
    assert isinstance(asked(signed(good)), Ack)
    for sloppy in (good.rstrip("="), b64encode(b64decode(good)[:-1]).decode(), good + "\n"):
        assert asked(signed(sloppy)) is Reason.SIGNATURE_MISMATCH


def signed(signature: str, changes: Mapping[str, str] | None = None) -> Delivery:
    fields = {"X-CLIENT-KEY": CLIENT, "X-TIMESTAMP": stamp(NOW), "X-SIGNATURE": signature}
    body = b'{"grantType":"client_credentials"}'
    return delivery_of(Sample("POST", ACCESS, Headers(tuple(fields.items())), body))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", Reason.BODY_MALFORMED),
        (b"[]", Reason.BODY_MALFORMED),
        (b'{"grantType":"client_credentials","grantType":"x"}', Reason.BODY_MALFORMED),
        (b"{}", Reason.FIELD_INVALID),
        (b'{"grantType":"authorization_code"}', Reason.FIELD_INVALID),
        (b'{"grantType":["client_credentials"]}', Reason.FIELD_INVALID),
    ],
)
def test_a_body_that_asks_for_something_else(body: bytes, reason: Reason) -> None:
    issued = new_tokens()
    assert asked(replace(question(), body=body), issued) is reason


def test_too_many_questions_are_put_off() -> None:
    issued = new_tokens()
    for _ in range(MAX_RATE):
        assert isinstance(asked(question(), issued), Ack)
    assert asked(question(), issued) is Reason.OVERLOAD


def test_who_has_seen_a_question_gets_few_tokens_and_pushes_none_out() -> None:
    issued = new_tokens()
    kept = issued.issue(NOW)
    requests = TokenRequests(CLIENT, (KEYS.verifying,), issued)
    seen = question()

    def later(seconds: float, asked: Delivery = seen) -> Ack | Reason:
        at = NOW + timedelta(seconds=seconds)
        try:
            return requests.answer(replace(asked, head=replace(asked.head, received_at=at)))
        except Refusal as refusal:
            return refusal.reason

    answers = [later(at) for at in range(2 * MAX_ANSWERS)]
    assert sum(isinstance(each, Ack) for each in answers) == MAX_ANSWERS
    assert {each for each in answers if not isinstance(each, Ack)} == {Reason.TIMESTAMP_INVALID}
    assert issued.knows(kept, NOW)
    # The sender itself asks afresh.
    order = SampleOrder(
        URL, Secret("x"), NOW + timedelta(minutes=4), {"X-CLIENT-KEY": CLIENT}, key=KEYS.signing
    )
    assert isinstance(later(240, delivery_of(SYMMETRIC.token_request(order))), Ack)
    assert later(241) is Reason.TIMESTAMP_INVALID


def test_strangers_use_nothing_up() -> None:
    issued = new_tokens()
    for _ in range(MAX_RATE + 1):
        assert isinstance(asked(question(**{"X-CLIENT-KEY": "x"}), issued), Reason)
    assert isinstance(asked(question(), issued), Ack)


def test_a_question_is_a_challenge_and_says_which_key_fitted() -> None:
    keys = (new_rsa_keys().verifying, KEYS.verifying)
    challenges = TokenChallenges(ACCESS, TokenRequests(CLIENT, keys, new_tokens()))
    assert challenges.find(question()) == 0
    answered = challenges.answer(question())
    assert answered is not None
    assert (answered.number, answered.secret, answered.key) == (0, None, "tokens.keys.1")
    message = replace(question(), remainder=QRIS)
    assert challenges.find(message) is None
    assert challenges.answer(message) is None


def test_what_is_shown_is_what_was_signed() -> None:
    texts: list[SignedText] = []
    TokenRequests(CLIENT, (KEYS.verifying,), new_tokens()).answer(question(), texts.append)
    assert texts[0].joined() == f"{CLIENT}|{stamp(NOW)}".encode()
