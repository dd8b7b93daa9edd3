"""What must hold of events that go to several upstreams: each is there, and nowhere else.

The oracle knows where a message has to go by its number alone, and nothing of relay's routes.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import pairwise

from tests.crash.fan_out import (
    ORDERED,
    PROXIED,
    UPSTREAMS,
    RoutedMessages,
    number_of,
    order_of,
)
from tests.crash.moods import MoodyUpstream, Told
from tests.harness.spool_audit import Row, SpoolAudit

#: What each upstream was told of each event, by upstream and id.
Arrived = Mapping[str, Mapping[str, Told]]


def stored_for_its_upstreams(audit: SpoolAudit, messages: RoutedMessages) -> dict[int, str]:
    """Return the id of each event by its number.

    Raises:
        AssertionError: the file is not sound, an event is stored twice or has another destination
            than its message should have, or not all of them.
    """
    assert audit.sound == "ok", audit.sound
    assert audit.tallies == audit.counts, f"{audit.tallies} counted, {audit.counts} there"
    places: dict[str, list[str]] = {row.id: [] for row in audit.unrouted}
    bodies: dict[str, bytes] = {row.id: row.body for row in audit.unrouted}
    for row in _stored(audit.rows):
        places.setdefault(row.id, []).append(row.upstream)
        bodies[row.id] = row.body
    ids: dict[int, str] = {}
    for event_id, upstreams in places.items():
        number = number_of(bodies[event_id])
        assert number not in ids, f"message {number} is stored twice"
        ids[number] = event_id
        assert bodies[event_id] == messages.body(number), f"message {number} was changed"
        assert sorted(upstreams) == sorted(messages.sort_of(number).upstreams), f"message {number}"
    return ids


def is_everywhere(
    audit: SpoolAudit,
    messages: RoutedMessages,
    wanted: Iterable[int],
    arrived: Arrived,
    killed: AbstractSet[int],
) -> int:
    """Return how many deliveries were extra: another one of an event at an upstream that had it.

    wanted: the numbers that were acknowledged. killed: the lives that ended so. Everything is
    delivered.

    Raises:
        AssertionError: one of these is not at one of its upstreams, or anything is elsewhere, was
            changed, has another id, was delivered again without a kill in between, or is written
            down otherwise.
    """
    ids = stored_for_its_upstreams(audit, messages)
    stored = {number for number in wanted if messages.sort_of(number).endpoint != PROXIED}
    assert stored - ids.keys() == set(), "acknowledged, and not stored"
    assert {row.status for row in _stored(audit.rows)} <= {"delivered"}
    rows = {(row.id, row.upstream): row for row in _stored(audit.rows)}
    told = _to_be_settled(messages, arrived)
    missing = rows.keys() - {place for place, each in told.items() if each.delivered}
    assert missing == set(), f"{len(missing)} settled, and not delivered: {sorted(missing)[:3]}"
    elsewhere = told.keys() - rows.keys()
    assert elsewhere == set(), f"{len(elsewhere)} where they should not: {sorted(elsewhere)[:3]}"
    for place, each in told.items():
        row = rows[place]
        assert each.bodies == {row.body}, f"{place} was changed"
        # A life that was told that an event is delivered settles it, unless it is killed.
        assert all(
            earlier in killed and earlier < later for earlier, later in pairwise(each.delivered)
        ), f"{place} was delivered by the lives {each.delivered}"
        assert len(set(each.attempts)) == len(each.attempts), f"{place}: {each.attempts}"
        assert max(each.attempts) == row.attempts, f"{place}: {each.attempts}, {row.attempts}"
    return sum(len(each.delivered) - 1 for each in told.values())


def passed_on(
    audit: SpoolAudit, messages: RoutedMessages, wanted: Iterable[int], arrived: Arrived
) -> None:
    """Raise AssertionError unless what was forwarded was answered by its upstream, and kept once.

    wanted: the numbers that were acknowledged.
    """
    answered: set[int] = set()
    for upstream, event_id, told, number in _all(arrived):
        sort = messages.sort_of(number)
        if sort.endpoint == PROXIED:
            assert upstream in sort.upstreams, f"{event_id} was passed on to {upstream}"
            assert told.bodies == {messages.body(number)}
            assert told.attempts == [1], f"{event_id} was passed on again"
            if told.delivered:
                answered.add(number)
    forwarded = {number for number in wanted if messages.sort_of(number).endpoint == PROXIED}
    assert forwarded - answered == set(), "acknowledged, and answered by nobody"
    rows = [row for row in audit.rows if row.endpoint == PROXIED]
    assert len({row.id for row in rows}) == len(rows)
    for row in rows:
        sort = messages.sort_of(number_of(row.body))
        assert (row.status, (row.upstream,), PROXIED) == ("passed", sort.upstreams, sort.endpoint)


def in_order(audit: SpoolAudit, arrived: Sequence[str]) -> None:
    """Raise AssertionError unless the events of an order came in the order of their receipt.

    arrived: the id of each request that has come to the ordered upstream. An event is not sent
    before each earlier one of its order is settled, and none is sent after it is.
    """
    received = {
        row.id: (number_of(row.body), place)
        for place, row in enumerate(audit.rows)
        if row.upstream == ORDERED
    }
    last: dict[tuple[str, int], int] = {}
    endpoints = {row.id: row.endpoint for row in audit.rows}
    for event_id in arrived:
        number, place = received[event_id]
        lane = endpoints[event_id], order_of(number)
        assert last.get(lane, -1) <= place, f"{event_id} came after a later one of its order"
        last[lane] = place


def of(upstreams: Mapping[str, MoodyUpstream]) -> Arrived:
    """Return what these upstreams were told."""
    return {name: upstream.told for name, upstream in upstreams.items()}


def _stored(rows: Iterable[Row]) -> Iterable[Row]:
    return (row for row in rows if row.endpoint != PROXIED)


def _to_be_settled(messages: RoutedMessages, arrived: Arrived) -> dict[tuple[str, str], Told]:
    """Return what was told of stored events, by id and upstream."""
    return {
        (event_id, upstream): told
        for upstream, event_id, told, number in _all(arrived)
        if messages.sort_of(number).endpoint != PROXIED
    }


def _all(arrived: Arrived) -> Iterable[tuple[str, str, Told, int]]:
    """Return upstream, id, what was told of it, and its number, of everything that has come."""
    assert set(arrived) == set(UPSTREAMS)
    for upstream, events in arrived.items():
        for event_id, told in events.items():
            body, *others = told.bodies
            assert others == [], f"{event_id} has several bodies at {upstream}"
            yield upstream, event_id, told, number_of(body)
