"""Placeholders of samples."""

import pytest

from relay.providers.inline import SampleMessage
from relay.providers.inline.fresh_values import FreshValues, problems
from tests.providers.inline.describe import AT


def test_the_same_placeholder_has_one_value_and_another_name_another() -> None:
    fresh = FreshValues(AT)
    first, again, other = (fresh.text(each) for each in ("{id}", "x{id}", "{id:order}"))
    assert again == f"x{first}"
    assert other != first
    assert FreshValues(AT).text("{id}") != first
    assert len(fresh.text("{hex}")) == 32
    assert len(fresh.text("{number}")) == 12


def test_times_are_those_of_the_order() -> None:
    times = FreshValues(AT).text("{time:s} {time:ms} {time:iso8601} {time:rfc1123}")
    assert times == "1767614400 1767614400000 2026-01-05T12:00:00Z Mon, 05 Jan 2026 12:00:00 GMT"


def test_in_json_what_is_a_number_alone_becomes_one() -> None:
    made = FreshValues(AT).json(
        {"{hex}": ["{time:s}", "at {time:s}", "{time:iso8601}"], "n": "{number}", "x": None}
    )
    assert next(iter(made.values())) == [1767614400, "at 1767614400", "2026-01-05T12:00:00Z"]
    assert isinstance(made["n"], int)
    assert made["x"] is None


@pytest.mark.parametrize(
    "text", ['{"a":{"b":1}}', "{ }", "{}", "{{id}}", "{id:a}", "{time:rfc1123}"]
)
def test_braces_that_are_no_placeholder_stay(text: str) -> None:
    assert list(problems(SampleMessage(text=text))) == []
    assert "{" in FreshValues(AT).text('{"a":{"b":1}}')


@pytest.mark.parametrize("text", ["{uuid}", "{time}", "{time:x}", "{id:Order}", "{Id}"])
def test_an_unknown_placeholder_is_a_mistake(text: str) -> None:
    ((path, said),) = problems(SampleMessage(json={"a": ["", text]}))
    assert path == ("sample", "json", "a", 1)
    assert said.startswith("there is no such placeholder; there are: {id}, {hex}, ")
