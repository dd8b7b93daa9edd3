"""Upkeep: pruning, recovery at the start, counting and checking."""

from datetime import timedelta
from functools import partial
from pathlib import Path

import apsw
import pytest

from relay.core.event import Dead, Done, Held, Status
from relay.spool import Duplicate, Stored
from relay.spool.history import SpoolStats
from relay.spool.sqlite import events, upkeep
from relay.spool.sqlite.events import Tables
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.sqlite.filling import LEASE, claim, miscounted, put, settle, told
from tests.spool.sqlite.plans import plans, scans, sorts

LATE = events.micros(RECEIVED) + 1


def prune(
    connection: apsw.Connection,
    shared: Tables,
    *,
    bodies: int = 0,
    keys: int = LATE,
    limit: int = 10,
    sweep: upkeep.Sweep | None = None,
) -> tuple[int, bool]:
    return upkeep.prune(
        connection,
        shared,
        sweep or upkeep.new_sweep(),
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
    sweep = upkeep.new_sweep()
    assert prune(connection, shared, limit=2, sweep=sweep) == (1, True)
    assert (sweep.records.seq, ids(connection)) == (4, "abcef")
    assert prune(connection, shared, limit=2, sweep=sweep) == (2, True)
    # Nothing more behind; and nothing from the first one on.
    assert prune(connection, shared, limit=2, sweep=sweep) == (0, True)
    assert prune(connection, shared, limit=2, sweep=sweep) == (0, False)
    assert sweep == upkeep.new_sweep()
    assert miscounted(connection) == []


def test_what_has_been_settled_behind_a_sweep_is_found(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, *(verified(key=key, event_id=key) for key in "abc"))
    first, second = claim(connection, shared, limit=2).leases
    settle(connection, shared, [second], Done())
    sweep = upkeep.new_sweep()
    assert prune(connection, shared, limit=2, sweep=sweep) == (1, True)
    settle(connection, shared, [first], Done())
    steps = [prune(connection, shared, limit=2, sweep=sweep) for _ in range(5)]
    assert [changed for changed, _ in steps] == [0, 1, 0, 0, 0]
    assert [more for _, more in steps][-1] is False
    assert ids(connection) == "c"


def test_a_step_looks_at_so_many_and_no_more(
    connection: apsw.Connection, shared: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_LOOKED_AT", 2)
    put(connection, shared, *(verified(key=key, event_id=key) for key in "abc"))
    put(connection, shared, verified(key="test", event_id="t", test=True))
    sweep = upkeep.new_sweep()
    assert prune(connection, shared, limit=1, sweep=sweep) == (0, True)
    assert prune(connection, shared, limit=1, sweep=sweep) == (1, True)
    assert ids(connection) == "abc"


def test_a_head_that_is_damaged_can_be_pruned(connection: apsw.Connection, shared: Tables) -> None:
    put(connection, shared, verified(event_id="a", subject="tx"))
    settle(connection, shared, claim(connection, shared).leases, Done())
    connection.execute("UPDATE events SET head = x'ff'")
    assert prune(connection, shared) == (1, True)
    assert ids(connection) == ""


# ---- leases that nobody holds, and times that cannot be right -------------------------------


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
    upkeep.advance(connection, RECEIVED, RECEIVED + LEASE)
    leases = claim(connection, shared).leases
    assert [lease.event.id for lease in leases] == ["a", "b"]
    assert all(lease.round_started_at <= RECEIVED for lease in leases)
    assert told(connection, "due_at", "a") == (events.micros(RECEIVED),)


@pytest.mark.parametrize("ordered", [False, True])
def test_recovering_makes_everything_due(
    abc: apsw.Connection, shared: Tables, *, ordered: bool
) -> None:
    leases = claim(abc, shared, ordered=ordered).leases
    assert upkeep.recover(abc) == len(leases)
    assert [told(abc, "status", key) for key in "abc"] == [("pending",)] * 3
    assert miscounted(abc) == []
    again = claim(abc, shared, ordered=ordered).leases
    assert [lease.attempt for lease in again] == [2] * len(leases)


def test_recovering_reads_what_is_unfinished_alone(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, verified())
    settle(connection, shared, claim(connection, shared).leases, Dead())
    advance = partial(upkeep.advance, now=RECEIVED, horizon=RECEIVED + LEASE)
    steps = plans(connection, upkeep.recover) + plans(connection, advance)
    assert scans(steps) == []


# ---- counting and checking ------------------------------------------------------------------


@pytest.fixture
def filled(connection: apsw.Connection, shared: Tables) -> apsw.Connection:
    put(connection, shared, *(verified(key=key, event_id=key) for key in "abc"))
    return connection


def test_the_oldest_is_found_without_reading_everything(
    filled: apsw.Connection, path: Path
) -> None:
    steps = plans(filled, lambda each: upkeep.stats(each, path))
    assert scans(steps) == []


@pytest.mark.parametrize("place", [events.READY, events.WAITING, events.BEHIND])
def test_the_oldest_may_lie_anywhere(
    connection: apsw.Connection, shared: Tables, path: Path, place: int
) -> None:
    received = [RECEIVED + timedelta(seconds=number) for number in range(3)]
    put(connection, shared, *(verified(key=str(at), received_at=at) for at in received))
    others = events.READY if place != events.READY else events.BEHIND
    connection.execute("UPDATE queue SET place = ?", (others,))
    connection.execute("UPDATE queue SET place = ?, at = 0 WHERE seq = 1", (place,))
    stats: SpoolStats = upkeep.stats(connection, path)
    assert stats.oldest_pending == {"billing": received[0]}
    connection.execute("DELETE FROM queue WHERE seq = 1")
    assert upkeep.stats(connection, path).oldest_pending == {"billing": received[1]}
    claim(connection, shared)
    if place == events.READY:
        return
    assert upkeep.stats(connection, path).oldest_pending == {"billing": received[1]}


def test_the_tallies_are_what_counting_finds(
    connection: apsw.Connection, shared: Tables, path: Path
) -> None:
    made = [
        verified(key=str(number), endpoint=f"e{number % 2}", test=number == 0)
        for number in range(6)
    ]
    put(connection, shared, *made)
    settle(connection, shared, claim(connection, shared, limit=3).leases, Done())
    claim(connection, shared, limit=1)
    assert miscounted(connection) == []
    assert upkeep.stats(connection, path).events == {
        ("e0", Status.TEST): 1,
        ("e0", Status.DELIVERED): 1,
        ("e1", Status.DELIVERED): 2,
        ("e0", Status.LEASED): 1,
        ("e1", Status.PENDING): 1,
    }


def test_a_probe_writes_and_leaves_nothing_to_see(filled: apsw.Connection) -> None:
    before = filled.total_changes()
    upkeep.probe(filled)
    upkeep.probe(filled)
    assert filled.total_changes() > before
    assert events.fetch(filled, "SELECT count(*) FROM probe") == [(1,)]


def test_an_event_that_lies_nowhere_is_found(filled: apsw.Connection) -> None:
    assert upkeep.check_integrity(filled) == ()
    filled.execute("DELETE FROM queue WHERE seq = 1")
    assert upkeep.check_integrity(filled) == (
        "1 events are neither waiting nor leased nor settled for each upstream",
    )


@pytest.mark.parametrize("lost", ["queue", "inhand", "settled"])
def test_a_destination_that_lies_nowhere_is_found(
    connection: apsw.Connection, shared: Tables, lost: str
) -> None:
    put(connection, shared, *(verified(key=key, upstreams=("a", "b", "c")) for key in "12"))
    put(connection, shared, verified(key="3", upstreams=()))
    settle(connection, shared, claim(connection, shared, upstream="b").leases, Done())
    claim(connection, shared, upstream="c")
    assert upkeep.check_integrity(connection) == ()
    connection.execute(f"DELETE FROM {lost} WHERE seq = 2")
    assert upkeep.check_integrity(connection) == (
        "1 events are neither waiting nor leased nor settled for each upstream",
    )


# ---- bodies of what was never delivered -----------------------------------------------------


def stopped(connection: apsw.Connection, shared: Tables) -> None:
    """Store a dead, a held, a delivered, a leased and a pending event, a second apart each."""
    for number, key in enumerate("abcde"):
        at = RECEIVED + timedelta(seconds=number)
        put(connection, shared, verified(key=key, event_id=key, received_at=at))
    for decision in (Dead(), Held(), Done()):
        settle(connection, shared, claim(connection, shared, limit=1).leases, decision)
    claim(connection, shared, limit=1)


def with_body(connection: apsw.Connection) -> str:
    rows = events.fetch(connection, "SELECT id FROM events WHERE body IS NOT NULL ORDER BY seq")
    return "".join(row[0] for row in rows)


def test_bodies_of_dead_and_held_events_go_and_their_records_stay(
    connection: apsw.Connection, shared: Tables
) -> None:
    stopped(connection, shared)
    position, late = upkeep.Position(), events.micros(RECEIVED + timedelta(days=1))
    one = upkeep.prune_undelivered(connection, position, before=late, limit=1)
    assert one == ({"midtrans": 1}, True)
    assert with_body(connection) == "bcde"
    removed, _ = upkeep.prune_undelivered(connection, position, before=late, limit=10)
    assert removed == {"midtrans": 1}
    assert upkeep.prune_undelivered(connection, position, before=late, limit=10) == ({}, False)
    assert with_body(connection) == "cde"
    assert ids(connection) == "abcde"
    assert told(connection, "status", "a") == ("dead",)


def test_only_what_was_received_before_goes(connection: apsw.Connection, shared: Tables) -> None:
    stopped(connection, shared)
    before = events.micros(RECEIVED + timedelta(seconds=1))
    removed, _ = upkeep.prune_undelivered(connection, upkeep.Position(), before=before, limit=10)
    assert removed == {"midtrans": 1}
    assert with_body(connection) == "bcde"


def test_dead_and_held_events_of_a_time_are_counted(
    connection: apsw.Connection, shared: Tables
) -> None:
    stopped(connection, shared)

    def count(since: int, until: int) -> dict[str, int]:
        first, end = (events.micros(RECEIVED + timedelta(seconds=each)) for each in (since, until))
        return upkeep.count_undelivered(connection, first, end)

    assert count(0, 9) == {"midtrans": 2}
    assert count(0, 1) == count(1, 9) == {"midtrans": 1}
    assert count(2, 9) == count(-9, 0) == count(9, 99) == {}
    connection.execute("UPDATE events SET body = NULL WHERE id = 'a'")
    assert count(0, 9) == {"midtrans": 1}


def test_what_was_never_delivered_is_found_without_reading_a_whole_table(
    connection: apsw.Connection, shared: Tables
) -> None:
    stopped(connection, shared)
    position = upkeep.Position()
    prune_one = partial(upkeep.prune_undelivered, position=position, before=LATE, limit=1)
    count = partial(upkeep.count_undelivered, since=LATE - 1, until=LATE * 2)
    for work in (prune_one, count):
        steps = plans(connection, work)
        assert scans(steps) == []
