from dataclasses import replace
from datetime import timedelta
from itertools import product

import apsw
import pytest

from relay.core.event import Dead, Delivered, ProxiedDelivery, Status
from relay.spool import Query
from relay.spool.sqlite import history, intake, pruning, selection
from relay.spool.sqlite.intake import Proxied
from relay.spool.sqlite.tables import STATES, Tables
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.sqlite.filling import claim, put, settle
from tests.spool.sqlite.plans import plans, scans, sorts

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


@pytest.fixture
def filled(connection: apsw.Connection, shared: Tables) -> apsw.Connection:
    put(connection, shared, *(verified(key=key, event_id=key) for key in "abc"))
    return connection


def keys(connection: apsw.Connection, shared: Tables, query: Query) -> str:
    return "".join(each.id for each in history.page(connection, shared, query).records)


def test_no_page_reads_a_whole_table(filled: apsw.Connection, shared: Tables) -> None:
    for query in QUERIES:
        steps = plans(filled, lambda each, query=query: history.page(each, shared, query))  # type: ignore[misc]
        found = scans(steps)
        few = query.ids or query.key is not None
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


def test_no_requeue_reads_a_whole_table(filled: apsw.Connection, shared: Tables) -> None:
    for query in QUERIES:
        if query == Query() or query.status is Status.PENDING:
            continue
        steps = plans(
            filled,
            lambda each, query=query: history.requeue(each, shared, query, RECEIVED),  # type: ignore[misc]
        )
        whole = ["SCAN events USING INDEX events_body"]
        assert scans(steps) == (whole if query == Query(status=Status.DELIVERED) else []), query


def test_every_event_of_a_key_is_found(connection: apsw.Connection, shared: Tables) -> None:
    """The first, what is in conflict with it, what was proxied, and those of another endpoint."""
    put(connection, shared, verified(body=b"1", event_id="a"), verified(body=b"2", event_id="b"))
    put(connection, shared, verified(endpoint="snap", event_id="c"), verified(key="x"))
    passed = ProxiedDelivery(verified(event_id="d"), Delivered(200), RECEIVED)
    intake.record_proxied(connection, shared, [Proxied(passed, shared.digests)])
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
    sweep = pruning.new_sweep()
    pruning.prune(connection, shared, sweep, bodies_before=0, keys_before=late, limit=10)
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
        selection.check(query)


def test_only_the_empty_query_means_everything() -> None:
    assert [query for query in QUERIES if not selection.narrows(query)] == [Query()]
