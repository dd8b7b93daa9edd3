"""YAML text -> plain data and positions."""

import math
from pathlib import Path
from typing import Any

import pytest

from relay.config.yaml_document import (
    MAX_ALIASES,
    MAX_DEPTH,
    MAX_VALUES,
    TOP,
    ConfigIssue,
    Location,
    Position,
    SourceMap,
    Unreadable,
    dotted,
    parse,
    scalar,
    shown,
    suggestion,
)
from relay.core.errors import Problem


def refused(text: str) -> str:
    with pytest.raises(Unreadable) as caught:
        parse(text)
    position = caught.value.issue.position
    assert position is not None
    return f"{position.line}:{position.column}: {caught.value.issue.message}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("off", "off"),
        ("yes", "yes"),
        ("y", "y"),
        ("True", True),
        ("false", False),
        ("tRUE", "tRUE"),
        ("null", None),
        ("~", None),
        ("", None),
        ("nUll", "nUll"),
        ("0777", 777),
        ("0o777", 0o777),
        ("0xff", 255),
        ("0b1", "0b1"),
        ("1_000", "1_000"),
        ("-12", -12),
        ("+12", 12),
        ("12:30:45", "12:30:45"),
        ("2026-11-21", "2026-11-21"),
        ("1.5", 1.5),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1.2.3", "1.2.3"),
        ("-.inf", -math.inf),
        ("=", "="),
        ("9" * 30, int("9" * 30)),
        ("9" * 31, float("9" * 31)),
        ("15s", "15s"),
    ],
)
def test_plain_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    found = scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_one_too() -> None:
    found = scalar(".NaN")
    assert isinstance(found, float)
    assert math.isnan(found)


def test_quotes_make_text() -> None:
    assert parse('a: "1"\nb: \'true\'\nc: |\n  12\nd: 1\ne: ""\n').data == {
        "a": "1",
        "b": "true",
        "c": "12\n",
        "d": 1,
        "e": "",
    }


def test_every_value_and_key_has_its_position() -> None:
    document = parse("# x\na:\n  - b: [1, 2]\n    c: é\n")
    assert document.data == {"a": ({"b": (1, 2), "c": "é"},)}
    assert document.values[("a", 0, "b", 1)] == Position(3, 12)
    assert document.values[("a", 0)] == Position(3, 5)
    assert document.keys[("a", 0, "c")] == Position(4, 5)
    assert document.values[()] == Position(2, 1)


def test_positions_count_characters() -> None:
    assert parse("é😀: [ä, b]\n").values[("é😀", 1)] == Position(1, 9)


def test_an_alias_stands_where_its_anchor_stands() -> None:
    document = parse("a: &x [1]\nb: *x\n")
    assert document.data == {"a": (1,), "b": (1,)}
    assert document.values[("b", 0)] == Position(1, 8)


@pytest.mark.parametrize(
    ("text", "issues"),
    [
        (
            "a: 1\nb: 2\na: 3\n",
            [(("a",), (3, 1), 'the key "a" is here twice; it stands at 1:1 already')],
        ),
        (
            "{x: {a: 1, a: 2}}",
            [(("x", "a"), (1, 12), 'the key "a" is here twice; it stands at 1:6 already')],
        ),
        (
            "a: 1\n'a': 3\n",
            [(("a",), (2, 1), 'the key "a" is here twice; it stands at 1:1 already')],
        ),
        ("x:\n  1: a\n", [(("x",), (2, 3), "a key must be text; put it in quotes")]),
        ("x:\n  true: a\n", [(("x",), (2, 3), "a key must be text; put it in quotes")]),
        ("? [a]\n: b\n", [((), (1, 3), "a key must be text; put it in quotes")]),
        ("~: b\n", [((), (1, 1), "a key must be text; put it in quotes")]),
        (
            "a: &x {b: 1}\nc:\n  <<: *x\n",
            [(("c",), (3, 3), 'merge keys ("<<") are not part of YAML 1.2; write the keys out')],
        ),
    ],
)
def test_keys_are_text_and_unique(text: str, issues: list[Any]) -> None:
    found = parse(text).issues
    assert [(issue.location, issue.position, issue.message) for issue in found] == issues


