"""Ratios are taken within a round, and the twin says how much they can tell."""

from dataclasses import replace

from tests.bench.report import Results, rate
from tests.bench.slices import Sample

SAMPLE = Sample(
    lane="bare",
    connections=64,
    turn=1,
    rate=1000.0,
    p50=0.001,
    p99=0.002,
    cpu=0.0001,
    drain=0.0,
    memory=30.0,
    others=0.0,
    bad=0,
)


def rates(lane: str, *found: float) -> list[Sample]:
    return [replace(SAMPLE, lane=lane, turn=turn, rate=each) for turn, each in enumerate(found, 1)]


def test_a_ratio_compares_the_slices_of_one_round() -> None:
    # The machine became ten times slower after the first round, which says nothing of the two.
    results = Results(rates("bare", 1000, 100, 100) + rates("store", 500, 60, 50))
    ratio = results.ratio("store", "bare", 64, rate)
    assert str(ratio) == "0.50 [0.50 to 0.60]"


def test_what_was_not_measured_has_no_ratio() -> None:
    results = Results(rates("bare", 1000))
    assert results.ratio("store", "bare", 64, rate) is None
    assert results.ratio("bare", "store", 64, rate) is None
    assert results.ratio("bare", "bare", 1, rate) is None


def test_the_resolution_is_the_farthest_that_the_twin_came_out() -> None:
    results = Results(rates("bare", 1000, 1000) + rates("twin", 950, 1080))
    assert round(results.resolution(64, rate), 3) == 0.08
