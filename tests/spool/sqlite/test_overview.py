"""The overview of a SQLite spool keeps the contract, and reads no table as a whole."""

from functools import partial
from pathlib import Path

import apsw
import pytest

from relay.core.clock import Clock
from relay.core.event import Dead
from relay.spool import Spool
from relay.spool.overview import Waiting
from relay.spool.sqlite import history, open_spool, overview
from relay.spool.sqlite.events import Tables
from tests.contracts.overview import OverviewContract
from tests.contracts.spool import Opener
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.sqlite.filling import claim, put, settle
from tests.spool.sqlite.plans import plans, sorts

read = partial(overview.read, refused=0, signed=0)


def test_no_table_that_grows_with_the_number_of_events_is_read_as_a_whole(
    connection: apsw.Connection, shared: Tables, path: Path
) -> None:
    put(connection, shared, *(verified(key=key, event_id=key) for key in "abcd"))
    settle(connection, shared, claim(connection, shared, limit=2).leases, Dead())
    steps = plans(connection, lambda each: read(each, path))
    scanned = {step.split()[1] for step in steps if step.startswith("SCAN")}
    # As many rows as there are names, endpoints with states, and attempts under way.
    assert {each for each in scanned if not each.startswith("(subquery")} <= {
        *("names", "inhand", "tallies")
    }
    assert sorts(steps) == []
    assert "SEARCH queue USING PRIMARY KEY (upstream=?)" in steps


def test_a_damaged_event_is_told_of_among_the_dead_ones(
    connection: apsw.Connection, shared: Tables, path: Path
) -> None:
    put(connection, shared, *(verified(key=key, event_id=key) for key in "ab"))
    settle(connection, shared, claim(connection, shared, limit=1).leases, Dead())
    history.quarantine(connection, "b", RECEIVED)
    found = read(connection, path)
    assert found.damaged == Waiting(1, RECEIVED)
    assert found.dead == {"midtrans": 2}


class TestContract(OverviewContract):
    @pytest.fixture
    def opener(self, path: Path) -> Opener:
        async def open_one_more(clock: Clock) -> Spool:
            return await open_spool(path, clock)

        return open_one_more
