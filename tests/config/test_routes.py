"""The keys of routes."""

import pytest

from relay.config.routes import Route
from relay.core.conditions import Condition, HeaderCondition, JsonCondition


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
