import apsw
import pytest

from relay.core.event import Done
from relay.spool.sqlite import queue
from relay.spool.sqlite.events import Tables
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.sqlite.filling import LEASE, claim, miscounted, put, settle, told
from tests.spool.sqlite.plans import plans, scans, sorts


@pytest.fixture
def abc(connection: apsw.Connection, shared: Tables) -> apsw.Connection:
    """Give three events of one subject, which wait to be claimed."""
    put(connection, shared, *(verified(key=key, event_id=key, subject="tx") for key in "abc"))
    return connection


@pytest.mark.parametrize("ordered", [False, True])
def test_no_claim_reads_a_whole_table(
    abc: apsw.Connection, shared: Tables, *, ordered: bool
) -> None:
    claim(abc, shared, limit=1, ordered=ordered)
    steps = plans(abc, lambda each: claim(each, shared, at=RECEIVED + LEASE, ordered=ordered))
    assert len(steps) > 10
    assert scans(steps) == []
    assert sorts(steps) == []


def test_a_damaged_event_becomes_dead_and_the_others_go_out(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, *(verified(key=key, event_id=key) for key in "abcd"))
    connection.execute("UPDATE events SET body = x'00' WHERE id = 'a'")
    connection.execute("UPDATE events SET conflicts_with = CAST(x'ff' AS TEXT) WHERE id = 'b'")
    connection.execute("UPDATE events SET head = CAST('no' AS BLOB) WHERE id = 'd'")
    claimed = claim(connection, shared)
    assert [lease.event.id for lease in claimed.leases] == ["c"]
    assert claimed.damaged == ("a", "b", "d")
    assert claimed.next_due is None
    for key in ("a", "b"):
        found = told(connection, "status, last_outcome, attempts", key)
        assert found == ("dead", "corrupt", 0)
    assert miscounted(connection) == []


def test_an_event_that_is_gone_is_told(connection: apsw.Connection, shared: Tables) -> None:
    put(connection, shared, *(verified(key=key, event_id=key) for key in "ab"))
    connection.execute("DELETE FROM events WHERE id = 'a'")
    claimed = claim(connection, shared)
    assert [lease.event.id for lease in claimed.leases] == ["b"]
    assert claimed.damaged == ("number 1",)


def test_a_damaged_id_is_shown_as_far_as_it_can_be(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, verified(event_id="abc"))
    connection.execute("UPDATE events SET id = CAST(x'61ff63' AS TEXT)")
    assert claim(connection, shared).damaged == ("a\\xffc",)


def test_a_damaged_event_does_not_hold_up_its_lane(abc: apsw.Connection, shared: Tables) -> None:
    abc.execute("UPDATE events SET body = x'00' WHERE id = 'a'")
    claimed = claim(abc, shared, ordered=True)
    assert (claimed.leases, claimed.damaged) == ((), ("a",))
    assert [lease.event.id for lease in claim(abc, shared, ordered=True).leases] == ["b"]


def test_a_damaged_event_lets_up_what_is_behind_it(abc: apsw.Connection, shared: Tables) -> None:
    [lease] = claim(abc, shared, ordered=True).leases
    abc.execute("UPDATE events SET body = x'00' WHERE id = 'b'")
    settle(abc, shared, [lease], Done())
    claimed = claim(abc, shared, ordered=True)
    assert (claimed.damaged, claimed.next_due) == (("b",), RECEIVED)
    assert [lease.event.id for lease in claim(abc, shared, ordered=True).leases] == ["c"]


def test_a_clock_that_was_set_back_holds_up_nothing_new(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, verified(event_id="a"))
    claimed = claim(connection, shared, at=RECEIVED - 10_000 * LEASE)
    assert [lease.event.id for lease in claimed.leases] == ["a"]


def test_what_falls_due_goes_in_steps_and_nothing_is_left(
    connection: apsw.Connection, shared: Tables
) -> None:
    many = queue._SCAN_STEP + 10
    put(connection, shared, *(verified(key=str(n), event_id=str(n)) for n in range(many)))
    connection.execute("UPDATE queue SET place = 1, at = 7")
    seen = [len(claim(connection, shared, limit=many).leases) for _ in range(3)]
    assert seen == [queue._SCAN_STEP, 10, 0]


def test_damage_beside_an_event_ends_no_claim(connection: apsw.Connection, shared: Tables) -> None:
    """Nothing checks what is read, not even the table: it is STRICT about what is written."""
    rows = [
        (1, None, 0, 0, 0, b"\xff", 7),
        (2, 3, "x", 1.5, None, None, "y"),
    ]
    assert queue.sane(rows) == [(1, 0, 0, 0, 0, b"\xff", 7), (2, 3, 0, 0, 0, None, None)]
    put(connection, shared, *(verified(key=key, event_id=key) for key in "ab"))
    connection.execute("UPDATE queue SET last = CAST(x'ff' AS TEXT)")
    first, second = claim(connection, shared).leases
    settle(connection, shared, [first], Done())
    assert [lease.event.id for lease in claim(connection, shared, at=second.until).leases] == ["b"]


def test_a_claim_of_nothing_is_a_mistake(connection: apsw.Connection, shared: Tables) -> None:
    with pytest.raises(ValueError, match="limit"):
        claim(connection, shared, limit=0)


# ---- how old the oldest is ------------------------------------------------------------------

OPENED, NOW = 1000, 1500
LEAST, MOST = -(2**63), 2**63 - 1


def aged(since: int, due: int) -> tuple[int, int]:
    return queue.aged(since, due, NOW, OPENED)


def test_what_falls_due_while_it_is_served_is_as_old_as_it_says() -> None:
    assert aged(200, 1200) == (200, 1200)


def test_what_fell_due_before_is_no_older_than_it_was_then() -> None:
    assert aged(200, 300) == (OPENED - 100, OPENED)


def test_what_a_clock_ahead_has_stored_is_as_old_as_it_was_then() -> None:
    assert aged(90_000, 90_100) == (NOW - 100, NOW)


def test_it_is_counted_once() -> None:
    assert aged(*aged(200, 300)) == (OPENED - 100, OPENED)


def test_no_round_begins_in_the_future() -> None:
    assert aged(90_000, 1200) == (NOW, 1200)


@pytest.mark.parametrize("since", [LEAST, 0, MOST])
@pytest.mark.parametrize("due", [LEAST, 0, MOST])
def test_damage_gives_a_time(since: int, due: int) -> None:
    since_when, fell = aged(since, due)
    assert LEAST < since_when <= NOW
    assert OPENED <= fell <= NOW
