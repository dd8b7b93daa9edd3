"""How the tests run side by side."""

import os

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the workers of `-n auto`: many tests wait for a limit, which leaves a core idle."""
    return (os.cpu_count() or 1) + 1
