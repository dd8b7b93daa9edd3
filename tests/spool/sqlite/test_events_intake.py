import apsw

from relay.core.event import Delivered, ProxiedDelivery
from relay.core.request import OnConflict
from relay.spool import Conflict, Duplicate, Stored
from relay.spool.sqlite import events
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.sqlite.plans import plans, scans


def parameters(body: bytes, event_id: str, on_conflict: OnConflict) -> events.Parameters:
    event = verified(
        body=body, event_id=event_id, subject="tx", opening=True, on_conflict=on_conflict
    )
    return events.parameters(event, RECEIVED, None)


def test_no_put_reads_the_whole_table(connection: apsw.Connection) -> None:
    results: list[Stored | Duplicate | Conflict] = []
    deliver, refuse = OnConflict.DELIVER, OnConflict.REFUSE

    def every_kind(connection: apsw.Connection) -> None:
        results.extend(
            (
                events.put(connection, parameters(b"1", "a", deliver)),
                events.put(connection, parameters(b"2", "b", deliver)),
                events.put(connection, parameters(b"2", "c", deliver)),
                events.put(connection, parameters(b"3", "d", refuse)),
            )
        )

    steps = plans(connection, every_kind)
    assert results == [Stored("a"), Stored("b", "a"), Duplicate("b"), Conflict("a")]
    assert len(steps) > 10
    assert scans(steps) == []


def test_recording_reads_nothing_and_stores_once(connection: apsw.Connection) -> None:
    passed = events.proxied_parameters(ProxiedDelivery(verified(), Delivered(200), RECEIVED))
    recording = plans(connection, lambda each: events.record_proxied(each, [passed, passed]))
    assert scans(recording) == []
    assert len(events.fetch(connection, "SELECT 1 FROM events", ())) == 1


def test_what_is_stored_is_as_long_as_it_says(connection: apsw.Connection) -> None:
    """Text with a NUL in it is not cut off there."""
    row = events.parameters(verified(key="a\0b", body=b"\0" * 3), RECEIVED, None)
    events.put(connection, row)
    stored = events.fetch(connection, "SELECT key, length(body) FROM events", ())
    assert stored == [("a\0b", 3)]
    events.put(connection, events.parameters(verified(key="a\0c"), RECEIVED, None))
    assert len(events.fetch(connection, "SELECT 1 FROM events", ())) == 2
