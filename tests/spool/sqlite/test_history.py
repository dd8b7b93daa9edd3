from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import apsw
import pytest

from relay.core.event import Dead, Decision, Done, Held, Status
from relay.spool import Query, SpoolStats
from relay.spool.sqlite import events, history, tables
from relay.spool.sqlite.tables import Tables
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.sqlite.filling import claim, miscounted, put, settle, told
from tests.spool.sqlite.plans import plans, scans


@pytest.fixture
def filled(connection: apsw.Connection, shared: Tables) -> apsw.Connection:
    put(connection, shared, *(verified(key=key, event_id=key) for key in "abc"))
    return connection


def get(connection: apsw.Connection, event_id: str) -> history.Found:
    found = history.get(connection, event_id)
    assert found is not None
    return found


def test_a_damaged_event_is_shown_without_content(filled: apsw.Connection) -> None:
    filled.execute("UPDATE events SET body = x'00' WHERE id = 'a'")
    filled.execute("UPDATE events SET head = x'ff' WHERE id = 'b'")
    for event_id in ("a", "b"):
        found = get(filled, event_id)
        assert (found.record.id, found.event, found.damaged) == (event_id, None, True)


def test_history_is_shown_even_where_it_is_damaged(filled: apsw.Connection) -> None:
    [(head,)] = events.fetch(filled, "SELECT head FROM events WHERE id = 'a'")
    filled.execute("UPDATE events SET head = ?", (head.replace(b'"a"', b'"\xff"'),))
    filled.execute("UPDATE queue SET due = 9223372036854775807")
    record = get(filled, "a").record
    assert record.key == "\ufffd"
    assert record.due_at == datetime.max.replace(tzinfo=UTC)


def test_an_event_that_lies_nowhere_is_shown_as_damaged(filled: apsw.Connection) -> None:
    filled.execute("DELETE FROM queue WHERE seq = 1")
    record = get(filled, "a").record
    assert (record.status, record.last_outcome) == (Status.DEAD, "corrupt")
    assert (record.upstream, record.attempts) == ("billing", 0)


def test_a_pruned_event_is_not_a_damaged_one(filled: apsw.Connection) -> None:
    filled.execute("UPDATE events SET body = NULL WHERE id = 'a'")
    found = get(filled, "a")
    assert (found.event, found.damaged) == (None, False)


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        ((tables.DELIVERED, tables.DEAD), Status.DEAD),
        ((tables.HELD, tables.DELIVERED), Status.HELD),
        ((tables.DELIVERED, tables.DELIVERED), Status.DELIVERED),
    ],
)
def test_an_event_is_shown_as_its_most_urgent_destination(
    filled: apsw.Connection, shared: Tables, states: tuple[int, int], shown: Status
) -> None:
    settle(filled, shared, claim(filled, shared).leases, Done())
    first, second = states
    filled.execute("UPDATE settled SET state = ?, attempts = 2", (first,))
    added = (second, events.micros(RECEIVED))
    filled.execute("INSERT INTO settled VALUES (1, 1, ?, ?, 3, 0, NULL, 'second', NULL)", added)
    record = get(filled, "a").record
    assert (record.status, record.attempts, record.upstream) == (shown, 5, "billing")


# ---- quarantine and requeue -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [("pending", "dead"), ("held", "dead"), ("dead", "dead"), ("delivered", "delivered")],
)
def test_quarantine_leaves_alone_what_is_delivered(
    filled: apsw.Connection, shared: Tables, before: str, after: str
) -> None:
    if before != "pending":
        decisions: dict[str, Decision] = {"held": Held(), "dead": Dead(), "delivered": Done()}
        decision = decisions[before]
        settle(filled, shared, claim(filled, shared).leases, decision)
    history.quarantine(filled, "a", RECEIVED)
    found = get(filled, "a")
    assert found.record.status == after
    assert (found.record.last_outcome == "corrupt") is (after == "dead")
    assert miscounted(filled) == []


