import apsw
import pytest

from relay.core.errors import SpoolUnavailable
from relay.core.request import OnConflict
from relay.spool import Conflict, Duplicate, PutResult, Stored
from relay.spool.sqlite import events, intake
from relay.spool.sqlite.events import ORDERED, Tables, Tally
from relay.spool.sqlite.intake import NewEvent
from tests.contracts.spool import CountingHandoff
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.sqlite.filling import ignore, miscounted, new, put, told
from tests.spool.sqlite.plans import plans, scans, sorts


def test_no_put_reads_a_whole_table(connection: apsw.Connection, shared: Tables) -> None:
    refuse = OnConflict.REFUSE
    every_kind = (
        verified(body=b"1", event_id="a", subject="tx", restated=b"1"),
        verified(body=b"2", event_id="b", subject="tx"),
        verified(body=b"2", event_id="c"),
        verified(body=b"3", event_id="d", on_conflict=refuse),
        verified(key="opening", event_id="e", subject="tx", opening=True),
        verified(key="test", event_id="f", test=True),
        verified(key="again", event_id="g", restated=b"1"),
    )
    results: list[PutResult | None] = []
    steps = plans(connection, lambda each: results.extend(put(each, shared, *every_kind)))
    assert results == [
        Stored("a"),
        Stored("b", "a"),
        Duplicate("b"),
        Conflict("a"),
        Stored("e", None, out_of_order=True),
        Stored("f"),
        Duplicate("a"),
    ]
    assert len(steps) > 10
    assert scans(steps) == []
    assert sorts(steps) == []
    assert miscounted(connection) == []


def test_copies_in_one_batch_are_one_event(connection: apsw.Connection, shared: Tables) -> None:
    copies = [verified(event_id=str(number)) for number in range(5)]
    assert put(connection, shared, *copies) == [Stored("0"), *[Duplicate("0")] * 4]


@pytest.mark.parametrize("later_first", [False, True])
def test_order_in_a_batch_is_the_order_of_receipt(
    connection: apsw.Connection, shared: Tables, later_first: bool
) -> None:
    initial = verified(key="pending", subject="tx", opening=True, event_id="initial")
    later = verified(key="settled", subject="tx", event_id="later")
    both = [later, initial] if later_first else [initial, later]
    results = put(connection, shared, *both)
    assert Stored("initial", None, out_of_order=later_first) in results
    assert events.fetch(connection, "SELECT id FROM events ORDER BY seq") == [
        (each.event_id,) for each in both
    ]


def test_what_is_not_stored_puts_nothing_out_of_order(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, verified(key="settled", body=b"1"))
    refused = verified(key="settled", body=b"2", subject="tx", on_conflict=OnConflict.REFUSE)
    initial = verified(key="pending", subject="tx", opening=True, event_id="initial")
    assert put(connection, shared, refused, initial)[1] == Stored("initial")


def test_an_id_that_is_taken_is_told(connection: apsw.Connection, shared: Tables) -> None:
    put(connection, shared, verified(event_id="a"))
    taken, tally = new(shared, verified(key="2", event_id="a")), Tally()
    intake.store(connection, shared, [taken], tally)
    assert taken.result is None
    assert isinstance(taken.error, SpoolUnavailable)


def test_what_a_failed_transaction_has_found_is_forgotten(
    connection: apsw.Connection, shared: Tables
) -> None:
    """Conflict and order are found out anew."""
    put(connection, shared, verified(body=b"1", event_id="a", subject="tx"))
    again = [
        new(shared, verified(body=b"2", event_id="b")),
        new(shared, verified(key="k", event_id="c", subject="tx", opening=True)),
    ]
    seals = [each.seal for each in again]
    connection.execute("BEGIN")
    intake.store(connection, shared, again, Tally())
    assert [each.result for each in again] == [
        Stored("b", "a"),
        Stored("c", None, out_of_order=True),
    ]
    connection.execute("ROLLBACK")
    connection.execute("DELETE FROM events; DELETE FROM subjects; DELETE FROM queue")
    intake.store(connection, shared, again, Tally())
    assert [each.result for each in again] == [Stored("b"), Stored("c")]
    assert [each.seal for each in again] == seals


def test_lanes_are_written_down_where_order_is_kept(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, verified(key="1"))
    shared.names.set_order(connection, shared.names.number(connection, "billing"), ORDERED)
    put(connection, shared, verified(key="2"))
    lanes = events.fetch(connection, "SELECT lane IS NULL FROM queue ORDER BY seq")
    assert lanes == [(1,), (0,)]


def test_what_has_a_slot_is_leased(connection: apsw.Connection, shared: Tables) -> None:
    handoff = CountingHandoff(1)
    made, tally = new(shared, verified()), Tally()
    handoff.seats.reserve()
    made.seat("billing", handoff, 7, RECEIVED)
    intake.store(connection, shared, [made], tally)
    made.hand_over(ignore)
    [lease] = handoff.taken
    assert (lease.token, lease.attempt, lease.event.key) == (7, 1, "order-1")
    assert told(connection, "status, attempts", "order-1") == ("leased", 1)


def test_what_failed_frees_its_slot(shared: Tables) -> None:
    handoff = CountingHandoff(1)
    made = new(shared, verified())
    handoff.seats.reserve()
    made.seat("billing", handoff, 7, RECEIVED)
    made.hand_over(ignore)
    assert (handoff.seats.free, handoff.taken) == (1, [])


def test_what_was_withdrawn_is_not_called_back_for(shared: Tables) -> None:
    answers: list[object] = []
    made = NewEvent(verified(), shared.digests, 0, answers.append)
    made.result = Stored("a")
    made.withdraw()
    made.resolve()
    assert answers == []
