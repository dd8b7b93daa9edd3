"""Whatever is done to events with several upstreams or none, in any order, what is told fits."""

from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from relay.core.errors import LeaseLost
from relay.core.event import (
    AttemptResult,
    Dead,
    Decision,
    Delivered,
    Done,
    Held,
    Lease,
    Rejected,
    RetryAt,
    Status,
    Unconfirmed,
)
from relay.core.request import Keep
from relay.spool.history import Query
from relay.spool.sqlite import SqliteSpool, database, open_spool
from tests.contracts.spool import LEASE, CountingHandoff
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.conftest import PATIENCE
from tests.spool.sqlite.filling import miscounted

UPSTREAMS = ("audit", "billing", "ledger")

ENDS: list[tuple[Decision, AttemptResult]] = [
    (Done(), Delivered(200)),
    (Done(), Delivered(200)),
    (Dead(), Rejected(500)),
    (Held(), Unconfirmed("not found")),
    (RetryAt(RECEIVED), Rejected(503)),
]

QUERIES = [
    Query(status=Status.DEAD),
    Query(status=Status.DELIVERED),
    Query(upstream="ledger"),
    Query(key="3"),
]


class Acts:
    """Everything that is done to a spool, by dice."""

    def __init__(self, spool: SqliteSpool, clock: ManualClock, dice: Random) -> None:
        self._spool, self._clock, self._dice = spool, clock, dice
        self._leases: list[Lease] = []
        self._handoffs: dict[str, CountingHandoff] = {}
        self.all: list[Callable[[], Awaitable[None]]] = [
            *[self.put] * 5,
            *[self.claim] * 3,
            *[self.settle] * 3,
            *(self.requeue, self.wait, self.subscribe, self.remove),
        ]

    async def put(self) -> None:
        dice = self._dice
        upstreams = dice.sample(UPSTREAMS, dice.choice((0, 1, 1, 2, 2, 3)))
        event = verified(
            key=str(dice.randrange(8)),
            subject=dice.choice((None, "1", "2")),
            body=dice.choice((b"1", b"1", b"1", b"2")),
            upstreams=tuple(upstreams),
            received_at=self._clock.now(),
        )
        keep = dice.choice((Keep.ALL, Keep.ALL, Keep.HEADERS, Keep.NONE))
        await self._spool.put(replace(event, keep=keep, reconciled=dice.random() < 0.05))

    async def claim(self) -> None:
        upstream, ordered = self._dice.choice(UPSTREAMS), self._dice.random() < 0.3
        if (handoff := self._handoffs.pop(upstream, None)) is not None:
            self._spool.subscribe(upstream, None)
            self._leases += handoff.taken
        limit = self._dice.randint(1, 4)
        claimed = await self._spool.claim(upstream, limit, LEASE, ordered=ordered)
        self._leases += claimed.leases

    async def settle(self) -> None:
        if self._leases:
            lease = self._leases.pop(self._dice.randrange(len(self._leases)))
            decision, outcome = self._dice.choice(ENDS)
            # It may have expired, or have been refused.
            with suppress(LeaseLost):
                if self._dice.random() < 0.1:
                    await self._spool.release(lease)
                else:
                    await self._spool.settle(lease, decision, outcome)

    async def requeue(self) -> None:
        query, to = self._dice.choice(QUERIES), self._dice.choice((None, None, "audit", "ledger"))
        counted = await self._spool.requeueable(query, to=to)
        done = await self._spool.requeue(query, to=to)
        assert counted.events == len(done.ids)

    async def wait(self) -> None:
        await self._clock.advance(self._dice.choice((1, 40, 70)))

    async def subscribe(self) -> None:
        upstream = self._dice.choice(UPSTREAMS)
        handoff = CountingHandoff(3, refuses=self._dice.random() < 0.3)
        if self._handoffs.setdefault(upstream, handoff) is handoff:
            self._spool.subscribe(upstream, handoff)

    async def remove(self) -> None:
        records = (await self._spool.page(Query())).records
        if records and self._dice.random() < 0.5:
            event_id, undelivered = self._dice.choice(records).id, self._dice.random() < 0.5
            await self._spool.erasure.erase([event_id], [], undelivered=undelivered)
        else:
            await self._spool.prune(RECEIVED + timedelta(minutes=5), RECEIVED, 2)


async def check(spool: SqliteSpool, path: Path) -> None:
    """Return if what is told of events fits what lies there."""
    await spool.probe()
    # What a handoff has refused is given back behind the answer, in the lane of claims.
    await spool.claim("nobody", 1, LEASE, ordered=False)
    with closing(database.open_reading(path, PATIENCE)) as connection:
        assert miscounted(connection) == []
    assert await spool.check_integrity() == ()
    records = (await spool.page(Query())).records
    for status in (Status.DEAD, Status.HELD, Status.LEASED, Status.PENDING, Status.DELIVERED):
        wanted = {each.id for each in records for one in each.destinations if one.status is status}
        if status is Status.DELIVERED:
            wanted |= {each.id for each in records if not each.destinations}
        listed = [each.id for each in (await spool.page(Query(status=status))).records]
        assert len(listed) == len(wanted)
        assert {*listed} == wanted
    for each in records:
        assert not each.damaged
        assert len({one.upstream for one in each.destinations}) == len(each.destinations)


async def play(path: Path, seed: int, acts: int) -> None:
    clock, dice = ManualClock(RECEIVED), Random(seed)
    spool = await open_spool(path, clock)
    every = Acts(spool, clock, dice)
    for number in range(acts):
        await dice.choice(every.all)()
        if number % 8 == 7:
            await check(spool, path)
    await spool.close()


@pytest.mark.parametrize("seed", range(3))
async def test_what_is_told_fits(path: Path, seed: int) -> None:
    await play(path, seed, 80)


@pytest.mark.proof
@pytest.mark.parametrize("seed", range(100, 120))
async def test_what_is_told_fits_in_many_more_ways(path: Path, seed: int) -> None:
    await play(path, seed, 300)
