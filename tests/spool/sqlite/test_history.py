import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product

import apsw
import pytest

from relay.core.event import Dead, Decision, Delivered, Done, Held, ProxiedDelivery, RetryAt, Status
from relay.spool.history import Query
from relay.spool.sqlite import attempts, events, history, proxied, upkeep
from relay.spool.sqlite.events import STATES, Tables
from relay.spool.sqlite.keyring import Keyring
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.sqlite.filling import claim, miscounted, put, settle, told
from tests.spool.sqlite.plans import plans, scans, sorts


@pytest.fixture
def filled(connection: apsw.Connection, shared: Tables) -> apsw.Connection:
    put(connection, shared, *(verified(key=key, event_id=key) for key in "abc"))
    return connection


def get(connection: apsw.Connection, event_id: str) -> history.Found:
    found = history.get(connection, Keyring(), event_id)
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


#: Numbers that a flipped byte can make to nothing: its type stands beside a value.
NUMBERS = {
    "events": ("received_at", "flags"),
    "queue": ("attempts", "due"),
    "inhand": ("attempts", "due"),
    "settled": ("attempts", "state", "at", "took"),
    "attempts": ("number", "at", "status", "took"),
}


def without_number(connection: apsw.Connection, table: str, column: str) -> None:
    """Make a number to nothing, as damage does, which no statement may do."""
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
    connection.execute("PRAGMA writable_schema = ON")
    [(sql,)] = events.fetch(connection, "SELECT sql FROM sqlite_schema WHERE name = ?", (table,))
    loose = re.sub(rf"({column} +INTEGER) +NOT NULL", r"\1", sql)
    connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (loose, table))
    connection.execute("PRAGMA writable_schema = RESET")
    connection.execute(f"UPDATE {table} SET {column} = NULL")


@pytest.mark.parametrize(
    ("table", "column"), [(table, each) for table, columns in NUMBERS.items() for each in columns]
)
def test_history_is_shown_where_a_number_is_damaged(
    filled: apsw.Connection, shared: Tables, table: str, column: str
) -> None:
    first, second = claim(filled, shared, limit=2).leases
    settle(filled, shared, [first], Done())
    settle(filled, shared, [second], RetryAt(RECEIVED))
    claim(filled, shared, limit=1)
    without_number(filled, table, column)
    shown = history.page(filled, shared, Query()).records
    assert {record.id for record in shown} == {"a", "b", "c"}
    for event_id in "abc":
        assert get(filled, event_id).record in shown or column in {"received_at", "flags"}
        attempts.attempts_of(filled, Keyring(), event_id)


def test_an_event_that_lies_nowhere_is_shown_as_damaged(filled: apsw.Connection) -> None:
    filled.execute("DELETE FROM queue WHERE seq = 1")
    record = get(filled, "a").record
    assert (record.status, record.last_outcome) == (Status.DEAD, "corrupt")
    assert (record.upstream, record.attempts) == ("billing", 0)


def test_a_destination_that_lies_nowhere_is_shown_as_damaged(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, verified(event_id="a", upstreams=("billing", "ledger")))
    settle(connection, shared, claim(connection, shared).leases, Done())
    connection.execute("DELETE FROM queue")
    found = get(connection, "a")
    told = {each.upstream: each.status for each in found.record.destinations}
    assert told == {"billing": Status.DELIVERED, "ledger": Status.DEAD}
    assert (found.record.status, found.record.last_outcome) == (Status.DEAD, "corrupt")
    assert found.record.damaged
    # Its content is what was stored, and needs no quarantine.
    assert (found.event is not None, found.damaged) == (True, False)


def test_a_pruned_event_is_not_a_damaged_one(filled: apsw.Connection) -> None:
    filled.execute("UPDATE events SET body = NULL WHERE id = 'a'")
    found = get(filled, "a")
    assert (found.event, found.damaged) == (None, False)


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        ((events.DELIVERED, events.DEAD), Status.DEAD),
        ((events.HELD, events.DELIVERED), Status.HELD),
        ((events.DELIVERED, events.DELIVERED), Status.DELIVERED),
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
    assert events.fetch(connection, "SELECT seq, place FROM queue") == [(3, events.READY)]


def test_quarantine_reads_no_whole_table(filled: apsw.Connection) -> None:
    steps = plans(filled, partial(history.quarantine, event_id="a", now=RECEIVED))
    assert scans(steps) == []
    assert told(filled, "status", "a") == ("dead",)


# ---- which events a query means -------------------------------------------------------------


NEXT = "1767614400000000-2"

