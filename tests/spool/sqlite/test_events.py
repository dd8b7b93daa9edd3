from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from itertools import combinations

import apsw
import pytest

from relay.core.event import (
    Delivered,
    Event,
    ProxiedDelivery,
    Rejected,
    Status,
    Unconfirmed,
    Unreachable,
)
from relay.core.request import OnConflict
from relay.spool import Conflict, Duplicate, Stored
from relay.spool.sqlite import events
from relay.spool.sqlite.events import Field, digest, seal
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.sqlite.plans import plans, scans

EVENT = f"SELECT {events.EVENT} FROM events"
RECORD = f"SELECT {events.RECORD} FROM events"

#: Columns that hold what an upstream is sent, each with another value of its type.
SEALED = {
    "id": "another",
    "endpoint": "another",
    "provider": "another",
    "environment": "another",
    "upstream": "another",
    "key": "another",
    "subject": "another",
    "method": "GET",
    "suffix": "/v2",
    "headers": "[]",
    "client": "192.0.2.1",
    "received_at": 7,
    "signed": "[]",
    "conflicts_with": "another",
    "out_of_order": 1,
    "checksum": "another",
    "body": b"another",
    "reconciled": 1,
    "confirm": 1,
}


@pytest.mark.parametrize(
    "time",
    [
        RECEIVED,
        datetime(2026, 1, 5, 12, 0, 0, 123457, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2026, 1, 5, 19, tzinfo=timezone(timedelta(hours=7))),
    ],
)
def test_times_are_kept_to_the_microsecond(time: datetime) -> None:
    assert events.moment(events.micros(time)) == time


def test_a_damaged_time_is_still_one() -> None:
    assert events.moment(2**62) == datetime.max.replace(tzinfo=UTC)
    assert events.moment(-(2**62)) == datetime.min.replace(tzinfo=UTC)


def test_every_field_of_an_event_is_under_the_checksum() -> None:
    assert {field.name for field in fields(Event)} | {"checksum"} == set(SEALED)


@pytest.mark.parametrize("column", SEALED)
def test_an_event_that_was_changed_is_not_handed_out(
    connection: apsw.Connection, column: str
) -> None:
    events.put(connection, events.parameters(verified(), RECEIVED, None))
    assert events.event(events.fetch(connection, EVENT, ())[0]) is not None
    connection.execute(f"UPDATE events SET {column} = ?", (SEALED[column],))
    assert events.event(events.fetch(connection, EVENT, ())[0]) is None


def test_history_is_shown_even_where_it_is_damaged(connection: apsw.Connection) -> None:
    events.put(connection, events.parameters(verified(), RECEIVED, None))
    connection.execute("PRAGMA ignore_check_constraints = 1")
    connection.execute(
        "UPDATE events SET key = CAST(x'6fff' AS TEXT), status = 'pemding', place = NULL,"
        " due_at = 9223372036854775807"
    )
    [row] = events.fetch(connection, RECORD, ())
    record = events.record(row)
    assert (record.key, record.status) == ("o\ufffd", Status.DEAD)
    assert record.due_at == datetime.max.replace(tzinfo=UTC)


def test_outcomes_read_as_the_history_has_them() -> None:
    assert events.outcome_text(Delivered(204)) == "delivered 204"
    assert events.outcome_text(Rejected(503)) == "rejected 503"
    assert events.outcome_text(Unreachable("timeout")) == "unreachable timeout"
    assert events.outcome_text(Unconfirmed("not found")) == "unconfirmed not found"


# ---- insert or duplicate --------------------------------------------------------------------


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


# ---- checksums ------------------------------------------------------------------------------


def test_fields_that_differ_have_digests_that_differ() -> None:
    different: list[tuple[Field, ...]] = [
        ("ab", "c"),
        ("a", "bc"),
        ("abc",),
        ("abc", ""),
        ("abc", None),
        (b"abc",),
        ("a", "s1:b"),
        ("1",),
        (b"1",),
        (1,),
        (1.0,),
        (None,),
        ("",),
        ("", ""),
        (b"", ""),
        ("", b""),
        (b"[]",),
        ("a", b"bc"),
        (b"a", b"bc"),
    ]
    for one, another in combinations(different, 2):
        assert digest(one) != digest(another), (one, another)


def test_a_digest_stays_what_it_was() -> None:
    """Stored checksums are compared with it for as long as events are kept."""
    assert digest(("æ", b"\x00", 7, None)) == (
        "c1b927507ef2933111b7f3c707c08e72046dee70b1e9d2d41a6915365ccc0088"
    )


def test_the_seal_covers_what_the_store_found_out() -> None:
    seals = {seal("d", None, 0), seal("d", "b", 0), seal("d", None, 1), seal("e", None, 0)}
    assert len(seals) == 4
