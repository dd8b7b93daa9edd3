"""Write-behind: items are buffered and written to the spool in batches, behind the answers.

Used for the history of proxied deliveries and for kept refusals, never for what is acknowledged. No
caller waits for the spool; a crash, a dead disk or a flood loses some items, and every loss but the
crash's is reported.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, Protocol, TypeVar

from relay.core.clock import Clock
from relay.core.errors import SpoolUnavailable
from relay.spool import SpoolBroken

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Sink(Protocol[T_contra]):
    """Where the items go, and what is reported of them. Only `write` waits, and only it raises."""

    async def write(self, batch: Sequence[T_contra]) -> None:
        """Write all of these or none. The same batch may come again after a cancelled write.

        Raises:
            SpoolUnavailable: none is written, and all are kept for a later try.
            SpoolBroken: nothing can be written any more without a restart.
        """

    def delayed(self, error: SpoolUnavailable) -> None:
        """A batch could not be written now; it is tried again."""

    def failed(self, fault: Exception) -> None:
        """Writing one item raised an undeclared exception; `lost` follows."""

    def lost(self, item: T_contra, why: str) -> None:
        """An item will not be written."""

    def window_ended(self) -> None:
        """The writes of one window are over: what was counted in it may be reported."""


@dataclass(frozen=True, slots=True)
class WriteLimits:
    """How much is buffered and written at a time. Times are seconds.

    buffer: bytes that may be buffered; an item that does not fit is lost.
    batch, batch_bytes: items written at once, and bytes of them, so that a sender's own write never
        waits long behind them; one item that is longer goes alone.
    window: how long a batch gathers. per_window: the most items of one window; None for all.
    retry_interval: between tries while the spool is unavailable.
    """

    buffer: int
    batch: int
    window: float
    retry_interval: float
    per_window: int | None = None
    batch_bytes: int = 4 * 1024 * 1024


class WriteBehind(Generic[T]):
    """Buffers items and writes them in order. `run` it, and `flush` it when `run` has ended."""

    def __init__(
        self, sink: Sink[T], limits: WriteLimits, clock: Clock, size: Callable[[T], int]
    ) -> None:
        """Take the parts.

        size: returns the bytes that an item counts in the buffer; always the same for one item.
        """
        self._sink = sink
        self._limits = limits
        self._clock = clock
        self._size = size
        self._free = limits.buffer
        self._buffer: list[T] = []
        self._changed = asyncio.Event()

    def add(self, item: T) -> None:
        """Buffer an item; it is lost without room for it. Neither raises nor waits."""
        if not self._buffer:
            # Behind others, it is seen when they are written. A loss, too, ends with a window.
            self._changed.set()
        size = self._size(item)
        if size > self._free:
            self._sink.lost(item, "too much waits to be written")
            return
        self._free -= size
        self._buffer.append(item)

    async def run(self) -> None:
        """Write until cancelled; what is buffered then is left to `flush`.

        Raises:
            SpoolBroken: nothing can be written any more without a restart.
        """
        while True:
            await self._changed.wait()
            await self._clock.sleep(self._limits.window)
            self._changed.clear()
            while not await self._write_window():
                await self._clock.sleep(self._limits.retry_interval)
            if self._buffer:
                self._changed.set()

    async def flush(self) -> None:
        """Write what is buffered; what cannot be written now is lost. Raises nothing."""
        try:
            while self._buffer:
                await self._write(len(self._buffer))
        except SpoolUnavailable as error:
            for item in self._buffer:
                self._sink.lost(item, str(error))
            self._buffer.clear()
            self._free = self._limits.buffer
        self._sink.window_ended()

    async def _write_window(self) -> bool:
        """Write what is buffered now, at most `per_window` items; return whether it is written."""
        most = self._limits.per_window
        number = len(self._buffer)
        try:
            await self._write(number if most is None else min(number, most))
        except SpoolBroken:
            raise
        except SpoolUnavailable as error:
            self._sink.delayed(error)
            return False
        self._sink.window_ended()
        return True

    async def _write(self, number: int) -> None:
        """Write the oldest `number` items, in batches."""
        while number > 0:
            batch = self._buffer[: min(number, self._limits.batch)]
            sizes = [*accumulate(map(self._size, batch))]
            del batch[max(1, bisect_right(sizes, self._limits.batch_bytes)) :]
            await self._write_batch(batch)
            number -= len(batch)

    async def _write_batch(self, batch: Sequence[T]) -> None:
        """Write these, the oldest that are buffered, and take them off.

        When this is cancelled nobody knows whether they were written; to do it again is no harm.
        """
        try:
            await self._sink.write(batch)
        except SpoolUnavailable:
            raise
        except Exception as fault:  # noqa: BLE001 - one that cannot be written must not keep the others
            if len(batch) > 1:
                for item in batch:
                    await self._write_batch([item])
                return
            self._sink.failed(fault)
            self._sink.lost(batch[0], "it cannot be written")
        del self._buffer[: len(batch)]
        self._free += sum(map(self._size, batch))
