"""Looking again because a refused address may just have become a sender.

A provider moves a server, DNS says so, and our next look-up is minutes away: the first delivery
from the new address makes us look now. Anybody can send such a delivery, so looks are rare.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from enum import Enum, auto
from typing import Final

from relay.clock import Clock
from relay.sources import AddressSource

MOST_WAITING: Final = 64
LONGEST_WAIT: Final = 1.0


class KnockResult(Enum):
    """Whether there was a look; what it found is in the allowlist."""

    LOOKED = auto()
    LIMITED = auto()


class Knock:
    """The early look-ups of one endpoint's sources: at most one in each `interval`.

    Whoever knocks while a look is under way waits for that one, and all of them go on when it
    ends: they see the same allowlist.
    """

    def __init__(self, sources: Sequence[AddressSource], interval: timedelta, clock: Clock) -> None:
        self._sources = tuple(sources)
        self._interval = interval.total_seconds()
        self._clock = clock
        self._not_before = clock.monotonic()
        self._waiting = 0
        self._look: asyncio.Task[None] | None = None

    async def knock(self) -> KnockResult:
        """Wait for a look at every source, `LONGEST_WAIT` seconds at most.

        A look that takes longer goes on, for whoever comes next. LIMITED is answered at once: there
        was a look within the interval, or too many wait already. Raises nothing.
        """
        look = self._look
        if look is None or look.done():
            now = self._clock.monotonic()
            if now < self._not_before:
                return KnockResult.LIMITED
            self._not_before = now + self._interval
            look = self._look = asyncio.get_running_loop().create_task(self._refresh())
        elif self._waiting >= MOST_WAITING:
            return KnockResult.LIMITED
        self._waiting += 1
        try:
            await self._wait(look)
        finally:
            self._waiting -= 1
        return KnockResult.LOOKED

    async def close(self) -> None:
        """Give up the look under way, if there is one."""
        if self._look is not None:
            self._look.cancel()
            await asyncio.wait({self._look})

    async def _refresh(self) -> None:
        async with asyncio.TaskGroup() as group:
            for source in self._sources:
                group.create_task(source.refresh())

    async def _wait(self, look: asyncio.Task[None]) -> None:
        limit = asyncio.get_running_loop().create_task(self._clock.sleep(LONGEST_WAIT))
        try:
            # Unlike awaiting it, this leaves the look alone when the caller is cancelled.
            await asyncio.wait({look, limit}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            limit.cancel()
