"""Patterns of the configuration: whole texts, linear time, and refused where that cannot be."""

from time import perf_counter

import pytest

from relay.core.patterns import MAX_TEXT, LinearPattern


def test_a_whole_text_matches() -> None:
    pattern = LinearPattern(r"ORDER-\d+|[a-z]é?")
    assert pattern.fullmatch("ORDER-7")
    assert pattern.fullmatch("aé")
    for text in ("ORDER-7\n", " ORDER-7", "ORDER-", "", "x" * 3):
        assert not pattern.fullmatch(text)


def test_texts_longer_than_any_id_match_nothing() -> None:
    pattern = LinearPattern("a*")
    assert pattern.fullmatch("a" * MAX_TEXT)
    assert not pattern.fullmatch("a" * (MAX_TEXT + 1))


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "hostile",
    [
        "([a-z0-9]+-?)+",
        "(a|aa)+",
        "(a|a?)+b",
        "(a*)*b",
        "(.*.*.*.*.*.*.*.*)*z",
        r"(\w{1,50}-?){1,20}",
        "(x+x+)+y",
    ],
)
def test_no_pattern_backtracks(hostile: str) -> None:
    pattern = LinearPattern(hostile)
    began = perf_counter()
    for letter in "ax0":
        pattern.fullmatch(letter * (MAX_TEXT - 1) + "!")
    assert perf_counter() - began < 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("(", r"missing \): \("),
        ("a{1001}", "invalid repetition size"),
        ("((a{100}){100}){100}", "invalid repetition size"),
        (r"(\pL{1,100}){1,10}", "pattern too large"),
        ("(?=a)a", "look-ahead does not run in linear time"),
        ("(?!a)b", "look-ahead does not run in linear time"),
        ("(?<=a)b", "look-behind does not run in linear time"),
        (r"(a)\1", "back references do not run in linear time"),
        ("a++", r"bad repetition operator: \+\+"),
        (r"a\Z", r"invalid escape sequence: \\Z"),
        ("\ud800", "half a surrogate pair"),
    ],
)
def test_what_cannot_run_in_linear_time_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        LinearPattern(text)


def test_a_refused_pattern_writes_nothing_to_standard_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ValueError, match="missing"):
        LinearPattern("(")
    assert capfd.readouterr() == ("", "")
