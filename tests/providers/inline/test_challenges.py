"""Which request is a challenge, and when it is answered."""

import hmac
from dataclasses import replace

import pytest

from relay.core.conditions import (
    MAX_FIELDS,
    FormCondition,
    HeaderCondition,
    JsonCondition,
    MethodCondition,
    QueryCondition,
)
from relay.core.errors import Reason, Refusal
from relay.core.request import Delivery
from relay.core.secret import Secret
from relay.providers import Challenges, EndpointOptions
from relay.providers.inline import JsonField
from relay.providers.inline.challenge_rules import AnswerRule, ChallengeRule
from relay.providers.inline.challenges import MAX_BODY
from relay.providers.inline.provider import InlineProvider
from tests.providers.inline.describe import delivery, described

SECRET = "the secret of the tests"


def challenges(*rules: ChallengeRule, secrets: tuple[str, ...] = (SECRET,)) -> Challenges:
    provider = InlineProvider(replace(described(), challenges=rules))
    found = provider.challenges(EndpointOptions(secrets=tuple(map(Secret, secrets))))
    assert found is not None
    return found


def asked(
    method: str = "POST",
    target: str = "/hook",
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> Delivery:
    found = delivery(headers, body, target)
    return replace_method(found, method)


def replace_method(found: Delivery, method: str) -> Delivery:
    return replace(found, head=replace(found.head, method=method))


def answered(found: Challenges, asks: Delivery) -> bytes | None:
    result = found.answer(asks)
    return None if result is None else result.ack.body


META = ChallengeRule(
    (
        MethodCondition("GET"),
        QueryCondition("hub.verify_token", secrets=(Secret("verify"),)),
        QueryCondition("hub.mode", ("subscribe",)),
    ),
    AnswerRule("{query:hub.challenge}"),
    signed=False,
)


def test_all_conditions_have_to_hold() -> None:
    found = challenges(META)
    whole = "/hook?hub.mode=subscribe&hub.verify_token=verify&hub.challenge=77"
    assert answered(found, asked("GET", whole)) == b"77"
    for other in (
        whole.replace("=verify", "=verifY"),
        whole.replace("=verify", "="),
        whole.replace("subscribe", "unsubscribe"),
        f"{whole}&hub.verify_token=verify",
        whole.replace("verify_token", "token"),
    ):
        with pytest.raises(Refusal) as caught:
            found.answer(asked("GET", other))
        assert caught.value.reason is Reason.METHOD_NOT_ALLOWED
    assert answered(found, asked("POST", whole)) is None


def test_the_first_that_holds_is_taken() -> None:
    found = challenges(
        ChallengeRule((JsonCondition("/a", ("1",)),), AnswerRule("one"), signed=False),
        ChallengeRule((JsonCondition("/a"),), AnswerRule("two"), signed=False),
        ChallengeRule((HeaderCondition("X-A"),), AnswerRule("three"), signed=False),
        ChallengeRule((FormCondition("f", ("x y",)),), AnswerRule("four"), signed=False),
    )
    assert answered(found, asked(body=b'{"a": 1}', headers={"X-A": "1"})) == b"one"
    assert answered(found, asked(body=b'{"a": 2}')) == b"two"
    assert answered(found, asked(body=b'{"a": ""}', headers={"X-A": "1"})) == b"three"
    assert answered(found, asked(body=b"f=x+y")) == b"four"
    for body in (b'{"a": null}', b'{"a": [1]}', b'{"a": 1, "a": 1}', b"no json", b"f=x", b""):
        assert found.answer(asked(body=body)) is None


ZOOM = ChallengeRule(
    (JsonCondition("/event", ("check",)),),
    AnswerRule(None, {"signed": "{hmac_sha256_hex:{json:/token}}"}),
)


def signature(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"X-Signature": hmac.digest(secret.encode(), body, "sha256").hex()}


def test_a_signed_one_is_answered_only_if_its_signature_is_right() -> None:
    found = challenges(ZOOM, secrets=("another", SECRET))
    body = b'{"event": "check", "token": "abc"}'
    result = found.answer(asked(body=body, headers=signature(body)))
    assert result is not None
    assert (result.number, result.secret) == (0, 1)
    # It is the one that the sender knows.
    expected = hmac.digest(SECRET.encode(), b"abc", "sha256").hex()
    assert result.ack.body == f'{{"signed":"{expected}"}}'.encode()
    for headers, reason in (
        (None, Reason.SIGNATURE_MISSING),
        (signature(body, "a third"), Reason.SIGNATURE_MISMATCH),
        (signature(body + b" "), Reason.SIGNATURE_MISMATCH),
    ):
        with pytest.raises(Refusal) as caught:
            found.answer(asked(body=body, headers=headers))
        assert caught.value.reason is reason


def test_a_secret_of_its_own_signs_the_answer() -> None:
    rule = replace(ZOOM, signed=False, secret=Secret("its own"))
    body = b'{"event": "check", "token": "abc"}'
    expected = hmac.digest(b"its own", b"abc", "sha256").hex().encode()
    assert expected in (answered(challenges(rule), asked(body=body)) or b"")


def test_what_is_long_is_no_challenge() -> None:
    rule = ChallengeRule((JsonCondition("/a"),), AnswerRule("yes"), signed=False)
    body = b'{"a": "1"}'.ljust(MAX_BODY)
    assert answered(challenges(rule), asked(body=body)) == b"yes"
    assert challenges(rule).answer(asked(body=body + b" ")) is None


def test_what_has_many_fields_is_no_challenge() -> None:
    found = challenges(META)
    known = "hub.mode=subscribe&hub.verify_token=verify&hub.challenge=1"
    for number, taken in ((MAX_FIELDS - 3, True), (MAX_FIELDS - 2, False)):
        asks = asked("GET", f"/hook?{'a=b&' * number}{known}")
        assert (found.find(asks) is not None) is taken


def test_one_whose_token_stands_in_each_element_is_verified_in_each() -> None:
    rule = ChallengeRule((HeaderCondition("X-Try"),))
    for start, pointer in (("", "/*/t"), ('{"a":', "/a/*/t")):
        token = described(scheme="token", source=JsonField(pointer))
        provider = InlineProvider(replace(token, challenges=(rule,)))
        found = provider.challenges(EndpointOptions(secrets=(Secret(SECRET),)))
        assert found is not None
        end = "}" if start else ""
        right, wrong = f'{{"t": "{SECRET}"}}', '{"t": "another"}'
        body = f"{start}[{right},{right}]{end}".encode()
        assert answered(found, asked("POST", "/hook", body, {"X-Try": "1"})) == b"OK"
        body = f"{start}[{right},{wrong}]{end}".encode()
        with pytest.raises(Refusal):
            found.answer(asked("POST", "/hook", body, {"X-Try": "1"}))


def test_a_body_is_not_parsed_unless_all_else_holds() -> None:
    rule = ChallengeRule((JsonCondition("/a"), HeaderCondition("X-A")), signed=False)
    assert challenges(rule).find(asked(body=b"{" * 100)) is None


def test_it_names_methods_that_events_have_not() -> None:
    provider = InlineProvider(replace(described(), challenges=(META,)))
    assert provider.info.methods == ("POST", "GET")
    assert InlineProvider(described()).challenges(EndpointOptions()) is None
