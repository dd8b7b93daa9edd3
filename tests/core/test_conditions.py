"""Conditions: a header field or a JSON value is one of some texts."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from relay.core import conditions, strict_json
from relay.core.conditions import Condition, HeaderCondition, JsonCondition, Message, Seen
from relay.core.request import Headers
from relay.core.strict_json import JsonLimits, JsonValue
from tests.harness.deliveries import verified

BODY = b"""{"type": "charge", "data": {"live": true, "amount": 10.50, "rows": [{"id": 7}],
 "no": null, "big": 1E+2, "whole": 100, "empty": ""}, "a/b": {"~": "\\u00e9"}}"""


def message(body: bytes = BODY, *fields: tuple[str, str]) -> Message:
    delivery = verified(body=body, headers=Headers(fields)).delivery
    return Message(delivery, b"a digest")


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (JsonCondition("/type", ("charge",)), True),
        (JsonCondition("/type", ("refund", "charge")), True),
        (JsonCondition("/type", ("Charge",)), False),
        (JsonCondition("/type/id", ("charge",)), False),
        (JsonCondition("/data/live", ("true",)), True),
        (JsonCondition("/data/amount", ("10.50",)), True),
        (JsonCondition("/data/amount", ("10.5",)), False),
        (JsonCondition("/data/rows/0/id", ("7",)), True),
        (JsonCondition("/data/rows/00/id", ("7",)), False),
        (JsonCondition("/data/rows/-/id", ("7",)), False),
        (JsonCondition("/data/rows/1/id", ("7",)), False),
        (JsonCondition("/data/rows/id", ("7",)), False),
        (JsonCondition("/data/big", ("1E+2",)), True),
        (JsonCondition("/data/big", ("100",)), False),
        (JsonCondition("/data/whole", ("100",)), True),
        (JsonCondition("/data/empty", ("null",)), False),
        (JsonCondition("/data/no", ("null",)), False),
        (JsonCondition("/a~1b/~0", ("\u00e9",)), True),
        (JsonCondition("/data", ("",)), False),
        (JsonCondition("/data/no", ("",)), False),
        (JsonCondition("/nowhere", ("",)), False),
        (HeaderCondition("x-topic", ("ping",)), True),
        (HeaderCondition("X-Topic", ("pong",)), False),
        (HeaderCondition("X-Twice", ("a",)), False),
        (HeaderCondition("X-None", ("",)), False),
        (HeaderCondition("X-Name", ("Zo\u00eb",)), True),
    ],
)
def test_a_value_is_compared_as_text(condition: Condition, holds: bool) -> None:
    fields = [("X-Topic", "ping"), ("X-Twice", "a"), ("X-Twice", "a")]
    # As the edge reads it: one character for each byte.
    seen = message(BODY, *fields, ("X-Name", "Zo\u00eb".encode().decode("latin-1")))
    assert condition.holds(seen) is holds


@pytest.mark.parametrize(
    "body", [b"", b"no json", b'{"type": "charge", "type": "charge"}', b'["charge"]', b'"charge"']
)
def test_what_is_no_such_object_has_no_such_value(body: bytes) -> None:
    assert not JsonCondition("/type", ("charge",)).holds(message(body))


def test_a_pointer_goes_into_a_list_too() -> None:
    assert JsonCondition("/1/id", ("b",)).holds(message(b'[{"id": "a"}, {"id": "b"}]'))


def test_a_body_over_the_limits_of_its_endpoint_has_no_values() -> None:
    body = b'{"type": "charge", "of": [1, 2, 3]}'
    delivery = replace(verified(body=body).delivery, json_limits=JsonLimits(1024, elements=2))
    seen = Message(delivery, b"a digest")
    condition = JsonCondition("/type", ("charge",))
    assert not condition.holds(seen)
    found = Seen(None, "cannot be looked for: more than 2 elements")
    assert condition.seen(seen) == found


@pytest.mark.parametrize("said", [{"type": "charge"}, [{"type": "charge"}]])
def test_a_body_that_is_parsed_already_is_not_parsed_again(said: JsonValue) -> None:
    delivery = verified(body=b"not what was parsed").delivery
    pointer = "/0/type" if isinstance(said, list) else "/type"
    assert JsonCondition(pointer, ("charge",)).holds(Message(delivery, said))


def test_a_body_is_parsed_once_for_all_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []

    def parse(body: bytes, limits: JsonLimits) -> JsonValue:
        parsed.append(body)
        return strict_json.parse(body, limits)

    monkeypatch.setattr(conditions, "strict_json", SimpleNamespace(parse=parse))
    seen = message(b"no json")
    assert not any(JsonCondition(f"/{name}", ("a",)).holds(seen) for name in "abc")
    assert parsed == [b"no json"]


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (JsonCondition("/type", ("no",)), Seen("charge")),
        (JsonCondition("/data/amount", ("no",)), Seen("10.50")),
        (JsonCondition("/data/empty", ("no",)), Seen("")),
        (JsonCondition("/data", ("no",)), Seen(None, "is an object")),
        (JsonCondition("/data/rows", ("no",)), Seen(None, "is a list")),
        (JsonCondition("/data/no", ("no",)), Seen(None, "is not there, or null")),
        (JsonCondition("/nowhere", ("no",)), Seen(None, "is not there, or null")),
        (HeaderCondition("X-Topic", ("no",)), Seen("ping")),
        (HeaderCondition("X-Twice", ("no",)), Seen(None, "stands there more than once")),
        (HeaderCondition("X-Empty", ("no",)), Seen(None, "is empty")),
        (HeaderCondition("X-None", ("no",)), Seen(None, "is not there")),
        (HeaderCondition("X-Name", ("no",)), Seen("Zo\u00eb")),
        (HeaderCondition("X-Bytes", ("no",)), Seen("\\xff")),
    ],
)
def test_what_stands_there_is_told(condition: Condition, found: Seen) -> None:
    fields = [("X-Topic", "ping"), ("X-Twice", "a"), ("X-Twice", "a"), ("X-Empty", "")]
    named = [("X-Name", "Zo\u00eb".encode().decode("latin-1")), ("X-Bytes", "\xff")]
    assert condition.seen(message(BODY, *fields, *named)) == found


def test_conditions_are_equal_by_what_is_written() -> None:
    assert JsonCondition("/a", ("b",)) == JsonCondition("/a", ("b",))
    assert HeaderCondition("X-A", ("b",)) != HeaderCondition("x-a", ("b",))
    assert [str(each) for each in (JsonCondition("/a", ()), HeaderCondition("X-A", ()))] == [
        "/a",
        "the header X-A",
    ]
