"""Conditions: a header field or a JSON value is one of some texts."""

import pytest

from relay.core.conditions import Condition, HeaderCondition, JsonCondition, Message
from relay.core.request import Headers
from tests.harness.deliveries import verified

BODY = (
    b'{"type": "charge", "data": {"live": true, "amount": 10.50, "rows": [{"id": 7}], "no": null}}'
)


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
        (JsonCondition("/data", ("",)), False),
        (JsonCondition("/data/no", ("",)), False),
        (JsonCondition("/nowhere", ("",)), False),
        (HeaderCondition("x-topic", ("ping",)), True),
        (HeaderCondition("X-Topic", ("pong",)), False),
        (HeaderCondition("X-Twice", ("a",)), False),
        (HeaderCondition("X-None", ("",)), False),
    ],
)
def test_a_value_is_compared_as_text(condition: Condition, holds: bool) -> None:
    seen = message(BODY, ("X-Topic", "ping"), ("X-Twice", "a"), ("X-Twice", "a"))
    assert condition.holds(seen) is holds


@pytest.mark.parametrize("body", [b"", b"no json", b'{"type": "charge", "type": "charge"}', b"[1]"])
def test_a_body_that_is_no_object_has_no_values(body: bytes) -> None:
    assert not JsonCondition("/type", ("charge",)).holds(message(body))


def test_a_body_that_is_parsed_already_is_not_parsed_again() -> None:
    delivery = verified(body=b"not what was parsed").delivery
    assert JsonCondition("/type", ("charge",)).holds(Message(delivery, {"type": "charge"}))
