"""How a search goes about it: by a few looks at each part, and at no event that cannot be meant."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import apsw
import pytest

from relay.core.event import Dead, Status
from relay.spool.history import Page, Query
from relay.spool.sqlite import events, finding, references, requeue
from relay.spool.sqlite.events import Tables
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.sqlite.filling import claim, put, settle
from tests.spool.sqlite.plans import plans, scans

PARTS = 4

#: By their key, they are looked for among all that were passed on.
PROXIED = {"SCAN events USING INDEX events_proxied"}


@pytest.fixture
def filled(
    connection: apsw.Connection, shared: Tables, monkeypatch: pytest.MonkeyPatch
) -> apsw.Connection:
    """Give a spool of 100 events in four parts and 20 in none, of which more than 5 are many."""
    monkeypatch.setattr(finding, "_FEW", 5)
    monkeypatch.setattr(finding, "_FEW_TO_LOOK_AT", 5)
    monkeypatch.setattr(finding, "_SPAN", 4)
    for number in range(120):
        event = verified(
            key=f"{number}",
            event_id=f"evt_{number:04}",
            references=(("order_id", f"ORDER-{number:03}"),),
            received_at=RECEIVED + timedelta(seconds=number),
        )
        put(connection, shared, event)
        last = number + 1
        if last % 25 == 0:
            [(begun, seq)] = events.fetch(connection, "SELECT part, seq FROM refs_to")
            references.begin(connection, begun, seq)
            rows = references.read(connection, seq, last)
            references.add(connection, begun + 1, seq, last, rows)
            references.add(connection, begun + 1, seq, last, None)
    leases = claim(connection, shared, limit=3).leases
    settle(connection, shared, leases, Dead())
    return connection


def numbers_of(page: Page) -> list[int]:
    return [int(record.id[4:]) for record in page.records]


def statements(connection: apsw.Connection, work: Callable[[apsw.Connection], object]) -> int:
    """Return how many statements this work runs."""
    count = 0

    def note(*_: object) -> bool:
        nonlocal count
        count += 1
        return True

    connection.exec_trace = note
    try:
        work(connection)
    finally:
        connection.exec_trace = None
    return count


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(find="ORDER-007"), [7]),
        (Query(find="ORDER-1", limit=3), [119, 118, 117]),
        (Query(find="ORDER-", limit=3, after="0-40"), [38, 37, 36]),
        (Query(find="ORDER-", status=Status.DEAD), [2, 1, 0]),
        (Query(find="ORDER-", status=Status.DELIVERED), []),
        (Query(find="ORDER-00", limit=4), [9, 8, 7, 6]),
        (Query(find="evt_", limit=2, until=RECEIVED + timedelta(seconds=50)), [49, 48]),
        (Query(find="evt_004", limit=2), [49, 48]),
        (Query(find="ORDER-", since=RECEIVED + timedelta(seconds=118)), [119, 118]),
        (Query(upstream="billing", status=Status.DEAD), [2, 1, 0]),
    ],
)
def test_what_is_found_is_found_in_few_looks(
    filled: apsw.Connection, shared: Tables, query: Query, expected: list[int]
) -> None:
    work = partial(finding.page, shared=shared, query=query)
    assert numbers_of(work(filled)) == expected
    assert set(scans(plans(filled, work))) <= PROXIED
    # Two for each part, and for each span of what is in none, and what each page takes.
    assert statements(filled, work) <= 2 * (PARTS + 1 + 5) + 12


def test_a_page_of_what_all_have_looks_at_no_more_than_it_shows(
    filled: apsw.Connection, shared: Tables
) -> None:
    work = partial(finding.page, shared=shared, query=Query(find="ORDER", limit=4))
    assert numbers_of(work(filled)) == [119, 118, 117, 116]
    # The second page of it begins where the first one has ended.
    later = partial(finding.page, shared=shared, query=Query(find="ORDER", limit=4, after="0-90"))
    assert numbers_of(later(filled)) == [88, 87, 86, 85]
    assert statements(filled, later) <= statements(filled, work) + 1


def test_what_is_to_be_requeued_is_looked_for_from_the_oldest_on(
    filled: apsw.Connection, shared: Tables
) -> None:
    asked = requeue.Asked(Query(find="ORDER", limit=2))
    work = partial(requeue.look_up, shared=shared, asked=asked, most=2)
    assert work(filled) == [1, 2]
    assert not scans(plans(filled, work))
