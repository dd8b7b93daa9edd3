"""Events with several upstreams, or none, in one file: statements, lanes, seats, a full disk.

What every spool keeps to is in `tests/contracts/fan_out.py`.
"""

import asyncio
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from relay.core.errors import SpoolUnavailable
from relay.core.event import Delivered, Done, Status
from relay.core.request import Keep, VerifiedDelivery
from relay.spool import SpoolFull, Stored
from relay.spool.sqlite import SqliteSpool, events, open_spool
from relay.spool.sqlite.events import ORDERED, Tables
from tests.contracts.spool import CountingHandoff, stored
from tests.harness.clock import ManualClock, run_loop_until
from tests.harness.deliveries import RECEIVED, verified
from tests.harness.optional_tools import fill, small_volume
from tests.spool.sqlite.filling import claim, miscounted, put, settle
from tests.spool.sqlite.plans import plans, scans, sorts

THREE = ("billing", "ledger", "audit")


def many(number: int, *upstreams: str) -> list[VerifiedDelivery]:
    return [verified(key=f"{upstreams} {each}", upstreams=upstreams) for each in range(number)]


def statements(
    connection: apsw.Connection, shared: Tables, given: list[VerifiedDelivery]
) -> list[str]:
    """Return the statements that storing these takes: an `executemany` is one."""
    run: list[str] = []

    def note(_: apsw.Cursor, statement: str, __: "apsw.Bindings | None") -> bool:
        if run[-1:] != [statement]:
            run.append(statement)
        return True

    connection.exec_trace = note
    try:
        put(connection, shared, *given)
    finally:
        connection.exec_trace = None
    return run


def test_further_upstreams_take_no_further_statements(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, verified(upstreams=THREE))
    one = statements(connection, shared, many(64, "billing"))
    assert statements(connection, shared, many(64, *THREE)) == one
    # Its row is all that there is of what goes nowhere.
    assert len(statements(connection, shared, many(64))) < len(one)
    assert miscounted(connection) == []


def test_no_put_reads_a_whole_table(connection: apsw.Connection, shared: Tables) -> None:
    nowhere = replace(verified(key="nowhere", upstreams=()), keep=Keep.NONE)
    given = [*many(2, *THREE), nowhere, verified(key="t", upstreams=(), tokens=("/order_id",))]
    steps = plans(connection, lambda each: put(each, shared, *given))
    assert (scans(steps), sorts(steps)) == ([], [])


def test_lanes_are_written_down_for_the_upstreams_that_keep_order(
    connection: apsw.Connection, shared: Tables
) -> None:
    put(connection, shared, verified(key="1", upstreams=THREE))
    for name in ("billing", "audit"):
        shared.names.set_order(connection, shared.names.by_name[name], ORDERED)
    put(connection, shared, verified(key="2", upstreams=THREE))
    found = events.fetch(
        connection,
        "SELECT name, lane FROM queue JOIN names ON names.id = upstream WHERE seq = 2",
    )
    lanes: dict[str, int | None] = dict(found)
    assert lanes["ledger"] is None
    assert lanes["billing"] is not None
    assert lanes["billing"] == lanes["audit"]


def test_a_damaged_event_dies_at_each_upstream(connection: apsw.Connection, shared: Tables) -> None:
    put(connection, shared, verified(event_id="a", upstreams=THREE))
    settle(connection, shared, claim(connection, shared).leases, Done())
    connection.execute("UPDATE events SET body = x'00'")
    for name in ("ledger", "audit"):
        assert claim(connection, shared, upstream=name).damaged == ("a",)
    assert miscounted(connection) == []


async def opened(path: Path, seats: int) -> tuple[SqliteSpool, dict[str, CountingHandoff]]:
    """Return a spool whose upstreams have so many seats each."""
    spool = await open_spool(path, ManualClock(RECEIVED))
    handoffs = {name: CountingHandoff(seats) for name in THREE}
    for name, handoff in handoffs.items():
        spool.subscribe(name, handoff)
    return spool, handoffs


async def test_what_is_not_taken_frees_every_seat(path: Path) -> None:
    spool, handoffs = await opened(path, 3)
    await spool.close()
    with pytest.raises(SpoolUnavailable):
        spool.put_nowait(verified(upstreams=THREE), lambda _: None)
    assert [(each.seats.free, each.seats.reserved) for each in handoffs.values()] == [(3, 0)] * 3


async def test_a_full_disk_takes_the_outcome_of_each_destination_and_nothing_new(
    tmp_path: Path,
) -> None:
    with small_volume(tmp_path / "volume", 8) as volume:
        spool, handoffs = await opened(volume / "relay.db", 1000)
        await spool.reserve_space()
        for number in range(16):
            await stored(spool, verified(key=str(number), upstreams=THREE))
        fill(volume)
        larger = [verified(key=f"+{n}", upstreams=THREE, body=b"y" * 200_000) for n in range(64)]
        results = await asyncio.gather(*map(spool.put, larger), return_exceptions=True)
        assert {*map(type, results)} in ({SpoolFull}, {SpoolFull, Stored})
        taken = 16 + sum(isinstance(each, Stored) for each in results)
        await run_loop_until(lambda: all(not each.seats.reserved for each in handoffs.values()))
        assert [each.seats.free for each in handoffs.values()] == [1000 - taken] * 3
        for lease in [lease for each in handoffs.values() for lease in each.taken]:
            await spool.settle(lease, Done(), Delivered(200))
        assert (await spool.stats()).events == {("midtrans", Status.DELIVERED): 3 * taken}
        await spool.close()
