from collections.abc import Mapping
from contextlib import closing
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import Any

import apsw
import orjson
import pytest

from relay.core.event import Delivered, Event, Rejected, Status, Unconfirmed, Unreachable
from relay.core.request import VerifiedDelivery
from relay.spool.sqlite import content, database, events
from relay.spool.sqlite.events import Digests, Names, Tables, Tally, Tokens, read_names, seal
from relay.spool.sqlite.keyring import Keyring
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.sqlite.filling import put

EVENT = f"SELECT {content.EVENT} FROM events"

#: Columns that hold what an upstream is sent, each with another value of its type.
COLUMNS = {
    "id": "another",
    "endpoint": 2,
    "received_at": 7,
    "flags": 2,
    "conflicts_with": "another",
    "head": b"[]",
    "seal": b"another",
    "sealed_by": 2,
    "body": b"another",
}

#: The parts of a head, each with another value of its type.
PARTS: Mapping[int, Any] = {
    events.ENDPOINT: "another",
    events.UPSTREAMS: ["another"],
    events.PROVIDER: "another",
    events.ENVIRONMENT: "another",
    events.KEY: "another",
    events.SUBJECT: "another",
    events.METHOD: "GET",
    events.SUFFIX: "/v2",
    events.HEADERS: [],
    events.CLIENT: "192.0.2.1",
    events.SIGNED: [],
    events.REFERENCES: [["order_id", "another"]],
}


def read(connection: apsw.Connection, upstream: str = "billing") -> Event | None:
    [row] = events.fetch(connection, EVENT)
    names = read_names(connection)
    [number] = [number for number, name in names.items() if name == upstream]
    return content.event(row, names, number, partial(Keyring().find, connection))


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


# ---- seals ----------------------------------------------------------------------------------


def test_every_field_of_an_event_is_under_the_seal() -> None:
    in_columns = {"id", "received_at", "conflicts_with", "body"}
    in_flags = {"out_of_order", "reconciled", "confirm", "contradicts"}
    in_head = {"endpoint", "provider", "environment", "upstream", "key", "subject", "method"}
    in_head |= {"suffix", "headers", "client", "signed"}
    # What does not count in a comparison is made of the others.
    told = {field.name for field in fields(Event) if field.compare}
    assert told == in_columns | in_flags | in_head | {"repeats", "tokens", "redacted", "keep"}
    assert in_columns | {"flags", "head"} < set(COLUMNS)
    # References are for searching alone; few repeat another event, or hold tokens.
    assert len(PARTS) == len(in_head | {"references"})


@pytest.mark.parametrize("column", COLUMNS)
def test_an_event_that_was_changed_is_not_handed_out(
    connection: apsw.Connection, shared: Tables, column: str
) -> None:
    put(connection, shared, verified())
    assert read(connection) is not None
    connection.execute(f"UPDATE events SET {column} = ?", (COLUMNS[column],))
    assert read(connection) is None


@pytest.mark.parametrize("part", PARTS)
def test_a_head_that_was_changed_is_not_handed_out(
    connection: apsw.Connection, shared: Tables, part: int
) -> None:
    put(connection, shared, verified())
    [(head,)] = events.fetch(connection, "SELECT head FROM events")
    parts = orjson.loads(head)
    assert parts[part] != PARTS[part]
    parts[part] = PARTS[part]
    connection.execute("UPDATE events SET head = ?", (orjson.dumps(parts),))
    assert read(connection) is None


def test_an_event_is_not_sent_where_it_does_not_belong(
    connection: apsw.Connection, shared: Tables
) -> None:
    """The rows that say where an event is sent are under no checksum."""
    put(connection, shared, verified(), verified(key="2", upstream="stock", event_id="2"))
    connection.execute("DELETE FROM events WHERE id = '2'")
    assert read(connection, "billing") is not None
    assert read(connection, "stock") is None


@pytest.mark.parametrize(
    "damage",
    [
        "received_at = NULL",
        "flags = CAST('x' AS TEXT)",
        "head = CAST('[]' AS TEXT)",
        "seal = NULL",
        "id = x'ff'",
    ],
)
def test_a_value_of_another_type_is_damage(
    connection: apsw.Connection, shared: Tables, damage: str
) -> None:
    put(connection, shared, verified())
    row = list(events.fetch(connection, EVENT)[0])
    names = [*COLUMNS]
    column, _, value = damage.partition(" = ")
    [(damaged,)] = events.fetch(connection, f"SELECT {value}")
    row[names.index(column)] = damaged
    assert (
        content.event(tuple(row), read_names(connection), 2, partial(Keyring().find, connection))
        is None
    )


