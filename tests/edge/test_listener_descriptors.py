"""Connections never take the descriptors that everything else needs."""

import resource

import pytest

from relay.edge.listener import connection_budget, descriptors


@pytest.mark.parametrize(
    ("available", "others", "expected"),
    [(4096, 32, 4000), (1024, 0, 960), (1024, 2000, 512), (100, 32, 50), (1, 0, 1)],
)
def test_the_reserve_is_kept(available: int, others: int, expected: int) -> None:
    assert connection_budget(available=available, others=others) == expected


def test_the_limit_of_this_process_is_known() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert descriptors() == (2**31 if soft == resource.RLIM_INFINITY else soft)
