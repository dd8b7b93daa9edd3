"""Deliveries by hour: what telemetry counts is written to the spool every few seconds.

Only differences of its counters are taken, so that a delivery costs nothing more.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from relay.core.clock import Clock
from relay.core.errors import SpoolUnavailable
from relay.spool import SpoolBroken
from relay.spool.activity import Activity, ActivityStore, hour_of
from relay.telemetry import Telemetry

#: Seconds between writes: what a crash loses, and how far off an hour may be.
INTERVAL: Final = 10.0


class ActivityRecorder:
    """Writes what is counted: `run` it, and `flush` it when `run` has ended."""

    def __init__(self, store: ActivityStore, telemetry: Telemetry, clock: Clock) -> None:
        self._store = store
        self._telemetry = telemetry
        self._clock = clock
        # What is in the store of the numbers that telemetry has, and of its times.
        self._written: dict[tuple[str, str], int] = {}
        self._last: dict[str, datetime] = {}
        # Held while either may change, so that nothing is read twice or not at all.
        self._lock = asyncio.Lock()
        self._writing: asyncio.Task[SpoolUnavailable | None] | None = None

    async def run(self) -> None:
        """Write until cancelled.

        Raises:
            SpoolBroken: nothing can be written any more without a restart.
        """
        while True:
            await self._clock.sleep(INTERVAL)
            # A write that is cancelled may be done all the same, and would be done again: it goes
            # on, and `flush` waits for it.
            self._writing = asyncio.get_running_loop().create_task(self._write())
            error = await asyncio.shield(self._writing)
            if isinstance(error, SpoolBroken):
                raise error

    async def flush(self) -> None:
        """Write what is counted by now; what cannot be written is lost. Raises nothing."""
        await self._write()

    async def since(self, hour: datetime) -> tuple[Activity, ...]:
        """Return what is counted of this hour and those after it, written or not.

        Raises:
            SpoolUnavailable: the store cannot be read.
        """
        async with self._lock:
            written = await self._store.since(hour)
            return (*written, *self._unwritten())

    async def last_deliveries(self) -> Mapping[str, datetime]:
        """Return when each endpoint has last received what was taken.

        Raises:
            SpoolUnavailable: the store cannot be read.
        """
        async with self._lock:
            # Another process may have received later than this one.
            last = {**await self._store.last_deliveries()}
            for name, at in self._telemetry.last_deliveries().items():
                last[name] = max(at, last.get(name, at))
            return last

    async def _write(self) -> SpoolUnavailable | None:
        """Write what is counted; return why it could not be. Then it is written with what comes."""
        async with self._lock:
            counted, last = self._unwritten(), self._telemetry.last_deliveries()
            later = {name: at for name, at in last.items() if self._last.get(name) != at}
            if not counted and not later:
                return None
            try:
                await self._store.add(counted, later)
            except SpoolUnavailable as error:
                self._telemetry.activity_unwritten(str(error))
                return error
            for each in counted:
                at = (each.endpoint, each.verdict)
                self._written[at] = self._written.get(at, 0) + each.deliveries
            self._last = last
            self._telemetry.activity_written()
            return None

    def _unwritten(self) -> list[Activity]:
        hour, written = hour_of(self._clock.now()), self._written
        return [
            Activity(hour, endpoint, verdict, number - before)
            for endpoint, verdict, number in self._telemetry.deliveries()
            if number > (before := written.get((endpoint, verdict), 0))
        ]
