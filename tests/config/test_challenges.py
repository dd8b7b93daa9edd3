"""The keys of challenges."""

import pytest

from relay.config.challenges import Challenge
from relay.config.inline_provider import InlineProvider
from relay.core.conditions import (
    FormCondition,
    HeaderCondition,
    JsonCondition,
    MethodCondition,
    QueryCondition,
    RequestCondition,
)
from relay.core.secret import Secret
from relay.providers.inline.challenge_rules import AnswerRule
from tests.config.files import BUILT_IN, INLINE, changed, good, mistakes


def written(challenge: str) -> str:
    """Return a configuration with this challenge, as the lines of a list."""
    lines = "".join(f"        {line}\n" for line in challenge.splitlines())
    block = INLINE.rstrip("\n") + f"\n      challenge:\n{lines}"
    return changed((BUILT_IN, block))


def challenge(text: str) -> Challenge:
    described = good(written(text)).endpoints[0].provider
    assert isinstance(described, InlineProvider)
    return described.challenge[0]


@pytest.mark.parametrize(
    ("when", "conditions"),
    [
        ("{json: /a}", (JsonCondition("/a"),)),
        ("{json: /a, is: 7}", (JsonCondition("/a", ("7",)),)),
        ("{form: a, in: [b, c]}", (FormCondition("a", ("b", "c")),)),
        ("{method: GET, query: a}", (MethodCondition("GET"), QueryCondition("a"))),
        ("{method: HEAD}", (MethodCondition("HEAD"),)),
        ("[{header: X-A}, {json: /b}]", (HeaderCondition("X-A"), JsonCondition("/b"))),
    ],
)
def test_when(when: str, conditions: tuple[RequestCondition, ...]) -> None:
    assert challenge(f"- when: {when}\n  signed: false").rule().when == conditions


def test_a_value_may_be_a_secret() -> None:
    found = challenge('- when: {query: a, in: ["${env:OTHER}", b]}\n  signed: false')
    [condition] = found.rule().when
    assert isinstance(condition, QueryCondition)
    assert (condition.values, len(condition.secrets)) == (("b",), 1)
    assert found.secrets() == list(condition.secrets)
    assert isinstance(found.secrets()[0], Secret)


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        ("", AnswerRule("OK")),
        ("{text: a}", AnswerRule("a")),
        ('{json: {a: [b, 1, "{json:/a}"]}}', AnswerRule(None, {"a": ("b", 1, "{json:/a}")})),
        ("{headers: {X-A: b}}", AnswerRule("", None, (("X-A", "b"),))),
        ("{text: c, headers: {X-A: b}}", AnswerRule("c", None, (("X-A", "b"),))),
    ],
)
def test_answer(answer: str, rule: AnswerRule) -> None:
    line = f"\n  answer: {answer}" if answer else ""
    assert challenge(f"- when: {{json: /a}}{line}").rule().answer == rule


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- when: {}", "0.when: says nothing; write what only the challenge has"),
        ("- when: []", "0.when: says nothing; write what only the challenge has"),
        ("- when: a", "0.when: write a mapping, such as {json: /challenge}"),
        ("- when: {is: a}", "0.when: does not say which value; write json or query"),
        ("- when: {json: /a, query: b}", "0.when: json and query at once; write one of them"),
        ("- when: {json: /a, is: b, in: [c]}", "0.when: is and in at once"),
        ("- when: [{json: /a}, {}]", "0.when.1: says nothing"),
        ("- when: {jsn: /a}", '0.when.jsn: unknown key "jsn"; did you mean "json"?'),
        ("- when: {method: get}", "0.when.method: write one of GET, HEAD, OPTIONS"),
        ("- when: {json: a}", "0.when.json: write a JSON pointer"),
        ('- when: {json: /a, is: ""}', "0.when.is: must not be empty"),
        ("- when: {json: /a, in: []}", "0.when.in: "),
        ('- when: {json: /a, is: "${env:NOT_SET}"}', "0.when.is: the environment variable NOT_SET"),
        ('- when: {json: /a, is: "a ${env:B}"}', "0.when.is: write ${env:NAME} or ${file:PATH}"),
        ('- when: {json: "/${env:A}"}', "0.when.json: only secrets are read from"),
        (
            "- when: {json: /a}\n  answer: {text: a, json: {a: b}}",
            "0.answer: text and json at once",
        ),
        ("- when: {json: /a}\n  answer: {json: a}", "0.answer.json: write a mapping"),
        ("- when: {json: /a}\n  answer: {json: {a: 1.5}}", "0.answer.json: holds what is no text"),
        (
            "- when: {json: /a}\n  answer: {headers: {Content-Type: text/html}}",
            "0.answer.headers: Content-Type is relay's own to write",
        ),
        (
            "- when: {json: /a}\n  answer: {headers: {set-cookie: a}}",
            "0.answer.headers: set-cookie is relay's own to write",
        ),
        (
            '- when: {json: /a}\n  answer: {text: "{body}"}',
            "0.answer.text: there is no such placeholder",
        ),
        (
            '- when: {json: /a}\n  signed: false\n  answer: {text: "{hmac_sha256_hex:{json:/a}}"}',
            "0.answer.text: would sign what any stranger sends",
        ),
        ("- when: {method: POST}", "0.when: every message of this sender fits"),
    ],
)
def test_mistakes_are_told_where_they_stand(text: str, said: str) -> None:
    found = mistakes(written(text))
    assert len(found) == 1, found
    position, _, rest = found[0].partition(": endpoints.0.provider.challenge.")
    assert rest.startswith(said), found
    assert position.count(":") == 1


def test_its_secrets_are_among_those_that_are_masked() -> None:
    settings = good(
        written(
            '- when: {query: a, is: "${env:OTHER}"}\n  signed: false\n'
            '  secret: "${env:TOKEN}"\n  answer: {text: "{hmac_sha1_hex:{query:a}}"}'
        )
    )
    described = settings.endpoints[0].provider
    assert isinstance(described, InlineProvider)
    mine = described.challenge[0].secrets()
    assert len(mine) == 2
    assert {*mine} <= {*settings.every_secret()}
