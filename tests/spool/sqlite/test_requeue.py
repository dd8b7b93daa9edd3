from hashlib import sha256

import apsw
import pytest

from relay.core.event import Dead, Decision, Done, Held, Status
from relay.spool.history import Query, Requeued
from relay.spool.sqlite import events
from relay.spool.sqlite.events import Tables
from relay.spool.sqlite.requeue import Asked, count, requeue
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.sqlite.filling import claim, miscounted, put, settle, told
from tests.spool.sqlite.plans import plans, scans
from tests.spool.sqlite.test_history import QUERIES, filled

__all__ = ["filled"]


def goes_to_both(connection: apsw.Connection) -> None:
    """Let the event `a` be for `midtrans` as well, which has the number 1."""
    [(raw, received_at, body)] = events.fetch(
        connection, "SELECT head, received_at, body FROM events WHERE id = 'a'"
    )
    parts = events.parse_head(raw)
    parts[events.UPSTREAMS] = ["billing", "midtrans"]
    head = events.head_of(tuple(parts))
    seal = events.seal(b"a", received_at, 0, None, head=head, body_sha256=sha256(body).digest())
    connection.execute("UPDATE events SET head = ?, seal = ? WHERE id = 'a'", (head, seal))


def test_requeueing_by_status_takes_the_destinations_of_that_status(
    filled: apsw.Connection, shared: Tables
) -> None:
    settle(filled, shared, claim(filled, shared).leases, Done())
    goes_to_both(filled)
    filled.execute("INSERT INTO settled VALUES (1, 1, 3, 0, 3, 0, NULL, 'second', NULL)")
    filled.execute("INSERT INTO tallies VALUES (1, 3, 1)")
    found = requeue(filled, shared, Asked(Query(status=Status.DEAD)), RECEIVED)
    assert found == (Requeued(("a",)), ["midtrans"])
    assert events.fetch(filled, "SELECT seq, upstream, attempts, earlier FROM queue") == [
        (1, 1, 3, 3)
    ]
    assert miscounted(filled) == []


def test_requeueing_what_cannot_be_requeued_takes_nothing(
    filled: apsw.Connection, shared: Tables
) -> None:
    for status in (Status.PENDING, Status.LEASED, Status.TEST, Status.PASSED):
        assert requeue(filled, shared, Asked(Query(status=status)), RECEIVED) == (Requeued(), [])


def test_no_requeue_reads_a_whole_table(filled: apsw.Connection, shared: Tables) -> None:
    for query in QUERIES:
        if query == Query() or query.status is Status.PENDING:
            continue
        steps = plans(
            filled,
            lambda each, query=query: requeue(each, shared, Asked(query), RECEIVED),  # type: ignore[misc]
        )
        whole = {"SCAN events USING INDEX events_body"}
        allowed = whole if query == Query(status=Status.DELIVERED) else set()
        assert {*scans(steps)} == allowed, query
        for asked in (Asked(query), Asked(query, to="midtrans")):
            steps = plans(filled, lambda each, asked=asked: count(each, shared, asked, 10))  # type: ignore[misc]
            told = {*scans(steps)} - whole - {"SCAN chosen", "SCAN meant", "SCAN inhand"}
            assert told == set(), asked


ENDS: dict[str, Decision] = {"dead": Dead(), "held": Held(), "delivered": Done()}


@pytest.mark.parametrize("end", ENDS)
def test_a_damaged_event_is_not_requeued(
    connection: apsw.Connection, shared: Tables, end: str
) -> None:
    put(connection, shared, verified(event_id="a"))
    settle(connection, shared, claim(connection, shared).leases, ENDS[end])
    connection.execute("UPDATE events SET body = x'00'")
    for query in (Query(ids=("a",)), Query(endpoint="midtrans")):
        assert requeue(connection, shared, Asked(query), RECEIVED) == (Requeued(damaged=("a",)), [])
    now = "delivered" if end == "delivered" else "dead"
    assert told(connection, "status", "order-1") == (now,)
    assert miscounted(connection) == []


def test_what_stands_in_the_way_of_one_does_not_of_the_next(
    connection: apsw.Connection, shared: Tables
) -> None:
    for event_id in "abcde":
        put(connection, shared, verified(key=event_id, event_id=event_id, upstream="gone"))
        put(connection, shared, verified(key=event_id * 2, event_id=event_id * 2))
    for upstream in ("gone", "billing"):
        leases = claim(connection, shared, upstream=upstream).leases
        settle(connection, shared, leases, Dead())
    connection.execute("UPDATE settled SET outcome = 'corrupt' WHERE seq IN (2, 4)")
    found, _ = requeue(
        connection, shared, Asked(Query(status=Status.DEAD, limit=2), {"billing"}), RECEIVED
    )
    assert found.ids == ("cc", "dd")
    assert found.damaged == ("aa",)
    assert found.unserved == (("a", "gone"),)


def test_a_destination_that_lies_nowhere_is_told_and_may_be_sent_there_by_hand(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, verified(event_id="a", upstreams=("billing", "ledger")))
    put(connection, shared, verified(key="2", event_id="b", upstreams=()))
    settle(connection, shared, claim(connection, shared).leases, Dead())
    connection.execute("DELETE FROM queue")
    both = Query(ids=("a", "b"))
    done, waiting = requeue(connection, shared, Asked(both), RECEIVED)
    assert (done, waiting) == (Requeued(("a",), damaged=("a",)), ["billing"])
    there = Asked(both, to="ledger")
    done, waiting = requeue(connection, shared, there, RECEIVED)
    assert (done, waiting) == (Requeued(("a", "b")), ["ledger", "ledger"])
    assert requeue(connection, shared, Asked(both), RECEIVED) == (Requeued(), [])
    found = claim(connection, shared, upstream="ledger").leases
    assert [lease.event.id for lease in found] == ["a", "b"]
