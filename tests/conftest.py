"""How the tests run side by side."""

import os

import pytest

_WANTED = "PYTEST_XDIST_AUTO_NUM_WORKERS"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the workers of `-n auto`: many tests wait for a limit, which leaves a core idle."""
    if wanted := os.environ.get(_WANTED):
        return int(wanted)
    return len(os.sched_getaffinity(0)) + 1
