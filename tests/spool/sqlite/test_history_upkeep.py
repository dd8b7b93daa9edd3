from datetime import timedelta
from pathlib import Path

import apsw

from relay.spool.sqlite import events, history
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.sqlite.plans import plans, scans

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
