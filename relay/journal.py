"""Writing down what was passed on, behind the answers: never before one, and never instead of one.

It is history for people, not a promise to a sender. What a crash, a dead disk or a flood leaves
unwritten is lost; everything but the crash is counted and logged.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import islice

from relay.clock import Clock
from relay.errors import SpoolUnavailable
from relay.model import Passed
from relay.spool import Spool, SpoolBroken
from relay.telemetry import Telemetry

#: What may wait to be written. Each delivery counts with its body, and this much for the rest.
_ROOM = 64 * 1024 * 1024
_REST = 4096

#: The most that is written at once, so that a sender's own write never waits long behind it.
_TOGETHER = 200

#: Seconds in which a batch gathers, and between tries while the spool is unavailable.
_GATHERING = 0.05
_PAUSE = 1.0


class Journal:
    """Records deliveries that were passed on, in batches. `run` it, and `flush` it at the end."""

    def __init__(
        self, spool: Spool, *, clock: Clock, telemetry: Telemetry, room: int = _ROOM
    ) -> None:
        """Take the parts. `room`: bytes that may wait."""
        self._spool = spool
        self._clock = clock
        self._telemetry = telemetry
        self._room = room
        self._waiting: deque[Passed] = deque()
        self._more = asyncio.Event()

    def note(self, passed: Passed) -> None:
        """Take this to be written; without room for it, it is lost. Neither raises nor waits."""
        if _size(passed) > self._room:
            self._lose(passed, "too much waits to be written")
            return
        self._room -= _size(passed)
        self._waiting.append(passed)
        self._more.set()

    async def run(self) -> None:
        """Write until cancelled; what waits then is left to `flush`.

        Raises:
            SpoolBroken: nothing can be written any more without a restart.
        """
        while True:
            await self._more.wait()
            await self._clock.sleep(_GATHERING)
            while self._waiting:
                try:
                    await self._write(self._batch())
                except SpoolBroken:
                    raise
                except SpoolUnavailable as error:
                    self._telemetry.log.warning("history_delayed", detail=str(error))
                    await self._clock.sleep(_PAUSE)
            self._more.clear()

    async def flush(self) -> None:
        """Write what waits; what cannot be written now is lost. Call it when `run` has ended."""
        try:
            while self._waiting:
                await self._write(self._batch())
        except SpoolUnavailable as error:
            for passed in self._waiting:
                self._lose(passed, str(error))
            self._waiting.clear()

    def _batch(self) -> list[Passed]:
        return list(islice(self._waiting, _TOGETHER))

    async def _write(self, batch: Sequence[Passed]) -> None:
        """Record these, the oldest that wait, and take them off.

        When this is cut short nobody knows whether they were recorded; to do it again is no harm.
        """
        try:
            await self._spool.record(batch)
        except SpoolUnavailable:
            raise
        except Exception as fault:  # noqa: BLE001 - one that cannot be written must not keep the others
            if len(batch) > 1:
                for each in batch:
                    await self._write([each])
                return
            self._telemetry.log.fault("history_fault", fault)
            self._lose(batch[0], "it cannot be written")
        for _ in batch:
            self._room += _size(self._waiting.popleft())

    def _lose(self, passed: Passed, why: str) -> None:
        delivery = passed.delivery
        self._telemetry.unrecorded(delivery.delivery.endpoint, delivery.event_id, why)


def _size(passed: Passed) -> int:
    return len(passed.delivery.delivery.body) + _REST
