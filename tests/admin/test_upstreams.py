"""Upstreams are told with what waits for them, without secrets; pauses of unknown ones are not."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.admin.upstreams import (
    UnknownUpstream,
    Upstreams,
    pause,
    read_rows,
    resume,
)
from relay.config.upstream_settings import Upstream
from relay.spool.audit import Actor
from relay.spool.sqlite import SqliteSpool, open_spool
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED, verified

BILLING = Upstream(url="http://billing.example/in?t=secret")
STOCK = Upstream(url="http://stock.example/", paused=True)
CONFIGURED = {"billing": BILLING, "stock": STOCK}


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[SqliteSpool]:
    spool = await open_spool(tmp_path / "relay.db", ManualClock(RECEIVED))
    yield spool
    await spool.close()


async def test_rows_tell_what_waits_and_what_the_file_pauses(spool: SqliteSpool) -> None:
    await spool.put(verified(key="1"))
    await spool.put(verified(key="2", upstream="gone"))
    rows = await read_rows(spool, CONFIGURED, (), {"billing": True}, RECEIVED)
    told = [(row["name"], row["backlog"], row["breaker"], row["paused"]) for row in rows]
    assert told == [
        ("billing", 1, "open", False),
        ("stock", 0, None, True),
        ("gone", 1, None, False),
    ]


async def test_a_pause_and_its_end_are_told_and_noticed(spool: SqliteSpool) -> None:
    noticed: list[str] = []
    upstreams = Upstreams(
        spool,
        configured=lambda: CONFIGURED,
        endpoints=tuple,
        breakers=dict,
        changed=lambda: noticed.append("changed"),
        clock=ManualClock(RECEIVED),
    )
    assert (await upstreams.pause("billing", Actor.SESSION)).json() == {
        "upstream": "billing",
        "paused": True,
        "changed": True,
    }
    assert not (await upstreams.pause("billing", Actor.SESSION)).changed
    assert await upstreams.paused() == {"billing": True, "stock": True}
    assert [row["paused"] for row in await upstreams.rows()] == [True, True]
    assert (await upstreams.resume("billing")).json() == {
        "upstream": "billing",
        "paused": False,
        "changed": True,
    }
    assert not (await upstreams.resume("billing")).changed
    assert noticed == ["changed"] * 4


async def test_what_the_file_pauses_is_resumed_by_no_person(spool: SqliteSpool) -> None:
    done = await resume(spool, CONFIGURED, "stock")
    assert (done.paused, done.by_file) == (True, True)


async def test_an_unknown_upstream_is_not_paused_and_one_that_events_wait_for_is(
    spool: SqliteSpool,
) -> None:
    with pytest.raises(UnknownUpstream, match='no upstream named "biling"; did you mean "billing"'):
        await pause(spool, CONFIGURED, "biling", Actor.CLI, RECEIVED)
    with pytest.raises(UnknownUpstream):
        await resume(spool, CONFIGURED, "ledger")
    assert await spool.pauses.all() == {}
    await spool.put(verified(upstream="ledger"))
    assert (await pause(spool, CONFIGURED, "ledger", Actor.CLI, RECEIVED)).changed
    assert (await resume(spool, {}, "ledger")).changed
