from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone

import apsw
import pytest

from relay.core.event import Delivered, Event, Rejected, Status, Unconfirmed, Unreachable
from relay.spool.sqlite import events
from tests.harness.deliveries import RECEIVED, verified

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
