from datetime import timedelta
from functools import partial
from itertools import product
from pathlib import Path

import apsw
import pytest

from relay.core.event import Status
from relay.spool import Query
from relay.spool.sqlite import events, history
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.sqlite.plans import plans, scans

QUERIES = [
    Query(ids=ids, status=status, endpoint=endpoint, key=key, since=since, until=until, after=after)
    for ids, status, endpoint, key, since, until, after in product(
        ((), ("a", "b")),
        (None, Status.DEAD),
        (None, "midtrans"),
        (None, "a"),
        (None, RECEIVED),
        (None, RECEIVED + timedelta(1)),
        (None, "1767614400000000-2"),
    )
]


def put(connection: apsw.Connection, key: str) -> None:
    events.put(connection, events.parameters(verified(key=key, event_id=key), RECEIVED, None))


@pytest.fixture
def filled(connection: apsw.Connection) -> apsw.Connection:
    for key in ("a", "b", "c"):
        put(connection, key)
    return connection


def test_no_page_reads_the_whole_table(filled: apsw.Connection) -> None:
    for query in QUERIES:
        steps = plans(filled, partial(history.page, query=query))
        narrowed = query != Query()
        found = scans(steps)
        # Without a filter it reads an index from its end, and stops at the limit.
        assert found == ([] if narrowed else ["SCAN events USING INDEX events_received"]), query


def test_a_page_is_sorted_only_where_its_filter_names_the_events(filled: apsw.Connection) -> None:
    for query in QUERIES:
        steps = plans(filled, partial(history.page, query=query))
        if any("TEMP B-TREE" in step for step in steps):
            assert query.ids or query.key, query


def test_no_requeue_reads_the_whole_table(filled: apsw.Connection) -> None:
    for query in QUERIES:
        if query != Query():
            work = partial(history.requeue, query=query, now=RECEIVED)
            assert scans(plans(filled, work)) == [], query


def test_a_damaged_event_is_shown_without_content(filled: apsw.Connection) -> None:
    filled.execute("UPDATE events SET body = x'00' WHERE id = 'a'")
    filled.execute("UPDATE events SET headers = CAST(x'ff' AS TEXT) WHERE id = 'b'")
    for event_id in ("a", "b"):
        found = history.get(filled, event_id)
        assert found is not None
        assert (found.record.id, found.event, found.damaged) == (event_id, None, True)


def test_a_pruned_event_is_not_a_damaged_one(filled: apsw.Connection) -> None:
    filled.execute("UPDATE events SET body = NULL WHERE id = 'a'")
    found = history.get(filled, "a")
    assert found is not None
    assert (found.event, found.damaged) == (None, False)


@pytest.mark.parametrize(
    ("before", "after"),
    [("pending", "dead"), ("held", "dead"), ("dead", "dead"), ("delivered", "delivered")],
)
def test_quarantine_leaves_alone_what_is_delivered(
    filled: apsw.Connection, before: str, after: str
) -> None:
    place = "ready" if before == "pending" else None
    filled.execute("UPDATE events SET status = ?, place = ? WHERE id = 'a'", (before, place))
    history.quarantine(filled, "a", RECEIVED)
    found = history.get(filled, "a")
    assert found is not None
    assert found.record.status == after
    assert (found.record.last_outcome == "corrupt") is (after == "dead")


# ---- pruning --------------------------------------------------------------------------------

LATE = RECEIVED + timedelta(days=1)


def test_no_pruning_reads_the_whole_table(connection: apsw.Connection) -> None:
    events.put(connection, events.parameters(verified(), RECEIVED, None))
    steps = plans(connection, lambda each: history.prune(each, LATE, LATE, 10))
    assert scans(steps) == []
    assert [step for step in steps if "events_body (received_at<?)" in step]


def test_the_oldest_is_found_among_the_unfinished(connection: apsw.Connection, path: Path) -> None:
    steps = plans(connection, lambda each: history.stats(each, path))
    assert "SCAN events USING COVERING INDEX events_lane" in steps


def test_the_tallies_are_what_counting_finds(connection: apsw.Connection, path: Path) -> None:
    for number in range(6):
        event = verified(key=str(number), endpoint=f"e{number % 2}", test=number == 0)
        events.put(connection, events.parameters(event, RECEIVED, None))
    connection.execute("UPDATE events SET status = 'delivered', place = NULL WHERE key > '3'")
    connection.execute("UPDATE events SET status = status")
    connection.execute("DELETE FROM events WHERE key = '0'")
    counted = events.fetch(
        connection, "SELECT endpoint, status, count(*) FROM events GROUP BY 1, 2", ()
    )
    found = history.stats(connection, path).events
    assert {(endpoint, str(status), number) for (endpoint, status), number in found.items()} == {
        *counted
    }
