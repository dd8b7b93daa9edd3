"""Clocks, handed in: wall, monotonic and steady time.

Wall-clock time stamps what people read and what providers sign; monotonic time measures waits.
Steady time is for what is written down and waited for: it reads like the one and runs like the
other, so that an operator or NTP setting the clock neither bursts retries nor stalls them.
Nothing else in the package asks the operating system what time it is, so a test hands in a clock
of its own and never sleeps.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Final, Protocol

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_SINCE_BOOT: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True, slots=True)
class Epoch:
    """The wall-clock time at which steady time started.

    boot: names the time between two starts of the machine in which it counts.
    """

    boot: str
    began: datetime


class Clock(Protocol):
    """Reads the time and sleeps. Implemented by `SystemClock`; tests have one of their own."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC."""

    def monotonic(self) -> float:
        """Return seconds that never go backward, from an arbitrary start."""

    def steady(self) -> datetime:
        """Return the epoch plus the time since then; setting the wall clock has no effect on it."""

    def epoch(self) -> "Epoch | None":
        """Return the epoch of steady time; None where other processes cannot share it."""

    def adopt(self, epoch: "Epoch") -> None:
        """Use this epoch from now on, as other processes of this machine do."""

    async def sleep(self, seconds: float) -> None:
        """Return after this many monotonic seconds."""


class SystemClock:
    """The operating system's clocks."""

    def __init__(self) -> None:
        self._began = self.now() - timedelta(seconds=_since_boot())

    # Without a function of ours around them: each delivery reads both several times.
    now = staticmethod(partial(datetime.now, UTC))  # noqa: TID251 - the one place that may ask
    monotonic = staticmethod(time.monotonic)

    def steady(self) -> datetime:
        # As `_since_boot`, and without keywords: each attempt reads it several times.
        return self._began + timedelta(0, time.clock_gettime(_SINCE_BOOT))

    def epoch(self) -> Epoch | None:
        try:
            boot = _BOOT.read_text().strip()
        except OSError:
            # Only Linux has this file.
            return None
        return Epoch(boot, self._began)

    def adopt(self, epoch: Epoch) -> None:
        self._began = epoch.began

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _since_boot() -> float:
    """Return seconds that all processes of a machine count alike, its sleep included on Linux."""
    return time.clock_gettime(_SINCE_BOOT)


# A request outward and a line of the log spell a time each, and `isoformat` takes a microsecond.
@lru_cache(maxsize=64)
def spelled_second(timestamp: int) -> str:
    """Return a second since 1970 in UTC, as in `2026-01-05T12:00:00`."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%S")
