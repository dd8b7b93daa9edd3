"""Spools that were in use for a while: what waits in them, and what may be removed."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Final

from relay.core.clock import SystemClock
from relay.core.event import Delivered, Done
from relay.core.ids import event_ids
from relay.spool.sqlite import SqliteSpool, open_spool
from tests.harness.deliveries import verified

_AT_ONCE: Final = 1000
_LEASE: Final = timedelta(minutes=1)
_PADDING: Final = "x" * 1300
_numbers: Iterator[int] = count()


def fill(path: Path, waiting: int = 0, settled: tuple[tuple[int, timedelta], ...] = ()) -> None:
    """Put events of the usual size into the spool in this file, which is made if need be.

    waiting: how many wait for delivery. settled: how many were delivered, and how long ago.
    """
    asyncio.run(_fill(path, waiting, settled))


async def _fill(path: Path, waiting: int, settled: tuple[tuple[int, timedelta], ...]) -> None:
    clock = SystemClock()
    spool = await open_spool(path, clock)
    try:
        await spool.recover(timedelta(days=1))
        for number, age in settled:
            await _put(spool, number, clock.now() - age)
            await _settle(spool)
        await _put(spool, waiting, clock.now())
    finally:
        await spool.close()


async def _put(spool: SqliteSpool, number: int, received_at: datetime) -> None:
    new_id = event_ids()
    left = iter(range(number))

    async def store() -> None:
        for _ in left:
            name = f"kept-{next(_numbers):012d}"
            body = f'{{"order_id": "{name}", "padding": "{_PADDING}"}}'.encode()
            event = verified(
                key=name,
                subject=name,
                body=body,
                received_at=received_at,
                event_id=new_id(received_at),
            )
            await spool.put(event)

    await asyncio.gather(*(store() for _ in range(_AT_ONCE)))


async def _settle(spool: SqliteSpool) -> None:
    while leases := (await spool.claim("billing", _AT_ONCE, _LEASE, ordered=False)).leases:
        await asyncio.gather(*(spool.settle(each, Done(), Delivered(200)) for each in leases))
