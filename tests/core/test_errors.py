"""Errors say what people need, in the order of the file."""

import re

import pytest

from relay.core.errors import ConfigError, Problem, Reason, Refusal


def test_problems_are_told_in_the_order_of_the_file() -> None:
    error = ConfigError(
        [
            Problem("relay.yaml", 9, 1, "endpoints.0", "second"),
            Problem("relay.yaml", 8, 9, "", "first"),
        ]
    )
    assert str(error) == "relay.yaml:8:9: first\nrelay.yaml:9:1: endpoints.0: second"


def test_a_refusal_tells_its_reason_and_detail() -> None:
    assert str(Refusal(Reason.BODY_MALFORMED)) == "body_malformed"
    assert str(Refusal(Reason.BODY_MALFORMED, "a BOM")) == "body_malformed: a BOM"


@pytest.mark.parametrize("reason", list(Reason))
def test_a_reason_can_be_a_label(reason: Reason) -> None:
    assert re.fullmatch(r"[a-z_]+", reason)
