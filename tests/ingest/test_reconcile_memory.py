from datetime import timedelta
from pathlib import Path

import pytest

from relay.core.errors import RelayError
from relay.ingest.reconcile import Checkpoint
from tests.harness.clock import ManualClock


def test_what_was_answered_is_remembered_for_a_day(tmp_path: Path) -> None:
    clock = ManualClock()
    cache = Checkpoint(tmp_path / "asked.jsonl", clock)
    assert cache.load() == frozenset()
    cache.add("order-1")
    clock.jump(timedelta(hours=23))
    cache.add("order 2 é")
    assert cache.load() == {"order-1", "order 2 é"}
    clock.jump(timedelta(hours=2))
    assert cache.load() == {"order 2 é"}


def test_a_line_that_was_cut_off_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "asked.jsonl"
    cache = Checkpoint(path, ManualClock())
    cache.add("order-1")
    with path.open("ab") as file:
        file.write(b'\n{"order": "half')
    cache.add("order-2")
    assert cache.load() == {"order-1", "order-2"}


def test_it_can_be_forgotten(tmp_path: Path) -> None:
    cache = Checkpoint(tmp_path / "asked.jsonl", ManualClock())
    cache.clear()
    cache.add("order-1")
    cache.clear()
    assert cache.load() == frozenset()


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    cache = Checkpoint(tmp_path, ManualClock())
    for act in (cache.load, lambda: cache.add("1"), cache.clear):
        with pytest.raises(RelayError, match=str(tmp_path)):
            act()
