"""How the tests run side by side."""

import os

import pytest

#: What pytest-xdist itself goes by.
_WANTED = "PYTEST_XDIST_AUTO_NUM_WORKERS"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Return the workers of `-n auto`: many tests wait for a limit, which leaves a core idle."""
    if _WANTED in os.environ:
        return None
    # Which cores are ours is known on Linux alone.
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (ours or 1) + 1
