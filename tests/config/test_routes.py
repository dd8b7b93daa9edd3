"""The keys of routes."""

import pytest

from relay.config.routes import Route
from relay.core.conditions import Condition, HeaderCondition, JsonCondition
from tests.config.files import GOOD, mistakes


@pytest.mark.parametrize(
    ("when", "condition"),
    [
        ({"header": "X-Event", "is": "ping"}, HeaderCondition("X-Event", ("ping",))),
        ({"header": "X-Event", "in": ("a", "b")}, HeaderCondition("X-Event", ("a", "b"))),
        ({"json": "/type", "is": "charge"}, JsonCondition("/type", ("charge",))),
        ({"json": "/type", "in": ("7", 8)}, JsonCondition("/type", ("7", "8"))),
    ],
)
def test_what_is_written_becomes_a_condition(when: object, condition: Condition) -> None:
    route = Route.model_validate({"when": when, "upstreams": ("billing",)})
    assert route.when.condition() == condition


SAMPLE = "such as {json: /type, is: charge}"
NEITHER = f"does not say which value decides; write header or json, {SAMPLE}"
NOTHING = f"does not say what it is compared with; write is or in, {SAMPLE}"
TEXT = "write text; a number or a word such as true needs quotes"


@pytest.mark.parametrize(
    ("route", "said"),
    [
        (
            "upstreams: [billing]",
            'when: this key is needed, such as when: {"header": "X-GitHub-Event", "is": "ping"}',
        ),
        ("when: {json: /a}, upstreams: [billing]", f"when: {NOTHING}"),
        ("when: {header: X-A, equals: b}, upstreams: [billing]", f"when: {NOTHING}"),
        ("when: {is: a}, upstreams: [billing]", f"when: {NEITHER}"),
        ("when: {query: a, is: b}, upstreams: [billing]", f"when: {NEITHER}"),
        ("when: {}, upstreams: [billing]", f"when: {NEITHER}"),
        (
            "when: /a is b, upstreams: [billing]",
            f"when: write header or json with is or in, {SAMPLE}",
        ),
        (
            "when: null, upstreams: [billing]",
            f"when: this key has no value; write header or json with is or in, {SAMPLE}",
        ),
        (
            'when: {json: /a, is: b}, upstreams: ""',
            'upstreams: write a list, such as ["billing", "ledger"]',
        ),
        (
            "when: {json: /a, header: X-A, is: a}, upstreams: [billing]",
            "when: header and json at once; write one of them",
        ),
        (
            "when: {json: /a, is: a, in: [b]}, upstreams: [billing]",
            "when: is and in at once; write one of them",
        ),
        (
            "when: {jsn: /a, is: a}, upstreams: [billing]",
            'when.jsn: unknown key "jsn"; did you mean "json"?',
        ),
        (
            "when: {json: /a, is: a, not: b}, upstreams: [billing]",
            'when.not: unknown key "not"; there are: is, json',
        ),
        (
            "when: {json: a, is: b}, upstreams: [billing]",
            "when.json: write a JSON pointer that begins with a slash, such as /data/id",
        ),
        (
            "when: {header: X A, is: b}, upstreams: [billing]",
            "when.header: write the name of a header field, such as X-Signature",
        ),
        (
            'when: {json: /a, is: ""}, upstreams: [billing]',
            "when.is: must not be empty: a field that is not there would do",
        ),
        ("when: {json: /a, is: true}, upstreams: [billing]", f"when.is: {TEXT}"),
        (
            "when: {json: /a, in: b}, upstreams: [billing]",
            'when.in: write a list, such as ["charge", "fee"]',
        ),
        ("when: {json: /a, in: []}, upstreams: [billing]", "when.in: must hold at least one"),
        ("when: {json: /a, is: b}, upstreams: billing", "upstreams: write a list: [billing]"),
        (
            "when: {json: /a, is: b}, upstreams: null",
            'upstreams: this key has no value; write a list, such as ["billing", "ledger"]',
        ),
        (
            "when: {json: /a, is: b}",
            'upstreams: this key is needed, such as upstreams: ["billing", "ledger"]',
        ),
        (
            "when: {json: /a, is: b}, upstream: billing",
            'upstream: unknown key "upstream"; did you mean "upstreams"?',
        ),
    ],
)
def test_routes_that_are_none(route: str, said: str) -> None:
    (line,) = mistakes(f"{GOOD}    routes:\n      - {{{route}}}\n")
    assert line.partition(": ")[2] == f"endpoints.0.routes.0.{said}"


def test_a_route_is_a_mapping() -> None:
    assert mistakes(f"{GOOD}    routes: [billing]\n") == [
        "13:14: endpoints.0.routes.0: write - when: …, upstreams: …"
    ]
