from functools import partial

import apsw
import pytest

from relay.core.event import Dead
from relay.spool.sqlite import events, recovery
from relay.spool.sqlite.tables import Tables
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.sqlite.filling import LEASE, claim, miscounted, put, settle, told
from tests.spool.sqlite.plans import plans, scans


@pytest.fixture
def abc(connection: apsw.Connection, shared: Tables) -> apsw.Connection:
    """Give three events of one subject, which wait to be claimed."""
    put(connection, shared, *(verified(key=key, event_id=key, subject="tx") for key in "abc"))
    return connection


@pytest.mark.parametrize("damage", ["-9223372036854775808", "9223372036854775807"])
def test_a_due_time_that_is_nonsense_holds_up_nobody(
    connection: apsw.Connection, shared: Tables, damage: str
) -> None:
    put(connection, shared, *(verified(key=key, event_id=key) for key in "ab"))
    connection.execute(f"UPDATE queue SET due = {damage}, since = {damage} WHERE seq = 1")
    connection.execute(f"UPDATE queue SET place = 1, at = {damage} WHERE seq = 2")
    recovery.advance(connection, RECEIVED, RECEIVED + LEASE)
    leases = claim(connection, shared).leases
    assert [lease.event.id for lease in leases] == ["a", "b"]
    assert all(lease.round_started_at <= RECEIVED for lease in leases)
    assert told(connection, "due_at", "a") == (events.micros(RECEIVED),)


@pytest.mark.parametrize("ordered", [False, True])
def test_recovering_makes_everything_due(
    abc: apsw.Connection, shared: Tables, *, ordered: bool
) -> None:
    leases = claim(abc, shared, ordered=ordered).leases
    assert recovery.recover(abc) == len(leases)
    assert [told(abc, "status", key) for key in "abc"] == [("pending",)] * 3
    assert miscounted(abc) == []
    again = claim(abc, shared, ordered=ordered).leases
    assert [lease.attempt for lease in again] == [2] * len(leases)


def test_recovering_reads_what_is_unfinished_alone(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, verified())
    settle(connection, shared, claim(connection, shared).leases, Dead())
    advance = partial(recovery.advance, now=RECEIVED, horizon=RECEIVED + LEASE)
    steps = plans(connection, recovery.recover) + plans(connection, advance)
    assert scans(steps) == []
