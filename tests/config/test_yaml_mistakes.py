"""A mistake is told from the text; the reader only says where it stopped, marked here by ¤."""

import pytest

from relay.config.yaml_mistakes import GENERAL, sentence


def told(marked: str) -> str:
    return sentence(marked.replace("¤", ""), marked.index("¤"))


@pytest.mark.parametrize(
    ("marked", "begins"),
    [
        ("a: b¤: c", 'no ":" can stand here'),
        ("abc\ndef¤: 1", 'no ":" can stand here'),
        ("a: ¤@x", "no value begins with this character"),
        ("a: ¤%x", "no value begins with this character"),
        ("¤%YAML 9.9\n---\na: 1", "this directive"),
        ("a:\n¤\tb: 1", "indent with blanks"),
        ("a:\n\t¤b: 1", "indent with blanks"),
        ("a: |\n¤\tx", "indent with blanks"),
        ("a: ¤*x", "this alias"),
        ("a: &x 1\nb: ¤&x 2", "this anchor"),
        ("a: ¤!h!x 1", "tags are not used here"),
        ("a: ¤]", "a value is missing"),
        ("a: [¤::]:8443", "a value is missing"),
        ("a: [1, 2¤", 'a "[" is not closed'),
        ("a: [b: {c: 1}\nd¤: 2", 'a "[" is not closed'),
        ("a: {b: 1 c¤: 2}", 'a "{" is not closed'),
        ("{a: 1¤:}", 'text with a ":" needs quotes'),
        ("a: [$¤{env:X}]", '${...} needs quotes within brackets, such as ["${env:NAME}"]'),
        ("a: [x, $¤{X}]", "${...} needs quotes within brackets"),
        ('a: "x¤', "a quoted text is not closed"),
        ("a: 'it''s¤", "a quoted text is not closed"),
        ('a: "x\\¤', "a quoted text is not closed"),
        ('a: "¤\\q"', "unknown escape"),
        ('a: "\\x¤ZZ"', "unknown escape"),
        ("a: 1\nb\n¤", 'a key needs ":"'),
        ("a: 1\nb # c: d\n# e: f\n¤c: 2", "a key is expected"),
        ("a:\n - 1\n b¤", 'a key needs ":"'),
        ("a:\n  b: 1\n ¤c: 2", "a key is expected"),
        ("- a\n¤b: 1", 'a "-" is expected'),
        ("a: ¤- b", "a list begins on a line of its own"),
        ('a: "x" ¤y', GENERAL),
        ("¤", "a key is expected"),
    ],
)
def test_what_stands_there_says_what_is_wrong(marked: str, begins: str) -> None:
    assert told(marked).startswith(begins)


@pytest.mark.parametrize(
    "before",
    [
        "a: it's\n",
        "a: x[1\nb: 1\n",
        "a: 1 # it's [\n",
        "a: '[' \nb: \"{\"\n",
        'a: |\n  [ "x\n\n  y\n',
        "a: >-\n  {it's\n",
        "- |2\n   [\n",
        'a: "\\"["\n',
        "a: [1, {b: 2}]\n",
        "a: b]\n",
    ],
)
def test_what_is_closed_or_no_bracket_is_not_taken_for_an_open_one(before: str) -> None:
    assert told(f"{before}c: d¤: e").startswith('no ":" can stand here')


def test_a_long_text_is_looked_through_once() -> None:
    for piece in ('"', "'", "[", "|\n", "a: '\n", "\\", "#", ' "\\'):
        assert sentence(piece * 200_000, 200_000 * len(piece))
