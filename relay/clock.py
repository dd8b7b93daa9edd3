"""Time, handed in.

Wall-clock time stamps what people read and what providers sign; monotonic time measures waits.
Nothing else in the package asks the operating system what time it is, so a test can hand in a
clock of its own and never sleep.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the parts that act in time are given."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC."""

    def monotonic(self) -> float:
        """Return seconds that never go backward, from an arbitrary start."""

    async def sleep(self, seconds: float) -> None:
        """Return after this many monotonic seconds."""


class SystemClock:
    """The operating system's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251 - the one place that may ask

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
