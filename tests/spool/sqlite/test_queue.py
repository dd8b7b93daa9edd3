from datetime import datetime, timedelta

import apsw
import pytest

from relay.core.event import Dead, Decision, Delivered, Done, RetryAt
from relay.spool import Claimed
from relay.spool.sqlite import events, queue
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.sqlite.plans import plans, scans

LEASE = timedelta(seconds=30)


def put(connection: apsw.Connection, *keys: str, subject: str | None = None) -> None:
    for key in keys:
        event = verified(key=key, event_id=key, subject=subject)
        events.put(connection, events.parameters(event, RECEIVED, None))


def claim(
    connection: apsw.Connection, *, at: datetime = RECEIVED, limit: int = 10, ordered: bool = False
) -> Claimed:
    return queue.claim(connection, "billing", limit, at, LEASE, ordered=ordered, opened_at=at)


def columns(connection: apsw.Connection, names: str, key: str) -> events.Row:
    [row] = events.fetch(connection, f"SELECT {names} FROM events WHERE key = ?", (key,))
    return row


@pytest.mark.parametrize("ordered", [False, True])
def test_no_claim_reads_the_whole_table(connection: apsw.Connection, *, ordered: bool) -> None:
    put(connection, "a", "b", subject="tx")
    steps = plans(connection, lambda each: claim(each, ordered=ordered))
    assert len(steps) > 10
    assert scans(steps) == []
    assert not [step for step in steps if "TEMP B-TREE" in step]


@pytest.mark.parametrize("decision", [Done(), Dead(), RetryAt(RECEIVED)])
def test_no_settling_reads_the_whole_table(connection: apsw.Connection, decision: Decision) -> None:
    put(connection, "a", "b", "c")
    first, second, third = claim(connection).leases

    def all_three(connection: apsw.Connection) -> None:
        queue.settle(connection, first, decision, Delivered(200), RECEIVED, ordered=True)
        queue.release(connection, second, RECEIVED)
        queue.release(connection, third, RECEIVED, RECEIVED + timedelta(seconds=1))

    steps = plans(connection, all_three)
    assert len(steps) > 1
    assert scans(steps) == []


def test_a_damaged_event_becomes_dead_and_the_others_go_out(connection: apsw.Connection) -> None:
    put(connection, "a", "b", "c")
    connection.execute("UPDATE events SET body = x'00' WHERE key = 'a'")
    connection.execute("UPDATE events SET headers = CAST(x'ff' AS TEXT) WHERE key = 'b'")
    claimed = claim(connection)
    assert [lease.event.id for lease in claimed.leases] == ["c"]
    assert claimed.next_due is None
    for key in ("a", "b"):
        assert columns(connection, "status, last_outcome, attempts", key) == ("dead", "corrupt", 0)


def test_a_damaged_event_does_not_hold_up_its_lane(connection: apsw.Connection) -> None:
    put(connection, "a", "b", subject="tx")
    connection.execute("UPDATE events SET body = x'00' WHERE key = 'a'")
    claimed = claim(connection, ordered=True)
    assert (claimed.leases, claimed.next_due) == ((), RECEIVED)
    assert [lease.event.id for lease in claim(connection, ordered=True).leases] == ["b"]


def test_what_is_behind_is_looked_at_once(connection: apsw.Connection) -> None:
    put(connection, "a", "b", "c", subject="tx")
    claim(connection, ordered=True)
    assert [columns(connection, "status, place", key) for key in "abc"] == [
        ("leased", None),
        ("pending", "behind"),
        ("pending", "behind"),
    ]


@pytest.mark.parametrize("status", ["delivered", "dead", "held"])
def test_whatever_finishes_an_event_lets_the_next_one_up(
    connection: apsw.Connection, status: str
) -> None:
    put(connection, "a", "b", "c", subject="tx")
    claim(connection, ordered=True)
    connection.execute(
        "UPDATE events SET status = ?, place = NULL, lease_until = NULL WHERE key = 'a'", (status,)
    )
    assert [columns(connection, "place", key) for key in "bc"] == [("ready",), ("behind",)]


def test_a_clock_that_was_set_back_holds_up_nothing_new(connection: apsw.Connection) -> None:
    put(connection, "a")
    claimed = claim(connection, at=RECEIVED - timedelta(days=365))
    assert [lease.event.id for lease in claimed.leases] == ["a"]


@pytest.mark.parametrize("damage", ["NULL", "-9223372036854775808", "9223372036854775807"])
def test_a_due_time_that_is_nonsense_holds_up_nobody(
    connection: apsw.Connection, damage: str
) -> None:
    put(connection, "a", "b")
    connection.execute(f"UPDATE events SET due_at = {damage} WHERE key = 'a'")
    queue.advance(connection, RECEIVED, RECEIVED + LEASE)
    assert [lease.event.id for lease in claim(connection).leases] == ["a", "b"]
    assert columns(connection, "due_at", "a") == (events.micros(RECEIVED),)


def test_settling_says_whether_there_is_more_to_do(connection: apsw.Connection) -> None:
    put(connection, "a", "b", subject="tx")
    put(connection, "c")
    first, last = claim(connection, ordered=True).leases
    assert queue.settle(connection, first, Done(), Delivered(200), RECEIVED, ordered=True)
    assert not queue.settle(connection, last, Done(), Delivered(200), RECEIVED, ordered=True)


def test_giving_back_passes_over_what_is_lost(connection: apsw.Connection) -> None:
    put(connection, "a", "b")
    both = claim(connection).leases
    queue.settle(connection, both[0], Done(), Delivered(200), RECEIVED, ordered=True)
    queue.give_back(connection, both, RECEIVED)
    assert columns(connection, "status", "a") == ("delivered",)
    assert columns(connection, "status, attempts", "b") == ("pending", 0)


def test_a_claim_of_nothing_is_a_mistake(connection: apsw.Connection) -> None:
    with pytest.raises(ValueError, match="limit"):
        claim(connection, limit=0)


# ---- how old the oldest is ------------------------------------------------------------------

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