def test_quarantine_lets_up_what_is_behind(connection: apsw.Connection, shared: Tables) -> None:
    put(connection, shared, *(verified(key=key, event_id=key, subject="tx") for key in "abc"))
    settle(connection, shared, claim(connection, shared, ordered=True).leases, Done())
    claim(connection, shared, ordered=True)
    history.quarantine(connection, "unknown", RECEIVED)
    connection.execute("UPDATE queue SET place = 2")
    connection.execute(
        "INSERT INTO queue SELECT upstream, 0, 0, seq, attempts, earlier, since, due, last, lane"
        " FROM inhand; DELETE FROM inhand"
    )
    history.quarantine(connection, "b", RECEIVED)
    assert events.fetch(connection, "SELECT seq, place FROM queue") == [(3, tables.READY)]


def test_requeueing_by_status_takes_the_destinations_of_that_status(
    filled: apsw.Connection, shared: Tables
) -> None:
    settle(filled, shared, claim(filled, shared).leases, Done())
    filled.execute("INSERT INTO settled VALUES (1, 1, 3, 0, 3, 0, NULL, 'second', NULL)")
    filled.execute("INSERT INTO tallies VALUES (1, 3, 1)")
    found = history.requeue(filled, shared, Query(status=Status.DEAD), RECEIVED)
    assert found == [("a", "midtrans")]
    assert events.fetch(filled, "SELECT seq, upstream, attempts, earlier FROM queue") == [
        (1, 1, 3, 3)
    ]
    assert miscounted(filled) == []


def test_requeueing_what_cannot_be_requeued_takes_nothing(
    filled: apsw.Connection, shared: Tables
) -> None:
    for status in (Status.PENDING, Status.LEASED, Status.TEST, Status.PASSED):
        assert history.requeue(filled, shared, Query(status=status), RECEIVED) == []


# ---- counting and checking ------------------------------------------------------------------


def test_the_oldest_is_found_without_reading_everything(
    filled: apsw.Connection, path: Path
) -> None:
    steps = plans(filled, lambda each: history.stats(each, path))
    assert scans(steps) == []


@pytest.mark.parametrize("place", [tables.READY, tables.WAITING, tables.BEHIND])
def test_the_oldest_may_lie_anywhere(
    connection: apsw.Connection, shared: Tables, path: Path, place: int
) -> None:
    received = [RECEIVED + timedelta(seconds=number) for number in range(3)]
    put(connection, shared, *(verified(key=str(at), received_at=at) for at in received))
    others = tables.READY if place != tables.READY else tables.BEHIND
    connection.execute("UPDATE queue SET place = ?", (others,))
    connection.execute("UPDATE queue SET place = ?, at = 0 WHERE seq = 1", (place,))
    stats: SpoolStats = history.stats(connection, path)
    assert stats.oldest_pending == {"billing": received[0]}
    connection.execute("DELETE FROM queue WHERE seq = 1")
    assert history.stats(connection, path).oldest_pending == {"billing": received[1]}
    claim(connection, shared)
    if place == tables.READY:
        return
    assert history.stats(connection, path).oldest_pending == {"billing": received[1]}


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
    assert history.stats(connection, path).events == {
        ("e0", Status.TEST): 1,
        ("e0", Status.DELIVERED): 1,
        ("e1", Status.DELIVERED): 2,
        ("e0", Status.LEASED): 1,
        ("e1", Status.PENDING): 1,
    }


def test_a_probe_writes_and_leaves_nothing_to_see(filled: apsw.Connection) -> None:
    before = filled.total_changes()
    history.probe(filled)
    history.probe(filled)
    assert filled.total_changes() > before
    assert events.fetch(filled, "SELECT count(*) FROM probe") == [(1,)]


def test_an_event_that_lies_nowhere_is_found(filled: apsw.Connection) -> None:
    assert history.check_integrity(filled) == ()
    filled.execute("DELETE FROM queue WHERE seq = 1")
    assert history.check_integrity(filled) == (
        "1 events are neither waiting nor leased nor settled",
    )


def test_quarantine_reads_no_whole_table(filled: apsw.Connection) -> None:
    steps = plans(filled, partial(history.quarantine, event_id="a", now=RECEIVED))
    assert scans(steps) == []
    assert told(filled, "status", "a") == ("dead",)
