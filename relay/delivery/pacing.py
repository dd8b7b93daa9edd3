"""Holds the starts of attempts to the rate of their upstream, without polling."""

import asyncio
from collections.abc import Callable
from typing import Final

from relay.core.clock import Clock
from relay.core.rate_limit import TokenBucket

#: Leases are taken for what may start within so many seconds. Whatever has to wait longer does so
#: in the spool, where no lease of it expires.
LOOKAHEAD: Final = 1.0


class Pacer:
    """Tells the worker of one upstream how many leases it may take, and when one may start."""

    def __init__(self, bucket: TokenBucket, clock: Clock, on_due: Callable[[], None]) -> None:
        """bucket: outlasts the worker. on_due: called when an attempt may start after all."""
        self._bucket = bucket
        self._clock = clock
        self._on_due = on_due
        # Sleeps until this monotonic time.
        self._timer: asyncio.Task[None] | None = None
        self._due = 0.0

    @property
    def is_held(self) -> bool:
        """Whether the rate lets no attempt start now."""
        return self._bucket.wait(self._clock.monotonic()) > 0

    def room(self, waiting: int, *, ahead: bool) -> int:
        """Return how many more leases may be taken, besides the `waiting` that have not started.

        None while more than half of what may start soon is leased: so a backlog is claimed twice
        a second at most, not once for each attempt.

        ahead: whether a lease may wait for its time; else only what may start now counts.
        """
        now = self._clock.monotonic()
        soon = self._bucket.due_by(now, now + LOOKAHEAD * ahead)
        return 0 if 2 * waiting > soon else soon - waiting

    def wait_for_room(self, *, ahead: bool) -> float:
        """Return the seconds until there is room, where nothing is leased that waits."""
        return max(0.0, self._bucket.wait(self._clock.monotonic()) - LOOKAHEAD * ahead)

    def may_start(self) -> bool:
        """Return whether an attempt may start now; if not, `on_due` is called when one may."""
        now = self._clock.monotonic()
        wait = self._bucket.wait(now)
        if wait == 0:
            return True
        if self._timer is None or now + wait < self._due:
            self.close()
            self._due = now + wait
            self._timer = asyncio.get_running_loop().create_task(self._call_back(wait))
        return False

    def start(self) -> None:
        """Count an attempt that starts now."""
        self._bucket.reserve(self._clock.monotonic())

    def close(self) -> None:
        """Call back no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _call_back(self, wait: float) -> None:
        await self._clock.sleep(wait)
        self._timer = None
        self._on_due()