QUERIES = [
    Query(ids=ids, status=status, endpoint=endpoint, key=key, since=since, until=until, after=after)
    for ids, status, endpoint, key, since, until, after in product(
        ((), ("a", "b")),
        (None, Status.DEAD, Status.PENDING, Status.DELIVERED),
        (None, "midtrans"),
        (None, "a"),
        (None, RECEIVED),
        (None, RECEIVED + timedelta(1)),
        (None, NEXT),
    )
]


def keys(connection: apsw.Connection, shared: Tables, query: Query) -> str:
    return "".join(each.id for each in history.page(connection, shared, query).records)


def test_no_page_reads_a_whole_table(filled: apsw.Connection, shared: Tables) -> None:
    for query in QUERIES:
        steps = plans(filled, lambda each, query=query: history.page(each, shared, query))  # type: ignore[misc]
        found = scans(steps)
        few = query.ids or query.key is not None
        if query.key is not None and query.status is None:
            # What was proxied is found by its key in an index of nothing else.
            assert found.pop() == "SCAN events USING INDEX events_proxied"
        if query.status is Status.PENDING and not few and query.after is None:
            # From its end, and no further than the limit.
            assert found == ["SCAN queue USING COVERING INDEX queue_event"], query
        elif query in {Query(), Query(status=Status.DELIVERED)}:
            assert found == ["SCAN events USING INDEX events_received"], query
        else:
            assert found == [], query


def test_a_page_is_sorted_only_where_its_filter_names_the_events(
    filled: apsw.Connection, shared: Tables
) -> None:
    for query in QUERIES:
        steps = plans(filled, lambda each, query=query: history.page(each, shared, query))  # type: ignore[misc]
        if sorts(steps):
            assert query.ids or query.key is not None, query


def test_every_event_of_a_key_is_found(connection: apsw.Connection, shared: Tables) -> None:
    """The first, what is in conflict with it, what was proxied, and those of another endpoint."""
    put(connection, shared, verified(body=b"1", event_id="a"), verified(body=b"2", event_id="b"))
    put(connection, shared, verified(endpoint="snap", event_id="c"), verified(key="x"))
    passed = ProxiedDelivery(verified(event_id="d"), Delivered(200), RECEIVED)
    proxied.record_proxied(connection, shared, [proxied.proxied_row(passed)])
    assert keys(connection, shared, Query(key="order-1")) == "dcba"
    assert keys(connection, shared, Query(key="order-1", endpoint="snap")) == "c"
    assert keys(connection, shared, Query(key="unknown")) == ""
    assert keys(connection, shared, Query(key="half a pair \ud800")) == ""
    assert keys(connection, shared, Query(endpoint="unknown")) == ""


def test_what_is_left_of_a_conflict_is_found_by_its_key(
    connection: apsw.Connection, shared: Tables
) -> None:
    bodies = {"a": b"1", "b": b"2", "c": b"3"}
    put(connection, shared, *(verified(body=bodies[each], event_id=each) for each in "abc"))
    leases = claim(connection, shared, limit=1).leases
    settle(connection, shared, leases, Dead())
    connection.execute("UPDATE settled SET state = 1")
    late = 2**60
    sweep = upkeep.new_sweep()
    upkeep.prune(connection, shared, sweep, bodies_before=0, keys_before=late, limit=10)
    assert keys(connection, shared, Query(key="order-1")) == "cb"


@pytest.mark.parametrize("status", list(Status))
def test_pages_of_a_status_go_on_where_the_last_one_has_ended(
    connection: apsw.Connection, shared: Tables, status: Status
) -> None:
    put(connection, shared, *(verified(key=key, event_id=key) for key in "abcde"))
    if status is Status.LEASED:
        claim(connection, shared)
    elif status is not Status.PENDING:
        settle(connection, shared, claim(connection, shared).leases, Dead())
        connection.execute(f"UPDATE settled SET state = {STATES[status]}")
    seen, query = "", Query(status=status, limit=2)
    while True:
        page = history.page(connection, shared, query)
        seen += "".join(each.id for each in page.records)
        assert {each.status for each in page.records} == {status}
        if page.next is None:
            break
        query = replace(query, after=page.next)
    assert seen == "edcba"


@pytest.mark.parametrize("query", [Query(limit=0), Query(after="x"), Query(after="1-")])
def test_an_improper_query_is_told(query: Query) -> None:
    with pytest.raises(ValueError, match=r"limit|page"):
        history.check(query)


def test_only_the_empty_query_means_everything() -> None:
    assert [query for query in QUERIES if not history.narrows(query)] == [Query()]
