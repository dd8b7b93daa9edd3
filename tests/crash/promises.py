"""The promise: what was acknowledged is delivered, under one id, and nothing else is."""

from collections.abc import Iterable, Mapping

from tests.harness.ledger import Ledger
from tests.harness.lives import Life, life_of
from tests.harness.load import Load
from tests.harness.until import until
from tests.harness.upstream import Received

#: Seconds until what was left behind is delivered.
_PATIENCE = 30.0


def stored_what_it_should(ledger: Ledger, load: Load) -> None:
    """Raise AssertionError unless the file is sound and acknowledged ⊆ stored ⊆ genuine, once."""
    assert ledger.sound == "ok"
    bodies = ledger.bodies
    assert load.acknowledged - set(bodies) == set(), "acknowledged, and not on disk"
    assert set(bodies) - set(load.genuine) == set(), "stored, and never sent by a provider"
    assert set(bodies) & load.forged == set(), "forged, and stored"
    assert [body for body, number in bodies.items() if number > 1] == [], "stored twice"
    assert ledger.tallies == ledger.counts


def delivered_what_it_stored(ledger: Ledger, received: Iterable[Received]) -> None:
    """Raise AssertionError unless stored = delivered, each at most once in each life.

    A life that answers for an event never sends it again, so every further delivery was caused
    by the end of the life before it: at most one for each time that relay was killed.
    """
    got = by_id(received)
    rows = {row.id: row for row in ledger.rows}
    assert set(got) - set(rows) == set(), "delivered, and not stored"
    assert set(rows) - set(got) == set(), "stored, and not delivered"
    assert ledger.having("delivered") == set(rows), "delivered, and not written down"
    for event_id, requests in got.items():
        row = rows[event_id]
        assert {each.body for each in requests} == {row.body}
        lives = [life_of(each) for each in requests]
        assert len(set(lives)) == len(lives), f"{event_id} came again in one life: {lives}"
        attempts = [int(each.values("Relay-Attempt")[0]) for each in requests]
        assert len(set(attempts)) == len(attempts), f"{event_id}: attempts {attempts}"
        assert max(attempts) == row.attempts


def by_id(received: Iterable[Received]) -> Mapping[str, list[Received]]:
    """Return the requests by event id."""
    found: dict[str, list[Received]] = {}
    for each in received:
        (event_id,) = each.values("webhook-id")
        found.setdefault(event_id, []).append(each)
    return found


async def has_delivered(life: Life, *event_ids: str) -> None:
    """Return when this life has written down that these events are delivered."""
    wanted = set(event_ids)

    def left() -> set[str]:
        return wanted - {line["id"] for line in life.having(event="attempt", decision="done")}

    assert await until(lambda: not left(), _PATIENCE), f"not delivered: {left()} {life.noise}"