def test_seals_of_what_differs_differ() -> None:
    seals = {
        seal(b"a", 1, 0, None, head=b"[]", body_sha256=sha256(b"b").digest()),
        seal(b"b", 1, 0, None, head=b"[]", body_sha256=sha256(b"b").digest()),
        seal(b"a", 2, 0, None, head=b"[]", body_sha256=sha256(b"b").digest()),
        seal(b"a", 1, 1, None, head=b"[]", body_sha256=sha256(b"b").digest()),
        seal(b"a", 1, 0, b"b", head=b"[]", body_sha256=sha256(b"b").digest()),
        seal(b"a", 1, 0, None, head=b"[1]", body_sha256=sha256(b"b").digest()),
        seal(b"a", 1, 0, None, head=b"[]b", body_sha256=sha256(b"").digest()),
        seal(b"a", 1, 0, None, head=b"", body_sha256=sha256(b"[]b").digest()),
        seal(b"a", 1, 0, None, head=b"[]", body_sha256=sha256(b"").digest()),
    }
    assert len(seals) == 9


def test_a_seal_stays_what_it_was() -> None:
    """Stored seals are compared with it for as long as events are kept."""
    made = seal("æ".encode(), 7, 9, b"first", head=b"[null]", body_sha256=sha256(b"\x00").digest())
    assert made.hex() == "c00dd5f77786aaa62b19694aa57d803c"


# ---- digests --------------------------------------------------------------------------------


def test_what_differs_has_other_digests() -> None:
    one, other = Digests(b"salt"), Digests(b"other")
    look = one.look("a", "b")
    found = [
        look,
        one.look("a", "bb"),
        one.look("ab", "b"),
        one.look("a", ""),
        one.restated("a", b"b"),
        one.restated("b", b"b"),
        one.conflict(look, b"1"),
        one.conflict(look, b"2"),
        other.look("a", "b"),
    ]
    for this, that in combinations(found, 2):
        assert this != that
    numbers = [
        one.subject("a", "b"),
        one.subject("ab", ""),
        one.lane("a", None, "b"),
        one.lane("b", None, "b"),
        other.subject("a", "b"),
    ]
    assert len({*numbers}) == len(numbers)
    assert one.lane("a", "b", "c") == one.subject("a", "b")
    assert all(-(2**63) <= number < 2**63 for number in numbers)


# ---- heads ----------------------------------------------------------------------------------


def head_of(delivery: VerifiedDelivery) -> bytes:
    return events.head_of(events.head_parts(delivery))


def test_what_cannot_be_stored_is_told() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        head_of(verified(key="half a surrogate pair \ud800"))


def test_a_head_is_shown_even_where_it_is_damaged() -> None:
    head = head_of(verified(key="order"))
    assert events.parse_head(head)[events.KEY] == "order"
    assert events.parse_head(head.replace(b'"order"', b'"o\xff"'))[events.KEY] == "o\ufffd"
    for raw in (b"", b"[]", b"{}", head[:20], None, 7):
        parts = events.parse_head(raw)
        assert (parts[events.KEY], len(parts)) == ("", events.REFERENCES + 1)


def test_what_is_stored_is_as_long_as_it_says(connection: apsw.Connection, shared: Tables) -> None:
    """Text with a NUL in it is not cut off there."""
    deliveries: list[VerifiedDelivery] = [
        verified(key="a\0b", body=b"\0" * 3),
        verified(key="a\0c", body=b"\0" * 3),
    ]
    put(connection, shared, *deliveries)
    kept = events.fetch(connection, "SELECT head, length(body) FROM events ORDER BY seq")
    assert [events.parse_head(head)[events.KEY] for head, _ in kept] == ["a\0b", "a\0c"]
    assert [length for _, length in kept] == [3, 3]