def test_the_first_of_two_equal_keys_counts() -> None:
    assert parse("a: 1\na: 2\n").data == {"a": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "a: b: c\n",
            (
                '1:5: not valid YAML: no ":" can stand here; does text need quotes, or the line'
                " another indentation?"
            ),
        ),
        ("a:\n\tb: 1\n", "2:1: not valid YAML: indent with blanks, not with tabs"),
        ("a: |\n\tx\n", "2:1: not valid YAML: indent with blanks, not with tabs"),
        (
            "a: @x\n",
            "1:4: not valid YAML: no value begins with this character; put text in quotes",
        ),
        (
            "bind: [::]:8443\n",
            '1:8: not valid YAML: a value is missing, or text such as "[::]:8443" needs quotes',
        ),
        ("a: [1\nb: 2\n", '2:2: not valid YAML: a "[" is not closed, or a comma is missing'),
        ("a: {b: 1\nc: 2\n", '2:2: not valid YAML: a "{" is not closed, or a comma is missing'),
        ("a: 1\nb\n", '3:1: not valid YAML: a key needs ":" and a blank behind it'),
        (
            "a: 1\n- b\n",
            "2:1: not valid YAML: a key is expected; is the line indented like its neighbours?",
        ),
        (
            "- a\nb: 1\n",
            '2:1: not valid YAML: a "-" is expected; is the line indented like its neighbours?',
        ),
        ("a: 'b\n", "2:1: not valid YAML: a quoted text is not closed"),
        (
            'a: "\\q"\n',
            "1:5: not valid YAML: unknown escape; double the backslash, or use single quotes",
        ),
        ("{a: 1:}\n", '1:6: not valid YAML: text with a ":" needs quotes here'),
        ("a: *x\n", "1:4: not valid YAML: this alias has no anchor above it"),
        ("a: &x 1\nb: &x 2\n", "2:4: not valid YAML: this anchor is defined twice"),
        ("a: !y!z 1\n", "1:4: not valid YAML: tags are not used here; put text in quotes"),
        (
            "é: ok\nb: \x01\n",
            (
                "2:4: not valid YAML: control characters cannot stand in a file; write an"
                " escape in quotes"
            ),
        ),
        ("a: !!str 1\n", "1:4: tags are not used here; put text in quotes"),
        ("a: !secret x\n", "1:4: tags are not used here; put text in quotes"),
        (
            "a: !!python/object/apply:os.system [id]\n",
            "1:4: tags are not used here; put text in quotes",
        ),
        ("a: 1\n---\nb: 2\n", "2:1: only one document; remove this one and its ---"),
    ],
)
def test_what_is_not_taken_is_said_in_a_plain_sentence(text: str, said: str) -> None:
    assert refused(text) == said


@pytest.mark.parametrize("times", [MAX_DEPTH + 1, 999, 1_000, 1_001, 1_023, 1_025, 100_000])
@pytest.mark.parametrize(
    ("opened", "levels"),
    [
        *(("[", 1), ("{", 1), ("{a: ", 1), ("- ", 1), ("? ", 1), ("[a, ", 1), ("[\n", 1)),
        *(("[{", 2), ("{[", 2), ("a: [\n", 2)),
        ("[&a ", 1),
    ],
)
def test_nesting_is_bounded(opened: str, levels: int, times: int) -> None:
    """The library has a bound of its own, and reads ahead: ours speaks first all the same.

    levels: how many each opens.
    """
    said = refused(opened * times)
    assert said.endswith(f": nested deeper than {MAX_DEPTH} levels")
    line, column, _ = said.split(":", 2)
    before = "".join((opened * times).splitlines(keepends=True)[: int(line) - 1])
    # What is one level too deep begins at its anchor, which stands in the one before.
    begins = MAX_DEPTH - ("&" in opened)
    assert (len(before) + int(column) - 1) // len(opened) == begins // levels


def test_a_mistake_within_the_bound_is_what_is_said() -> None:
    assert refused("[" * MAX_DEPTH).endswith("or a comma is missing")
    assert refused("a: b: c\n" + "[" * 100_000).startswith("1:5: not valid YAML:")


def test_aliases_are_bounded() -> None:
    many = "a: &a 1\nb: [" + "*a, " * (MAX_ALIASES + 1) + "]\n"
    assert refused(many) == f"2:{5 + 4 * MAX_ALIASES}: more than {MAX_ALIASES} aliases"
    enough = "a: &a 1\nb: [" + "*a, " * MAX_ALIASES + "]\n"
    assert parse(enough).data == {"a": 1, "b": (1,) * MAX_ALIASES}


def test_aliases_of_aliases_cannot_explode() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 11)]
    assert "aliases make this too large" in refused("\n".join(lines))


def test_an_alias_of_itself_ends() -> None:
    assert "aliases make this too large" in refused("&a [*a]")


def test_the_number_of_values_is_bounded() -> None:
    assert refused("[" + "a," * 524_000 + "]").endswith(f"more than {MAX_VALUES} values")


def test_an_empty_text_has_no_data() -> None:
    assert parse("").data is None
    assert parse("# nothing\n").data is None


# ---- line and column ------------------------------------------------------------------------
# Where things stand, and which mistakes hang on others.

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
    assert dotted(("a", 0, "b\x1b")) == "a.0.b\\x1b"


# ---- suggestions ----------------------------------------------------------------------------
# Which name was probably meant.


def test_the_nearest_name() -> None:
    assert suggestion("biling", ["billing", "ledger"]) == 'did you mean "billing"?'
    assert suggestion("BILLING", ["Billing"]) == 'did you mean "Billing"?'


def test_all_names_when_none_is_near() -> None:
    assert suggestion("x", ["ledger", "billing"]) == "there are: billing, ledger"
    assert suggestion("x", []) == "there are none"
    many = suggestion("x", [f"upstream{n:02}" for n in range(30)])
    assert many.endswith("upstream23, …")


def test_a_very_long_word_is_compared_in_part() -> None:
    assert suggestion("billing" * 100_000, ["billing"]) == "there are: billing"
