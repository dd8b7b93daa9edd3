"""Where things stand, and which mistakes hang on others."""

from pathlib import Path

import pytest

from relay.config.yaml_document import (
    TOP,
    ConfigIssue,
    Location,
    Position,
    SourceMap,
    dotted,
    shown,
)
from relay.core.errors import Problem

SOURCE = SourceMap(
    "relay.yaml",
    Path("/etc"),
    values={(): Position(1, 1), ("a",): Position(2, 3), ("a", 0): Position(2, 5)},
    keys={("a",): Position(2, 1)},
)


def test_the_nearest_place_around_is_taken() -> None:
    assert SOURCE.position(("a", 0)) == (2, 5)
    assert SOURCE.position(("a", 0, "b", "c")) == (2, 5)
    assert SOURCE.position(("a",), at_key=True) == (2, 1)
    assert SOURCE.position(("a", 0), at_key=True) == (2, 5)
    assert SOURCE.position(("x", "y")) == (1, 1)
    assert SourceMap("x", Path()).position(("x",)) == TOP


def test_a_fault_becomes_a_problem() -> None:
    assert SOURCE.problem(ConfigIssue(("a", 0), "wrong")) == Problem(
        "relay.yaml", 2, 5, "a.0", "wrong"
    )
    elsewhere = ConfigIssue((), "wrong", position=Position(7, 8))
    assert str(SOURCE.problem(elsewhere)) == "relay.yaml:7:8: wrong"


@pytest.mark.parametrize(
    ("issue", "bad", "rests"),
    [
        (ConfigIssue(("a",), ""), ("a",), True),
        (ConfigIssue(("a", "b"), ""), ("a",), True),
        (ConfigIssue(("a",), ""), ("a", "b"), True),
        (ConfigIssue(("a", "b"), ""), ("a", "c"), False),
        (ConfigIssue(("a",), "", needs=(("b",),)), ("b", 0), True),
        (ConfigIssue(("a",), "", at_key=True), ("a", "b"), False),
        (ConfigIssue(("a",), "", needs=(("b",),), at_key=True), ("b",), True),
    ],
)
def test_what_rests_on_a_place_that_is_wrong(
    issue: ConfigIssue, bad: Location, rests: bool
) -> None:
    assert issue.rests_on({("z",), bad}) is rests


def test_text_from_the_file_cannot_steer_a_terminal() -> None:
    assert shown("a\x1b[1mb\né") == "a\\x1b[1mb\\né"
    assert shown("x" * 100) == "x" * 80 + "…"
    assert dotted(("a", 0, "b\n")) == "a.0.b\\n"
