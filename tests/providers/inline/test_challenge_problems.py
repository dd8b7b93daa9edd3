"""Challenges that would be oracles, could never be, or would swallow events."""

from dataclasses import replace

import pytest

from relay.core.conditions import (
    FormCondition,
    HeaderCondition,
    JsonCondition,
    MethodCondition,
    QueryCondition,
    RequestCondition,
)
from relay.core.secret import Secret
from relay.providers import RequiredField
from relay.providers.inline import Description, HeaderField, TimeRule
from relay.providers.inline.challenge_problems import problems
from relay.providers.inline.challenge_rules import AnswerRule, ChallengeRule
from tests.providers.inline.describe import described

GET, HEAD, POST = (MethodCondition(each) for each in ("GET", "HEAD", "POST"))
CODE = JsonCondition("/challenge")
SIGNED = AnswerRule("{hmac_sha256_hex:{json:/challenge}}")


def found(*rules: ChallengeRule, description: Description | None = None) -> list[tuple[str, str]]:
    """Return each mistake: its place, and the beginning of what is said."""
    whole = replace(description or described(), challenges=rules)
    return [(".".join(map(str, place)), said) for place, said in problems(whole)]


def when(*conditions: RequestCondition, answer: AnswerRule | None = None) -> ChallengeRule:
    return ChallengeRule(conditions, answer or AnswerRule(), signed=False)


@pytest.mark.parametrize(
    "rule",
    [
        when(CODE),
        when(GET, QueryCondition("challenge")),
        when(HEAD),
        when(POST, QueryCondition("validationToken")),
        when(HeaderCondition("X-Hook-Secret")),
        when(MethodCondition("OPTIONS")),
        when(CODE, JsonCondition("/type", ("url_verification",))),
        ChallengeRule((CODE,), SIGNED),
        ChallengeRule((CODE,), SIGNED, signed=False, secret=Secret("its own")),
    ],
)
def test_what_can_be(rule: ChallengeRule) -> None:
    assert found(rule) == []


def test_no_stranger_has_anything_signed_with_what_verifies_messages() -> None:
    [(place, said)] = found(replace(when(CODE), answer=SIGNED))
    assert place == "challenge.0.answer.text"
    assert said.startswith("would sign what any stranger sends")
    assert 'secret: "${env:NAME}"' in said
    nested = AnswerRule(None, {"a": ("{hmac_sha1_base64:{json:/challenge}}",)})
    assert [place for place, _ in found(when(CODE, answer=nested))] == [
        "challenge.0.answer.json.a.0"
    ]
    header = AnswerRule("", None, (("X-A", "{hmac_sha1_hex:{json:/challenge}}"),))
    assert [place for place, _ in found(when(CODE, answer=header))] == [
        "challenge.0.answer.headers.X-A"
    ]


@pytest.mark.parametrize("scheme", ["rsa", "ed25519"])
def test_a_public_key_signs_no_answer(scheme: str) -> None:
    [(place, said)] = found(ChallengeRule((CODE,), SIGNED), description=described(scheme=scheme))
    assert place == "challenge.0.answer.text"
    assert said.startswith("the secrets of this sender are no keys to sign with")


def test_a_secret_that_signs_nothing_is_left_out() -> None:
    [(place, _)] = found(ChallengeRule((CODE,), secret=Secret("its own")))
    assert place == "challenge.0.secret"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (when(GET, HEAD), "no request has the methods GET and HEAD at once"),
        (when(GET, CODE), "a GET has no body"),
        (when(HEAD, FormCondition("a")), "a HEAD has no body"),
        (when(CODE, FormCondition("a")), "no body is JSON and a form at once"),
        (
            when(JsonCondition("/a", ("1",)), JsonCondition("/a", ("2", "3"))),
            "/a cannot have two values at once",
        ),
        (
            when(QueryCondition("a", ("1",)), QueryCondition("a", secrets=(Secret("2"),)), POST),
            "the parameter a cannot have two values at once",
        ),
        (
            when(HeaderCondition("X-A", ("1",)), HeaderCondition("x-a", ("2",))),
            "the header x-a cannot have two values at once",
        ),
        (when(HeaderCondition("X-A", (" a",))), "the header X-A never has a blank at an end"),
        (when(HeaderCondition("X-A", ("a\nb",))), "the header X-A never has a blank at an end"),
        (when(POST), "every message of this sender fits"),
        (when(), "every message of this sender fits"),
        (when(HeaderCondition("x-signature")), "every message of this sender fits"),
        (when(HeaderCondition("Host"), POST), "every message of this sender fits"),
        (when(HeaderCondition("Content-Type")), "every message of this sender fits"),
    ],
)
def test_what_can_never_be_or_is_always(rule: ChallengeRule, said: str) -> None:
    [(place, found_said)] = found(rule)
    assert place == "challenge.0.when"
    assert found_said.startswith(said.replace("the header x-a cannot", "the header X-A cannot"))


