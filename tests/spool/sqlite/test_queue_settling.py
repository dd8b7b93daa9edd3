from datetime import timedelta

import apsw
import pytest

from relay.core.errors import LeaseLost
from relay.core.event import (
    AttemptResult,
    Dead,
    Decision,
    Delivered,
    Done,
    Held,
    Rejected,
    RetryAt,
    Unreachable,
)
from relay.spool import Settlement
from relay.spool.sqlite import events, queue
from relay.spool.sqlite.events import Tables, Tally
from relay.spool.sqlite.queue import Settlements
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.sqlite.filling import claim, ignore, miscounted, put, settle, told
from tests.spool.sqlite.plans import plans, scans, sorts

SECOND = timedelta(seconds=1)


@pytest.fixture
def abc(connection: apsw.Connection, shared: Tables) -> apsw.Connection:
    put(connection, shared, *(verified(key=key, event_id=key) for key in "abc"))
    return connection


@pytest.mark.parametrize("decision", [Done(), Dead(), Held(), RetryAt(RECEIVED)])
def test_no_settling_reads_a_whole_table(
    abc: apsw.Connection, shared: Tables, decision: Decision
) -> None:
    first, second, third = claim(abc, shared).leases

    def all_three(connection: apsw.Connection) -> None:
        settle(connection, shared, [first], decision)
        queue.release(connection, shared, second, RECEIVED)
        queue.release(connection, shared, third, RECEIVED, RECEIVED + SECOND)

    steps = plans(abc, all_three)
    assert len(steps) > 1
    assert scans(steps) == []
    assert sorts(steps) == []
    assert miscounted(abc) == []


def test_each_is_told_whether_it_is_recorded(abc: apsw.Connection, shared: Tables) -> None:
    first, second, third = claim(abc, shared).leases
    queue.release(abc, shared, second, RECEIVED)
    assert settle(abc, shared, [first, second, third, third], Done()).recorded == [
        *(True, False, True, False)
    ]
    assert [told(abc, "status", key) for key in "abc"] == [
        *(("delivered",), ("pending",), ("delivered",))
    ]


def test_settling_says_which_upstreams_may_have_more(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, verified(key="a"))
    [lease] = claim(connection, shared).leases
    group = Settlements([Settlement(lease, Done(), Delivered(200))], 0, ignore)
    assert queue.settle(connection, shared, [group], Tally()) == set()
    put(connection, shared, verified(key="b"))
    [lease] = claim(connection, shared, ordered=True).leases
    group = Settlements([Settlement(lease, Done(), Delivered(200))], 0, ignore)
    [upstream] = queue.settle(connection, shared, [group], Tally())
    assert shared.names.by_number[upstream] == "billing"


def test_settling_nothing_is_fine(connection: apsw.Connection, shared: Tables) -> None:
    group = Settlements([], 0, ignore)
    assert queue.settle(connection, shared, [group], Tally()) == set()


def test_giving_back_passes_over_what_is_lost(abc: apsw.Connection, shared: Tables) -> None:
    both = claim(abc, shared, limit=2).leases
    settle(abc, shared, both[:1], Done())
    queue.give_back(abc, shared, both, RECEIVED)
    queue.give_back(abc, shared, [], RECEIVED)
    assert told(abc, "status", "a") == ("delivered",)
    assert told(abc, "status, attempts", "b") == ("pending", 0)
    with pytest.raises(LeaseLost, match="attempt 1 of event b"):
        queue.release(abc, shared, both[1], RECEIVED)
    assert miscounted(abc) == []


# ---- attempts -------------------------------------------------------------------------------


def attempts(connection: apsw.Connection) -> list[events.Row]:
    columns = "number, outcome, status, cause, took, answer"
    return events.fetch(connection, f"SELECT {columns} FROM attempts ORDER BY n")


def test_a_first_success_needs_no_attempt(abc: apsw.Connection, shared: Tables) -> None:
    settle(abc, shared, claim(abc, shared).leases, Done())
    assert attempts(abc) == []


def test_every_other_attempt_is_kept(connection: apsw.Connection, shared: Tables) -> None:
    put(connection, shared, verified())
    retry = RetryAt(RECEIVED)
    made: list[tuple[Decision, AttemptResult, int | None, bytes | None]] = [
        (retry, Rejected(503), 1200, b"later"),
        (retry, Unreachable("refused"), None, None),
        (Done(), Delivered(204), 800, b""),
    ]
    for decision, outcome, took, answer in made:
        [lease] = claim(connection, shared).leases
        settlement = Settlement(lease, decision, outcome, took, answer)
        group = Settlements([settlement], events.micros(RECEIVED), ignore)
        queue.settle(connection, shared, [group], Tally())
    assert attempts(connection) == [
        (1, "rejected", 503, None, 1200, b"later"),
        (2, "unreachable", None, "refused", None, None),
        (3, "delivered", 204, None, 800, b""),
    ]
    settled = events.fetch(connection, "SELECT took, outcome FROM settled")
    assert settled == [(800, "delivered 204")]


def test_of_many_attempts_the_first_and_the_newest_are_kept(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, verified())
    for _ in range(60):
        settle(connection, shared, claim(connection, shared).leases, RetryAt(RECEIVED))
    kept = [number for number, *_ in attempts(connection)]
    assert kept == [*range(1, 11), *range(21, 61)]


def test_why_an_event_is_held_is_kept(connection: apsw.Connection, shared: Tables) -> None:
    put(connection, shared, verified())
    [lease] = claim(connection, shared).leases
    settlement = Settlement(lease, Held(), Rejected(400), reason="told otherwise")
    queue.settle(connection, shared, [Settlements([settlement], 0, ignore)], Tally())
    assert events.fetch(connection, "SELECT reason FROM settled") == [("told otherwise",)]
