"""What a further upstream costs is measured by what the first one does."""

from dataclasses import replace

import pytest

from tests.bench.fan_out import WAYS, further_of, show_ways, ways_named
from tests.bench.report import Results
from tests.bench.test_report import SAMPLE

_LANES = {way.name: way.lane for way in WAYS}


def _results(**microseconds: int) -> Results:
    return Results(
        [replace(SAMPLE, lane=lane, cpu=each * 1e-6) for lane, each in microseconds.items()]
    )


def test_a_further_upstream_costs_what_comes_to_the_first() -> None:
    results = _results(one=100, two=150, three=220)
    assert str(further_of(results, _LANES["two"], 64)) == "0.50 [0.50 to 0.50]"
    assert str(further_of(results, _LANES["three"], 64)) == "0.60 [0.60 to 0.60]"
    assert further_of(results, _LANES["one"], 64) is None
    assert further_of(_results(two=150), _LANES["two"], 64) is None


def test_a_row_says_whether_the_bound_holds(capsys: pytest.CaptureFixture[str]) -> None:
    show_ways(_results(one=100, two=150, three=300, before=90), list(_LANES.values()), 64)
    said = capsys.readouterr().out
    (two,) = (row for row in said.splitlines() if row.startswith("| two upstreams"))
    assert "met" in two
    (three,) = (row for row in said.splitlines() if row.startswith("| three upstreams"))
    assert "MISSED" in three
    assert "One upstream costs 1.11 [1.11 to 1.11] of what it did before: MISSED, at most" in said


def test_a_difference_that_a_twin_has_too_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    show_ways(_results(one=100, twin=120, before=90), list(_LANES.values()), 64)
    assert "before: MISSED, within the noise" in capsys.readouterr().out


def test_the_first_is_always_measured() -> None:
    assert [way.name for way in ways_named(["three"], against=False)] == ["one", "three"]
    with pytest.raises(ValueError, match="no before; there are: one, twin"):
        ways_named(["before"], against=False)
    assert ways_named([], against=True) == list(WAYS)