def test_an_answer_that_can_never_be_given() -> None:
    rule = when(GET, QueryCondition("a"), answer=AnswerRule("{json:/a}"))
    assert found(rule) == [
        ("challenge.0.answer.text", "a GET has no body, and {json:/a} is never there")
    ]
    [(place, said)] = found(when(CODE, answer=AnswerRule("{form:a}")))
    assert place == "challenge.0.answer.text"
    assert said.startswith("{form:a} is never there")
    [(place, said)] = found(when(CODE, answer=AnswerRule("{body}")))
    assert place == "challenge.0.answer.text"
    assert said.startswith("there is no such placeholder")


@pytest.mark.parametrize(
    ("first", "second", "hidden"),
    [
        (when(CODE), when(CODE), True),
        (when(CODE), when(CODE, HeaderCondition("X-A")), True),
        (when(CODE, HeaderCondition("X-A")), when(CODE), False),
        (when(CODE), when(JsonCondition("/challenge", ("a",))), True),
        (when(JsonCondition("/a", ("1", "2"))), when(JsonCondition("/a", ("2",))), True),
        (when(JsonCondition("/a", ("2",))), when(JsonCondition("/a", ("1", "2"))), False),
        (when(JsonCondition("/a", ("2",))), when(JsonCondition("/a")), False),
        (when(HeaderCondition("X-A")), when(HeaderCondition("x-a", ("1",))), True),
        (when(GET, QueryCondition("a")), when(HEAD, QueryCondition("a")), False),
    ],
)
def test_one_that_is_never_reached(
    first: ChallengeRule, second: ChallengeRule, hidden: bool
) -> None:
    said = "is never reached: challenge.0 takes each request that this one would"
    assert found(first, second) == ([("challenge.1.when", said)] if hidden else [])


def test_nothing_is_signed_where_the_sender_signs_nothing() -> None:
    description = described(scheme="none", source=HeaderField("Authorization"))
    [(place, _)] = found(ChallengeRule((CODE,)), description=description)
    assert place == "challenge.0.signed"


def test_what_every_event_has_is_no_challenge() -> None:
    timed = replace(
        described(signed="{timestamp}.{body}", time=TimeRule(HeaderField("X-Time"), "s")),
        must=(RequiredField("/shop", ("1", "2")),),
    )
    for condition, always in (
        (HeaderCondition("x-time"), True),
        (HeaderCondition("X-Time", ("1",)), False),
        (JsonCondition("/shop"), True),
        (JsonCondition("/shop", ("1", "2", "3")), True),
        (JsonCondition("/shop", ("1",)), False),
        (HeaderCondition("X-Other"), False),
    ):
        rule = ChallengeRule((condition,))
        places = [place for place, _ in problems(replace(timed, challenges=(rule,)))]
        assert (("challenge", 0, "when") in places) is always


def test_a_text_that_no_answer_can_hold() -> None:
    for answer, place in (
        (AnswerRule("x" * 4097), "text"),
        (AnswerRule(None, {"a": "x" * 4097}), "json.a"),
        (AnswerRule("", headers=(("X-A", "a\nb"),)), "headers.X-A"),
        (AnswerRule("", headers=(("X-A", "é"),)), "headers.X-A"),
    ):
        assert [at for at, _ in found(when(CODE, answer=answer))] == [f"challenge.0.answer.{place}"]
    assert not found(when(CODE, answer=AnswerRule("a\nb" * 1000)))
