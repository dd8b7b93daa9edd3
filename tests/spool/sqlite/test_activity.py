"""Hours in a SQLite spool keep the contract, and are found by their index."""

from pathlib import Path

import apsw
import pytest

from relay.core.clock import Clock
from relay.spool import Spool
from relay.spool.sqlite import activity, open_spool
from tests.contracts.activity import ActivityContract
from tests.contracts.spool import Opener
from tests.spool.sqlite.plans import plans


def test_hours_are_found_and_removed_by_a_range(connection: apsw.Connection) -> None:
    activity.add(connection, [(1, "shop", "accepted", 1)], [("shop", 1)])
    steps = plans(connection, lambda each: activity.since(each, 1))
    steps += plans(
        connection, lambda each: activity.add(each, [(1, "shop", "accepted", 1)], [("shop", 1)])
    )
    assert not [step for step in steps if "SCAN" in step or "TEMP B-TREE" in step]


class TestContract(ActivityContract):
    @pytest.fixture
    def opener(self, path: Path) -> Opener:
        async def open_one_more(clock: Clock) -> Spool:
            return await open_spool(path, clock)

        return open_one_more
