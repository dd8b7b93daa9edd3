"""Time, handed in.

Wall-clock time stamps what people read and what providers sign; monotonic time measures waits.
Steady time is for what is written down and waited for: it reads like the one and runs like the
other, so that an operator or NTP setting the clock neither bursts retries nor stalls them.
Nothing else in the package asks the operating system what time it is, so a test can hand in a
clock of its own and never sleep.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_SINCE_BOOT: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True, slots=True)
class Epoch:
    """When steady time began, in the life of a machine between two starts.

    boot: names that life.
    """

    boot: str
    began: datetime


class Clock(Protocol):
    """What the parts that act in time are given."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC."""

    def monotonic(self) -> float:
        """Return seconds that never go backward, from an arbitrary start."""

    def steady(self) -> datetime:
        """Return the time as it was at the epoch, carried on by a clock that nobody sets."""

    def epoch(self) -> "Epoch | None":
        """Return what steady time is reckoned by; None when no other process could do so."""

    def adopt(self, epoch: "Epoch") -> None:
        """Reckon steady time by this from now on, as other processes of this machine do."""

    async def sleep(self, seconds: float) -> None:
        """Return after this many monotonic seconds."""


class SystemClock:
    """The operating system's clocks."""

    def __init__(self) -> None:
        self._began = self.now() - timedelta(seconds=_since_boot())

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251 - the one place that may ask

    def monotonic(self) -> float:
        return time.monotonic()

    def steady(self) -> datetime:
        return self._began + timedelta(seconds=_since_boot())

    def epoch(self) -> Epoch | None:
        try:
            boot = _BOOT.read_text().strip()
        except OSError:
            # Only Linux tells.
            return None
        return Epoch(boot, self._began)

    def adopt(self, epoch: Epoch) -> None:
        self._began = epoch.began

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _since_boot() -> float:
    """Return seconds that all processes of a machine count alike, its sleep included on Linux."""
    return time.clock_gettime(_SINCE_BOOT)
