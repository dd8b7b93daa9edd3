"""One sweep for the deadlines of all connections, instead of a timer for each.

What falls due in the same moment, because a thousand senders stalled together, is dealt with a few
connections at a time, so that the event loop goes on with everything else meanwhile.
"""

import asyncio
from typing import Final, Protocol

from relay.core.clock import Clock

#: Seconds between two sweeps: a deadline is kept at most so much late.
INTERVAL: Final = 0.25

#: Overdue connections that are dealt with in one iteration of the event loop.
BATCH_SIZE: Final = 4

#: A connection without a deadline.
NEVER: Final = float("inf")


class Deadlined(Protocol):
    """A connection that is swept. `due`: monotonic time when something must have happened."""

    due: float

    def expire(self, now: float) -> None:
        """Act on a deadline that has passed. `due` lies behind `now` when this returns."""


class Sweep:
    """The connections that are swept.

    idle_due: when a connection that falls idle now is to be closed; renewed by each sweep.
    """

    def __init__(self, clock: Clock, keepalive: float) -> None:
        """Take the clock of all deadlines, and for how many seconds an idle connection is kept."""
        self._clock = clock
        self._keepalive = keepalive
        self._connections: set[Deadlined] = set()
        self.now = clock.monotonic
        self.idle_due = self.now() + keepalive

    def add(self, connection: Deadlined) -> None:
        """Sweep this connection, too."""
        self._connections.add(connection)

    def remove(self, connection: Deadlined) -> None:
        """Sweep this connection no more. One that is not swept is skipped."""
        self._connections.discard(connection)

    async def run(self) -> None:
        """Sweep periodically, until cancelled."""
        while True:
            await self._clock.sleep(INTERVAL)
            await self.sweep()

    async def sweep(self) -> None:
        """Expire what is overdue, a few connections in each iteration of the event loop."""
        now = self.now()
        self.idle_due = now + self._keepalive
        overdue = [each for each in self._connections if each.due <= now]
        for number, each in enumerate(overdue, 1):
            # Meanwhile it may have gone on, or ended.
            if each.due <= now and each in self._connections:
                each.expire(now)
            if not number % BATCH_SIZE:
                await asyncio.sleep(0)