def test_outcomes_read_as_the_history_has_them() -> None:
    assert events.outcome_text(Delivered(204)) == "delivered 204"
    assert events.outcome_text(Rejected(503)) == "rejected 503"
    assert events.outcome_text(Unreachable("timeout")) == "unreachable timeout"
    assert events.outcome_text(Unconfirmed("not found")) == "unconfirmed not found"


# ---- states, names, tallies and tokens ------------------------------------------------------


def test_every_status_has_a_state_of_its_own() -> None:
    assert {*events.STATES} == {*Status}
    assert len({*events.STATES.values()}) == len(Status)


def test_what_stays_is_above_the_others() -> None:
    """The index of what a person has to look at is a range."""
    above = {state for state in events.STATUSES if state > events.PASSED}
    assert above == {events.DEAD, events.HELD, events.TEST}


def test_a_name_keeps_its_number(connection: apsw.Connection) -> None:
    names = Names()
    names.refresh(connection)
    first = names.number(connection, "billing")
    assert names.number(connection, "billing") == first
    assert names.number(connection, "stock") != first
    others = Names()
    others.refresh(connection)
    assert others.number(connection, "billing") == first
    assert read_names(connection) == others.by_number


def test_a_name_of_a_transaction_that_failed_is_forgotten(connection: apsw.Connection) -> None:
    names = Names()
    connection.execute("BEGIN")
    names.number(connection, "billing")
    connection.execute("ROLLBACK")
    names.refresh(connection)
    assert names.by_number == {}


def test_names_are_read_again_only_when_they_may_have_changed(
    path: Path, connection: apsw.Connection
) -> None:
    names = Names()

    def transact() -> tuple[int, int | None]:
        """Return how many statements there were, and the newest event."""
        ran: list[str] = []
        connection.exec_trace = lambda _, statement, __: not ran.append(statement)  # type: ignore[func-returns-value]
        names.refresh(connection)
        connection.exec_trace = None
        names.committed()
        return len(ran), names.newest

    assert [transact(), transact()] == [(2, None), (1, None)]
    names.newest = names.number(connection, "billing")
    assert transact() == (1, 1)
    with closing(database.open_writing(path, timedelta(seconds=1))) as other:
        events.fetch(other, "INSERT INTO names (name) VALUES ('stock')")
    assert transact() == (2, None)
    assert names.by_number == {1: "billing", 2: "stock"}
    names.refresh(connection)
    # That transaction was not committed.
    assert transact() == (2, None)


def test_order_is_kept_in_the_file(connection: apsw.Connection) -> None:
    names, others = Names(), Names()
    names.refresh(connection)
    upstream = names.number(connection, "billing")
    assert names.order(upstream) == events.UNORDERED
    names.set_order(connection, upstream, events.ORDERED)
    others.refresh(connection)
    assert names.order(upstream) == others.order(upstream) == events.ORDERED


def test_tallies_are_added_up(connection: apsw.Connection, shared: Tables) -> None:
    put(connection, shared, verified(key="1"), verified(key="2"))
    [(endpoint,)] = events.fetch(connection, "SELECT DISTINCT endpoint FROM events")
    tally = Tally()
    tally.add(endpoint, events.TEST)
    tally.add(endpoint, events.TEST, -1)
    tally.move(endpoint, events.PENDING, events.DEAD)
    tally.move_all(connection, [1], events.DEAD, events.HELD)
    tally.move_all(connection, [], events.DEAD, events.HELD)
    tally.write(connection)
    kept = events.fetch(connection, "SELECT status, deliveries FROM tallies WHERE deliveries")
    assert dict(kept) == {events.PENDING: 1, events.HELD: 1}


def test_each_destination_of_an_event_is_counted(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, *(verified(key=key) for key in "ab"))
    tally = Tally()
    tally.move_all(connection, [1, 1, 2], events.PENDING, events.LEASED)
    with connection:
        tally.write(connection)
    kept = events.fetch(connection, "SELECT status, deliveries FROM tallies WHERE deliveries")
    assert dict(kept) == {events.PENDING: 2 - 3, events.LEASED: 3}


def test_no_token_comes_twice() -> None:
    one, other = Tokens(), Tokens()
    found = [each.next() for each in (one, other) for _ in range(1000)]
    assert len({*found}) == 2000
    assert all(0 < token < 2**63 for token in found)
