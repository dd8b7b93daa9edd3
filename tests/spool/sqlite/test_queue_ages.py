import apsw
import pytest

from relay.spool.sqlite import events, queue

BEGAN, NOW = 1000, 1500
LEAST, MOST = -(2**63), 2**63 - 1


def aged(since: int | None, due_at: int | None) -> tuple[int, int]:
    """Return since when an event is in its round, and when it fell due."""
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE events (since INTEGER, due_at INTEGER) STRICT")
    connection.execute("INSERT INTO events VALUES (?, ?)", (since, due_at))
    times = {"now": NOW, "began": BEGAN}
    connection.execute(
        f"UPDATE events SET since = {queue.AGED_SINCE}, due_at = {queue.FELL_DUE}", times
    )
    [(began, due)] = events.fetch(connection, "SELECT since, due_at FROM events", ())
    return began, due


def test_what_falls_due_while_it_is_served_is_as_old_as_it_says() -> None:
    assert aged(200, 1200) == (200, 1200)


def test_what_fell_due_before_is_no_older_than_it_was_then() -> None:
    assert aged(200, 300) == (BEGAN - 100, BEGAN)


def test_what_a_clock_ahead_has_stored_is_as_old_as_it_was_then() -> None:
    assert aged(90_000, 90_100) == (NOW - 100, NOW)


def test_it_is_counted_once() -> None:
    assert aged(*aged(200, 300)) == (BEGAN - 100, BEGAN)


def test_no_round_begins_in_the_future() -> None:
    assert aged(90_000, 1200) == (NOW, 1200)


@pytest.mark.parametrize("since", [None, LEAST, 0, MOST])
@pytest.mark.parametrize("due_at", [None, LEAST, 0, MOST])
def test_damage_gives_a_time(since: int | None, due_at: int | None) -> None:
    since_when, due = aged(since, due_at)
    assert since_when <= NOW
    assert BEGAN <= due <= NOW
