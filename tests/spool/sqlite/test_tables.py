import apsw

from relay.core.event import Status
from relay.spool.sqlite import events, tables
from relay.spool.sqlite.tables import Names, Tables, Tally, Tokens, read_names
from tests.harness.deliveries import verified
from tests.spool.sqlite.filling import put


def test_every_status_has_a_state_of_its_own() -> None:
    assert {*tables.STATES} == {*Status}
    assert len({*tables.STATES.values()}) == len(Status)


def test_what_stays_is_above_the_others() -> None:
    """The index of what a person has to look at is a range."""
    above = {state for state in tables.STATUSES if state > tables.PASSED}
    assert above == {tables.DEAD, tables.HELD, tables.TEST}


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


def test_order_is_kept_in_the_file(connection: apsw.Connection) -> None:
    names, others = Names(), Names()
    names.refresh(connection)
    upstream = names.number(connection, "billing")
    assert names.order(upstream) == tables.UNORDERED
    names.set_order(connection, upstream, tables.ORDERED)
    others.refresh(connection)
    assert names.order(upstream) == others.order(upstream) == tables.ORDERED


def test_tallies_are_added_up(connection: apsw.Connection, shared: Tables) -> None:
    put(connection, shared, verified(key="1"), verified(key="2"))
    [(endpoint,)] = events.fetch(connection, "SELECT DISTINCT endpoint FROM events")
    tally = Tally()
    tally.add(endpoint, tables.TEST)
    tally.add(endpoint, tables.TEST, -1)
    tally.move(endpoint, tables.PENDING, tables.DEAD)
    tally.move_all(connection, [1], tables.DEAD, tables.HELD)
    tally.move_all(connection, [], tables.DEAD, tables.HELD)
    tally.write(connection)
    kept = events.fetch(connection, "SELECT status, deliveries FROM tallies WHERE deliveries")
    assert dict(kept) == {tables.PENDING: 1, tables.HELD: 1}


def test_no_token_comes_twice() -> None:
    one, other = Tokens(), Tokens()
    found = [each.next() for each in (one, other) for _ in range(1000)]
    assert len({*found}) == 2000
    assert all(0 < token < 2**63 for token in found)
