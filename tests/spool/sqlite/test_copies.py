"""Copies of damaged events; what one does to a sound event is in `tests/contracts/copies.py`."""

from dataclasses import replace

import apsw
import pytest

from relay.core.event import Dead, Decision, Done, Held
from relay.core.request import OnReplay, VerifiedDelivery
from relay.spool import Duplicate, Stored
from relay.spool.sqlite import events, history, intake, upkeep
from relay.spool.sqlite.events import Tables, Tally
from relay.spool.sqlite.keyring import Keyring
from tests.harness.deliveries import verified
from tests.spool.sqlite.filling import claim, ignore, miscounted, new, put, settle, told
from tests.spool.sqlite.plans import plans, scans


def damage(connection: apsw.Connection, shared: Tables, change: str) -> None:
    """Store an event, damage it, and let a claim find that out."""
    put(connection, shared, verified(event_id="a", subject="tx"))
    connection.execute(f"UPDATE events SET {change}")
    assert claim(connection, shared).damaged


@pytest.mark.parametrize(
    "change",
    [
        "body = x'00'",
        "head = x'ff'",
        "content = x'00'",
        "seal = x'00'",
        "flags = 2, body = x'00'",
        "received_at = 7",
    ],
)
def test_an_intact_copy_replaces_a_damaged_event(
    connection: apsw.Connection, shared: Tables, change: str
) -> None:
    damage(connection, shared, f"{change}, seal = x'00'" if "seal" not in change else change)
    copy = new(shared, verified(event_id="copy", subject="tx"))
    tally = Tally()
    shared.names.refresh(connection)
    intake.store(connection, shared, [copy], tally)
    tally.write(connection)
    assert copy.result == Duplicate("a", revived=True)
    # It is to be claimed: whoever waits for work is told.
    assert copy.hand_over(ignore)
    [lease] = claim(connection, shared).leases
    assert (lease.event.id, lease.event.body) == ("a", verified().delivery.body)
    assert (lease.attempt, lease.round_attempt) == (1, 1)
    assert miscounted(connection) == []


def test_a_copy_replaces_nothing_that_is_sound(connection: apsw.Connection, shared: Tables) -> None:
    put(connection, shared, verified(event_id="a"))
    settle(connection, shared, claim(connection, shared).leases, Done())
    before = events.fetch(connection, "SELECT * FROM events")
    spaced = verified(event_id="b", body=b"{ }")
    content = verified().verification.content
    again = replace(spaced, verification=replace(spaced.verification, said=content))
    assert put(connection, shared, again) == [Duplicate("a")]
    assert events.fetch(connection, "SELECT * FROM events") == before


def test_a_damaged_event_goes_where_its_copy_goes(
    connection: apsw.Connection, shared: Tables
) -> None:
    damage(connection, shared, "body = x'00'")
    copy = verified(upstream="stock", subject="tx")
    assert put(connection, shared, copy) == [Duplicate("a", revived=True)]
    assert claim(connection, shared).leases == ()
    [lease] = claim(connection, shared, upstream="stock").leases
    assert (lease.event.id, lease.event.upstream) == ("a", "stock")
    assert miscounted(connection) == []


def damaged_in(connection: apsw.Connection, shared: Tables, place: str) -> None:
    """Store an event and damage its body where it lies."""
    put(connection, shared, verified(event_id="a"))
    decisions: dict[str, Decision] = {"delivered": Done(), "dead": Dead(), "held": Held()}
    if place != "pending":
        leases = claim(connection, shared).leases
        if place in decisions:
            settle(connection, shared, leases, decisions[place])
    connection.execute("UPDATE events SET body = x'7b7c'")


@pytest.mark.parametrize("place", ["pending", "leased", "delivered", "dead", "held"])
def test_a_copy_replaces_damage_before_anybody_has_found_it(
    connection: apsw.Connection, shared: Tables, place: str
) -> None:
    damaged_in(connection, shared, place)
    [result] = put(connection, shared, verified(event_id="copy"))
    assert result == Duplicate("a", revived=place in {"dead", "held"})
    found = history.get(connection, Keyring(), "a")
    assert found is not None
    assert (found.damaged, found.event is None) == (False, False)
    if place in {"pending", "dead", "held"}:
        [lease] = claim(connection, shared).leases
        assert lease.event.body == verified().delivery.body
    assert miscounted(connection) == []


