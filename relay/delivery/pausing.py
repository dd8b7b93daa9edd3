"""Notices which upstreams are paused: read once a second, since another process may pause one."""

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from relay.core.clock import Clock
from relay.core.concurrency import first_completed
from relay.spool import SpoolBroken
from relay.spool.pauses import PauseStore

#: Seconds between two looks.
INTERVAL: Final = 1.0


class PauseWatch:
    """Reads the pauses of a spool again and again, and hands them on.

    apply: is given the names of the paused upstreams each time that they have been read.
    failed: is told why they could not be; those read before stay in force.
    """

    def __init__(
        self,
        store: PauseStore,
        clock: Clock,
        apply: Callable[[Collection[str]], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._apply = apply
        self._failed = failed
        self._asked = asyncio.Event()

    def refresh(self) -> None:
        """Read them now. Returns at once."""
        self._asked.set()

    async def run(self) -> None:
        """Read them until cancelled, the first time at once.

        Raises:
            SpoolBroken: they can never be read again.
        """
        while True:
            self._asked.clear()
            try:
                self._apply((await self._store.all()).keys())
            except SpoolBroken:
                raise
            except Exception as error:  # noqa: BLE001 - nothing else may end the delivery
                self._failed(error)
            await first_completed(self._asked.wait(), self._clock.sleep(INTERVAL))
