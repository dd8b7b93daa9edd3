from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relay.core.clock import Epoch
from relay.spool.sqlite import database, open_spool
from relay.spool.sqlite.database import agree
from tests.harness.clock import ManualClock
from tests.harness.leases import verified
from tests.spool.conftest import PATIENCE

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_the_first_since_the_start_says_what_the_time_is(path: Path) -> None:
    database.prepare(path, PATIENCE)
    connection = database.open_writing(path, PATIENCE)
    first, second = Epoch("a", NOON), Epoch("b", NOON + HOUR)
    assert agree(connection, first) == first
    assert agree(connection, Epoch("a", NOON - HOUR)) == first
    # The machine was started again: what was said before means nothing now.
    assert agree(connection, second) == second
    assert agree(connection, Epoch("b", NOON)) == second
    connection.close()


def test_a_spool_that_cannot_be_written_keeps_nobody_from_starting(path: Path) -> None:
    database.prepare(path, PATIENCE)
    connection = database.open_reading(path, PATIENCE)
    assert agree(connection, Epoch("a", NOON)) == Epoch("a", NOON)
    connection.close()


@pytest.mark.parametrize("off", [HOUR, -HOUR])
async def test_processes_whose_clocks_differ_leave_each_other_their_leases(
    off: timedelta, path: Path
) -> None:
    first = await open_spool(path, ManualClock(boot="a"))
    second = await open_spool(path, late := ManualClock(ManualClock().now() + off, boot="a"))
    await first.put(verified(1))
    lease = timedelta(minutes=1)
    assert len((await first.claim("billing", 5, lease, ordered=False)).leases) == 1
    assert (await second.claim("billing", 5, lease, ordered=False)).leases == ()
    await late.advance(61)
    assert len((await second.claim("billing", 5, lease, ordered=False)).leases) == 1
    await first.close()
    await second.close()