@pytest.mark.parametrize("place", ["pending", "leased", "delivered", "dead", "held"])
def test_other_content_replaces_no_event_that_is_known_to_be_whole(
    connection: apsw.Connection, shared: Tables, place: str
) -> None:
    damaged_in(connection, shared, place)
    [result] = put(connection, shared, verified(event_id="b", body=b"other"))
    assert result == Stored("b", conflicts_with="a")


def test_a_copy_finds_a_place_for_what_lies_nowhere(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, verified(event_id="a"))
    connection.execute("DELETE FROM queue")
    assert put(connection, shared, verified()) == [Duplicate("a", revived=True)]
    assert [lease.event.id for lease in claim(connection, shared).leases] == ["a"]
    assert miscounted(connection) == []


@pytest.mark.parametrize("sound", [True, False])
@pytest.mark.parametrize("left", ["dead", "delivered", "pending"])
def test_a_copy_finds_a_place_for_a_destination_that_lies_nowhere(
    connection: apsw.Connection, shared: Tables, left: str, sound: bool
) -> None:
    both = ("billing", "ledger")
    put(connection, shared, verified(event_id="a", upstreams=both))
    ledger = shared.names.by_name["ledger"]
    connection.execute("DELETE FROM queue WHERE upstream = ?", (ledger,))
    if left != "pending":
        decision = Dead() if left == "dead" else Done()
        settle(connection, shared, claim(connection, shared).leases, decision)
    if not sound:
        connection.execute("UPDATE events SET body = x'00'")
    assert put(connection, shared, verified(upstreams=both)) == [Duplicate("a", revived=True)]
    [lease] = claim(connection, shared, upstream="ledger").leases
    assert (lease.event.id, lease.event.body) == ("a", verified().delivery.body)
    assert len(claim(connection, shared).leases) == (left != "delivered")
    assert miscounted(connection) == []
    assert upkeep.check_integrity(connection) == ()


def test_what_lies_at_an_upstream_that_it_was_not_for_goes_back(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, verified(event_id="a"), verified(key="2", upstream="ledger"))
    ledger = shared.names.by_name["ledger"]
    connection.execute("UPDATE queue SET upstream = ? WHERE seq = 1", (ledger,))
    assert claim(connection, shared, upstream="ledger").damaged == ("a",)
    assert put(connection, shared, verified()) == [Duplicate("a", revived=True)]
    assert [lease.event.id for lease in claim(connection, shared).leases] == ["a"]
    assert claim(connection, shared, upstream="ledger").leases == ()
    assert miscounted(connection) == []


@pytest.mark.parametrize("copied", [(), ("billing",)])
def test_a_copy_replaces_a_damaged_event_that_goes_nowhere_and_sends_it_nowhere(
    connection: apsw.Connection, shared: Tables, copied: tuple[str, ...]
) -> None:
    put(connection, shared, verified(event_id="a", upstreams=()))
    connection.execute("UPDATE events SET body = x'00'")
    assert put(connection, shared, verified(upstreams=copied)) == [Duplicate("a")]
    found = history.get(connection, Keyring(), "a")
    assert found is not None
    assert found.event is not None
    assert (found.event.body, found.damaged) == (verified().delivery.body, False)
    assert (found.record.upstream, found.record.destinations) == (None, ())
    assert claim(connection, shared).leases == ()


def test_what_was_lost_of_a_damaged_event_is_found_a_place_by_a_copy_for_others(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, verified(event_id="a", upstreams=("billing", "ledger")))
    connection.execute("UPDATE events SET body = x'00'")
    connection.execute("DELETE FROM queue WHERE upstream = ?", (shared.names.by_name["ledger"],))
    copy = verified(upstreams=("billing", "audit"))
    assert put(connection, shared, copy) == [Duplicate("a", revived=True)]
    for name in ("billing", "ledger"):
        [lease] = claim(connection, shared, upstream=name).leases
        assert (lease.event.id, lease.event.upstream) == ("a", name)
    assert claim(connection, shared, upstream="audit").leases == ()
    assert miscounted(connection) == []


