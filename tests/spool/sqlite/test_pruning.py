import apsw
import pytest

from relay.core.event import Dead, Done
from relay.spool import Duplicate, Stored
from relay.spool.sqlite import events, pruning
from relay.spool.sqlite.tables import Tables
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.sqlite.filling import claim, miscounted, put, settle
from tests.spool.sqlite.plans import plans, scans, sorts

LATE = events.micros(RECEIVED) + 1


def prune(
    connection: apsw.Connection,
    shared: Tables,
    *,
    bodies: int = 0,
    keys: int = LATE,
    limit: int = 10,
    sweep: pruning.Sweep | None = None,
) -> tuple[int, bool]:
    return pruning.prune(
        connection,
        shared,
        sweep or pruning.new_sweep(),
        bodies_before=bodies,
        keys_before=keys,
        limit=limit,
    )


def ids(connection: apsw.Connection) -> str:
    return "".join(row[0] for row in events.fetch(connection, "SELECT id FROM events ORDER BY seq"))


def test_no_pruning_reads_a_whole_table(connection: apsw.Connection, shared: Tables) -> None:
    put(connection, shared, *(verified(key=key, event_id=key, subject=key) for key in "abcd"))
    settle(connection, shared, claim(connection, shared, limit=2).leases, Done())
    steps = plans(connection, lambda each: prune(each, shared, bodies=LATE, limit=1))
    assert scans(steps) == []
    assert sorts(steps) == []
    assert [step for step in steps if "events_body" in step]


def test_nothing_of_a_removed_event_is_left(connection: apsw.Connection, shared: Tables) -> None:
    put(connection, shared, verified(event_id="a", subject="tx"))
    connection.execute(
        "INSERT INTO attempts (seq, upstream, number, at, outcome) VALUES (1,2,1,1,'')"
    )
    settle(connection, shared, claim(connection, shared).leases, Done())
    assert prune(connection, shared) == (1, True)
    for table in ("events", "subjects", "settled", "queue", "inhand", "attempts"):
        assert events.fetch(connection, f"SELECT 1 FROM {table}") == []
    assert miscounted(connection) == []


def test_a_subject_is_known_while_its_newest_state_is(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, verified(key="1", event_id="a", subject="tx"))
    settle(connection, shared, claim(connection, shared).leases, Done())
    put(connection, shared, verified(key="2", event_id="b", subject="tx"))
    prune(connection, shared)
    assert ids(connection) == "b"
    late = verified(key="3", event_id="c", subject="tx", opening=True)
    assert put(connection, shared, late) == [Stored("c", None, out_of_order=True)]
    settle(connection, shared, claim(connection, shared).leases, Done())
    prune(connection, shared)
    after = verified(key="4", event_id="d", subject="tx", opening=True)
    assert put(connection, shared, after) == [Stored("d")]


def test_a_copy_of_what_is_left_of_a_conflict_is_one_still(
    connection: apsw.Connection, shared: Tables
) -> None:
    bodies = {"a": b"1", "b": b"2", "c": b"3"}
    put(connection, shared, *(verified(body=bodies[each], event_id=each) for each in "abc"))
    for gone, left in (("a", "bc"), ("b", "c")):
        settle(connection, shared, claim(connection, shared, limit=1).leases, Done())
        prune(connection, shared)
        assert ids(connection) == left
        for each in left:
            copy = verified(body=bodies[each], event_id="copy")
            assert put(connection, shared, copy) == [Duplicate(each)]
        if gone == "b":
            again = verified(body=bodies["a"], event_id="d")
            assert put(connection, shared, again) == [Stored("d", "c")]


def test_what_stays_is_passed_over_once_in_a_sweep(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, *(verified(key=key, event_id=key) for key in "abcdef"))
    dead = claim(connection, shared, limit=3).leases
    settle(connection, shared, dead, Dead())
    settle(connection, shared, claim(connection, shared).leases, Done())
    sweep = pruning.new_sweep()
    assert prune(connection, shared, limit=2, sweep=sweep) == (1, True)
    assert (sweep.records.seq, ids(connection)) == (4, "abcef")
    assert prune(connection, shared, limit=2, sweep=sweep) == (2, True)
    # Nothing more behind; and nothing from the first one on.
    assert prune(connection, shared, limit=2, sweep=sweep) == (0, True)
    assert prune(connection, shared, limit=2, sweep=sweep) == (0, False)
    assert sweep == pruning.new_sweep()
    assert miscounted(connection) == []


def test_what_has_been_settled_behind_a_sweep_is_found(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, *(verified(key=key, event_id=key) for key in "abc"))
    first, second = claim(connection, shared, limit=2).leases
    settle(connection, shared, [second], Done())
    sweep = pruning.new_sweep()
    assert prune(connection, shared, limit=2, sweep=sweep) == (1, True)
    settle(connection, shared, [first], Done())
    steps = [prune(connection, shared, limit=2, sweep=sweep) for _ in range(5)]
    assert [changed for changed, _ in steps] == [0, 1, 0, 0, 0]
    assert [more for _, more in steps][-1] is False
    assert ids(connection) == "c"


def test_a_step_looks_at_so_many_and_no_more(
    connection: apsw.Connection, shared: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "_LOOKED_AT", 2)
    put(connection, shared, *(verified(key=key, event_id=key) for key in "abc"))
    put(connection, shared, verified(key="test", event_id="t", test=True))
    sweep = pruning.new_sweep()
    assert prune(connection, shared, limit=1, sweep=sweep) == (0, True)
    assert prune(connection, shared, limit=1, sweep=sweep) == (1, True)
    assert ids(connection) == "abc"


def test_a_head_that_is_damaged_can_be_pruned(connection: apsw.Connection, shared: Tables) -> None:
    put(connection, shared, verified(event_id="a", subject="tx"))
    settle(connection, shared, claim(connection, shared).leases, Done())
    connection.execute("UPDATE events SET head = x'ff'")
    assert prune(connection, shared) == (1, True)
    assert ids(connection) == ""
