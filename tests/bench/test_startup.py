"""The CPU time of a command is that of its whole process, and is compared pair by pair."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.startup import cpu_of, row


def test_a_row_compares_pair_by_pair() -> None:
    told = row(("events", "list"), [(0.2, 0.4), (0.3, 0.4), (0.1, 1.0)])
    assert told == "| `relay events list` | 0.200 | 0.50 | 0.10 to 0.75 |"


def test_a_command_that_the_other_has_not_stands_alone() -> None:
    assert row(("--version",), [(0.2, None)]) == "| `relay --version` | 0.200 | - | - |"


def test_a_process_is_measured(tmp_path: Path) -> None:
    assert 0 < cpu_of([sys.executable, "-c", "pass"], tmp_path) < 10
    with pytest.raises(subprocess.CalledProcessError):
        cpu_of([sys.executable, "-c", "raise SystemExit(2)"], tmp_path)
