"""What must hold after a crash: all that was acknowledged is stored, and delivered under one id."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import apsw

from relay.core.clock import SystemClock
from relay.spool.history import Query, Record
from relay.spool.sqlite import open_spool
from tests.crash.messages import NAME, Message
from tests.harness.clock import wait_until
from tests.harness.consistency import check_consistency_when_idle
from tests.harness.deliveries import ENVIRON
from tests.harness.restarts import Life, Load, life_of
from tests.harness.spool_audit import SpoolAudit, audit_stopped
from tests.harness.traced_node import WrappedNode
from tests.harness.upstream import Received, Upstream

#: Seconds until what was left behind is delivered.
_PATIENCE = 30.0


def stored_what_it_should(audit: SpoolAudit, load: Load) -> None:
    """Raise AssertionError unless the file is sound and acknowledged ⊆ stored ⊆ genuine, once."""
    assert audit.sound == "ok"
    bodies = audit.bodies
    assert load.acknowledged - set(bodies) == set(), "acknowledged, and not on disk"
    assert set(bodies) - set(load.genuine) == set(), "stored, and never sent by a provider"
    assert set(bodies) & load.forged == set(), "forged, and stored"
    assert [body for body, number in bodies.items() if number > 1] == [], "stored twice"
    assert audit.tallies == audit.counts


def delivered_what_it_stored(audit: SpoolAudit, received: Iterable[Received]) -> None:
    """Raise AssertionError unless stored = delivered, each at most once in each life.

    A life that answers for an event never sends it again, so every further delivery was caused
    by the end of the life before it: at most one for each time that relay was killed.
    """
    got = by_id(received)
    rows = {row.id: row for row in audit.rows}
    assert set(got) - set(rows) == set(), "delivered, and not stored"
    assert set(rows) - set(got) == set(), "stored, and not delivered"
    assert audit.having("delivered") == set(rows), "delivered, and not written down"
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


async def came_again(life: Life, load: Load) -> tuple[int, set[str]]:
    """Let what was never acknowledged come again; return how many, and the ids of those new."""
    number = await load.come_again(life.public[0])
    if number:
        await life.wait_for(number, event="delivery")
    return number, {line["id"] for line in life.having(event="delivery", verdict="accepted")}


async def has_delivered(life: Life, *event_ids: str) -> None:
    """Return when this life has written down that these events are delivered."""
    wanted = set(event_ids)

    def left() -> set[str]:
        return wanted - {line["id"] for line in life.having(event="attempt", decision="done")}

    assert await wait_until(lambda: not left(), _PATIENCE), f"not delivered: {left()} {life.noise}"


# ---- after a fault --------------------------------------------------------------------------
# What must be so after a fault: nothing is missing, and whatever tells of it tells the same.


async def check_consistency_afterwards(
    node: WrappedNode, config: Path, spool: Path | None = None
) -> SpoolAudit:
    """Wait until a relay has nothing in hand; then everything must tell the same of its events.

    spool: where it lies, unless beside the configuration. It was empty when the relay started.
    """
    path = spool or config.with_name("relay.db")
    return await check_consistency_when_idle(node, config, path, ENVIRON)


async def delivered_in_the_end(
    config: Path, upstream: Upstream, promised: Iterable[Message]
) -> SpoolAudit:
    """Let a sound relay work on what a fault has left; all of it must come, and what was promised.

    upstream: the one of this configuration. It answers 200, and remembers all that was promised
        and delivered before.
    """
    path = config.with_name("relay.db")
    left = audit_stopped(path)
    async with WrappedNode(config, ENVIRON) as node:
        audit = await check_consistency_when_idle(
            node, config, path, ENVIRON, before=left.having("delivered")
        )
        assert await node.end() == 0
    wanted = {row.body for row in left.rows if row.status != "delivered"}
    wanted |= {message.body for message in promised}
    missing = wanted - {each.body for each in upstream.received}
    assert missing == set(), f"{len(missing)} never came"
    return audit


# ---- in the spool's files -------------------------------------------------------------------
# What lies in a spool's files, read as relay itself would read it.

_PAGE = 1000


async def empty(path: Path) -> None:
    """Make a spool with nothing in it."""
    await (await open_spool(path, SystemClock())).close()


async def bodies(path: Path) -> dict[str, bytes | None]:
    """Return the body of every event by the transaction in its key; None for one that is damaged.

    Raises:
        SpoolUnavailable: relay could not start on these files.
    """
    spool = await open_spool(path, SystemClock())
    try:
        found: dict[str, bytes | None] = {}
        after: str | None = None
        while True:
            page = await spool.page(Query(limit=_PAGE, after=after))
            for record in page.records:
                kept = await spool.get(record.id)
                event = kept[1] if kept is not None else None
                found[name(record)] = None if event is None else event.body
            after = page.next
            if after is None:
                return found
    finally:
        await spool.close()


def name(record: Record) -> str:
    """Return the id of the transaction that an event of Midtrans is about."""
    found = NAME.search(record.key)
    return record.key if found is None else found[0]


def lost(found: dict[str, bytes | None], wanted: Iterable[tuple[str, bytes]]) -> list[str]:
    """Return the transactions whose body is not there as it was sent."""
    return [each for each, body in wanted if found.get(each) != body]


def sound(path: Path, *, thoroughly: bool) -> str:
    """Return SQLite's own opinion of the file: `ok` or what is wrong."""
    connection = apsw.Connection(str(path))
    try:
        check = "integrity_check" if thoroughly else "quick_check"
        return str(connection.pragma(check))
    finally:
        connection.close()