def test_what_went_nowhere_goes_where_its_copy_goes_if_that_cannot_be_read_any_more(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, verified(event_id="a", upstreams=()))
    connection.execute("UPDATE events SET head = x'ff'")
    assert put(connection, shared, verified()) == [Duplicate("a", revived=True)]
    assert [lease.event.id for lease in claim(connection, shared).leases] == ["a"]
    assert miscounted(connection) == []


def test_a_copy_of_a_damaged_event_names_no_upstream_that_it_does_not_lie_at(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, verified(event_id="a"))
    connection.execute("UPDATE events SET body = x'00'")
    assert claim(connection, shared).damaged == ("a",)
    copy = verified(upstreams=("billing", "ledger"))
    assert put(connection, shared, copy) == [Duplicate("a", revived=True)]
    assert len(claim(connection, shared).leases) == 1
    found = history.get(connection, Keyring(), "a")
    assert found is not None
    assert [each.upstream for each in found.record.destinations] == ["billing"]
    assert not found.record.damaged


def test_a_copy_of_a_damaged_conflict_replaces_it(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, verified(event_id="a"))
    put(connection, shared, verified(event_id="b", body=b"2"))
    connection.execute("UPDATE events SET body = x'00' WHERE id = 'b'")
    assert [lease.event.id for lease in claim(connection, shared).leases] == ["a"]
    copy = verified(event_id="c", body=b"2")
    assert put(connection, shared, copy) == [Duplicate("b", revived=True)]
    [lease] = claim(connection, shared).leases
    assert (lease.event.id, lease.event.body) == ("b", b"2")
    assert lease.event.conflicts_with == "a"


def test_a_damaged_event_takes_the_key_that_its_copy_has(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, verified(event_id="a", key="1", restated=b"same"))
    connection.execute("UPDATE events SET body = x'00'")
    copy = verified(key="2", restated=b"same")
    assert put(connection, shared, copy) == [Duplicate("a")]
    assert told(connection, "id", "2") == ("a",)
    assert put(connection, shared, verified(key="2")) == [Duplicate("a")]
    assert put(connection, shared, verified(key="1", restated=b"same")) == [Duplicate("a")]


@pytest.mark.parametrize("place", ["delivered", "dead"])
def test_a_copy_brings_back_a_body_that_was_pruned(
    connection: apsw.Connection, shared: Tables, place: str
) -> None:
    damaged_in(connection, shared, place)
    connection.execute("UPDATE events SET body = NULL")
    assert put(connection, shared, verified()) == [Duplicate("a", revived=place == "dead")]
    found = history.get(connection, Keyring(), "a")
    assert found is not None
    assert found.event is not None
    assert found.event.body == verified().delivery.body
    assert len(claim(connection, shared).leases) == (place == "dead")


def test_an_event_whose_id_cannot_be_read_takes_that_of_its_copy(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, verified(event_id="a"))
    connection.execute("UPDATE events SET id = CAST(x'ff' AS TEXT)")
    assert put(connection, shared, verified(event_id="b")) == [Duplicate("b")]
    assert [lease.event.id for lease in claim(connection, shared).leases] == ["b"]


def test_no_copy_reads_a_whole_table(connection: apsw.Connection, shared: Tables) -> None:
    for place in ("a", "b", "c"):
        put(connection, shared, verified(key=place, event_id=place))
    settle(connection, shared, claim(connection, shared).leases, Dead())
    connection.execute("UPDATE events SET body = x'00' WHERE id = 'b'")
    copies = [verified(key=place) for place in ("a", "b", "c")]
    assert scans(plans(connection, lambda each: put(each, shared, *copies))) == []


def test_what_a_damaged_event_repeats_is_kept(connection: apsw.Connection, shared: Tables) -> None:
    def again(key: str) -> VerifiedDelivery:
        return verified(key=key, event_id=key, restated=b"same", on_replay=OnReplay.REPEATS)

    put(connection, shared, again("a"))
    put(connection, shared, again("b"))
    connection.execute("UPDATE events SET body = x'00' WHERE id = 'b'")
    assert put(connection, shared, again("b")) == [Duplicate("b")]
    leases = claim(connection, shared).leases
    assert [(each.event.id, each.event.repeats) for each in leases] == [("a", None), ("b", "a")]
