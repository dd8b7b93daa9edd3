import apsw
import pytest

from relay.core.event import Dead, Decision, Done, Held, RetryAt
from relay.spool.sqlite import events, lanes
from relay.spool.sqlite.events import Tables
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.sqlite.filling import LEASE, claim, miscounted, put, settle, told
from tests.spool.sqlite.plans import plans, scans


@pytest.fixture
def abc(connection: apsw.Connection, shared: Tables) -> apsw.Connection:
    """Give three events of one subject, stored before anybody has wanted them in order."""
    put(connection, shared, *(verified(key=key, event_id=key, subject="tx") for key in "abc"))
    return connection


def places(connection: apsw.Connection) -> dict[int, int]:
    return dict(events.fetch(connection, "SELECT seq, place FROM queue"))


def test_what_is_behind_is_looked_at_once(abc: apsw.Connection, shared: Tables) -> None:
    claim(abc, shared, ordered=True)
    assert told(abc, "status", "a") == ("leased",)
    assert places(abc) == {2: events.BEHIND, 3: events.BEHIND}
    assert miscounted(abc) == []


@pytest.mark.parametrize("decision", [Done(), Dead(), Held()])
def test_whatever_finishes_an_event_lets_the_next_one_up(
    abc: apsw.Connection, shared: Tables, decision: Decision
) -> None:
    settle(abc, shared, claim(abc, shared, ordered=True).leases, decision)
    assert places(abc) == {2: events.READY, 3: events.BEHIND}


def test_what_is_tried_again_lets_nothing_up(abc: apsw.Connection, shared: Tables) -> None:
    settle(abc, shared, claim(abc, shared, ordered=True).leases, RetryAt(RECEIVED + LEASE))
    assert places(abc) == {1: events.WAITING, 2: events.BEHIND, 3: events.BEHIND}


def test_turning_order_on_gives_everything_its_lane(abc: apsw.Connection, shared: Tables) -> None:
    claim(abc, shared, limit=1)
    claim(abc, shared, limit=1, ordered=True)
    lanes_of = "SELECT lane FROM queue UNION ALL SELECT lane FROM inhand"
    [(lane,), *others] = events.fetch(abc, lanes_of)
    assert lane is not None
    assert others == [(lane,)] * 2
    # The one that is leased still comes first.
    assert claim(abc, shared, ordered=True).leases == ()


def test_turning_order_on_goes_in_steps(
    abc: apsw.Connection, shared: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "_LANE_STEP", 3)
    first = claim(abc, shared, ordered=True)
    assert (first.leases, first.next_due) == ((), RECEIVED)
    shared.names.refresh(abc)
    assert shared.names.order(2) == events.BECOMING_ORDERED + 3
    # What is stored meanwhile has its lane at once.
    put(abc, shared, verified(key="d", event_id="d", subject="tx"))
    assert [lease.event.id for lease in claim(abc, shared, ordered=True).leases] == ["a"]
    assert places(abc) == dict.fromkeys((2, 3, 4), events.BEHIND)


def test_what_moves_meanwhile_gets_its_lane(
    abc: apsw.Connection, shared: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry that falls due, and a lease that ends, while lanes are being written down."""
    monkeypatch.setattr(lanes, "_LANE_STEP", 1)
    first, second = claim(abc, shared, limit=2).leases
    settle(abc, shared, [second], RetryAt(RECEIVED + LEASE))
    claim(abc, shared, ordered=True)
    settle(abc, shared, [first], RetryAt(RECEIVED + LEASE))
    later = RECEIVED + 2 * LEASE
    assert claim(abc, shared, at=later, ordered=True).leases == ()
    assert [lease.event.id for lease in claim(abc, shared, at=later, ordered=True).leases] == ["a"]
    assert events.fetch(abc, "SELECT count(*) FROM queue WHERE lane IS NULL") == [(0,)]


def test_turning_order_off_lets_everything_go(abc: apsw.Connection, shared: Tables) -> None:
    claim(abc, shared, ordered=True)
    leases = claim(abc, shared).leases
    assert [lease.event.id for lease in leases] == ["b", "c"]
    put(abc, shared, verified(key="d", event_id="d", subject="tx"))
    assert events.fetch(abc, "SELECT lane FROM queue") == [(None,)]


def test_a_damaged_head_has_a_lane_of_its_own(abc: apsw.Connection, shared: Tables) -> None:
    abc.execute("UPDATE events SET head = CAST('no' AS BLOB) WHERE id = 'a'")
    claimed = claim(abc, shared, ordered=True)
    assert claimed.damaged == ("a",)
    assert [lease.event.id for lease in claimed.leases] == ["b"]


def test_no_lane_is_found_by_reading_a_whole_table(abc: apsw.Connection, shared: Tables) -> None:
    leases = claim(abc, shared, ordered=True).leases
    steps = plans(abc, lambda each: settle(each, shared, leases, Done()))
    steps += plans(abc, lambda each: claim(each, shared, ordered=False))
    steps += plans(abc, lambda each: claim(each, shared, ordered=True))
    assert scans(steps) == []
