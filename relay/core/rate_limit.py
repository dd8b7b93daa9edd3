"""Rate limits and back-off, as decisions: no clock inside, no I/O, and nothing sleeps here.

The caller brings the time, in monotonic seconds, and makes the pauses that it is given.
"""

import math
from dataclasses import dataclass
from typing import Final

#: The most reservations of one `FairRateLimiter`; each takes some hundred bytes.
MAX_RESERVATIONS: Final = 10_000

#: The shortest delay of a caller that is deferred, in seconds.
RETRY_INTERVAL: Final = 0.25

# A reservation may be used so much before it is due, and so long after that it expires; in seconds.
_TOLERANCE: Final = 0.001
_RESERVATION_TTL: Final = 60.0

# What additions of times may be wrong by, in seconds.
_ROUNDING: Final = 1e-6

# 2 to this power is more than any two pauses are apart.
_MAX_EXPONENT: Final = 64

# ---- back-off -------------------------------------------------------------------------------


def backoff_pause(first: float, longest: float, earlier: int) -> float:
    """Return the pause after so many earlier ones: `first`, doubled each time up to `longest`."""
    # The exponent is held where it no longer matters, since an outage may last.
    return min(first * 2.0 ** min(earlier, _MAX_EXPONENT), longest)


class Backoff:
    """Exponential back-off: pauses in seconds that double from `first` to `longest`.

    It holds no clock and does not sleep; the caller does.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._taken = 0

    @property
    def pause(self) -> float:
        """The pause that `next` would return."""
        return backoff_pause(self._first, self._longest, self._taken)

    def next(self) -> float:
        """Return the pause to make now, and double the one after it."""
        pause = self.pause
        self._taken += 1
        return pause

    def reset(self) -> None:
        """Start again from the first pause."""
        self._taken = 0


# ---- rate limits ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rate:
    """So many calls in so many seconds."""

    calls: int
    seconds: int

    @property
    def per_second(self) -> float:
        """How many calls that is in a second."""
        return self.calls / self.seconds

    def bucket(self, now: float) -> "TokenBucket":
        """Return a bucket that holds one second's worth of calls, at least one.

        It starts with a single one: whoever makes it anew, again and again, gets no burst by that.
        """
        return TokenBucket(self.per_second, max(1.0, self.per_second), start=now)

    def __str__(self) -> str:
        return f"{self.calls}/{_UNITS[self.seconds]}"


#: The seconds of a unit of time, and its letter.
_UNITS: Final = {1: "s", 60: "m", 3600: "h"}


class TokenBucket:
    """Token bucket: `rate` calls a second in the long run, and bursts of `burst` calls.

    burst: as many as `rate` by default, after a second without calls; at least 1.
    start: when the first call is due, in monotonic seconds. Default: it is full from the beginning.
    """

    def __init__(
        self, rate: float, burst: float | None = None, *, start: float = float("-inf")
    ) -> None:
        self._interval = 1 / rate
        self._tolerance = ((burst or rate) - 1) * self._interval
        # When the next call would be due if calls came at even intervals.
        self._next = start

    def reserve(self, now: float) -> float:
        """Reserve the next call and return the seconds until it is due.

        now: monotonic seconds.
        """
        due = max(self._next, now - self._tolerance)
        self._next = due + self._interval
        return max(0.0, due - now)

    def try_acquire(self, now: float) -> float:
        """Return 0 and reserve the next call if it is due now, or the seconds until it will be."""
        wait = self.wait(now)
        if wait == 0:
            self.reserve(now)
        return wait

    def wait(self, now: float) -> float:
        """Return the seconds until the next call is due; reserve nothing."""
        wait = self._next - now
        return wait if wait > _ROUNDING else 0.0

    def due_by(self, now: float, end: float) -> int:
        """Return how many calls are due by `end`, if none is made before."""
        first = max(self._next, now - self._tolerance)
        return max(0, math.floor((end - first + _ROUNDING) / self._interval) + 1)

    def give_back(self) -> None:
        """Take back one call that was reserved and not made."""
        self._next -= self._interval


class FairRateLimiter:
    """Fair rate limiter: a FIFO reservation per key. It returns the delay instead of sleeping.

    A key that has to wait keeps its reservation and calls again. No second sees more calls than
    twice the rate, nor the long run more than the rate, however late reservations are used.
    """

    def __init__(self, rate: int, max_reservations: int = MAX_RESERVATIONS) -> None:
        """Take the calls a second, and the most reservations that are kept."""
        self._interval = 1 / rate
        self._max_reservations = max_reservations
        self._due_times = TokenBucket(rate)
        # One more than are due at once: a reservation used a little late delays no other.
        self._calls = TokenBucket(rate, rate + 1)
        # When each key is due; the last time that was given to a late key while many were late; the
        # last that was given to a key without a reservation.
        self._reservations: dict[str, float] = {}
        self._last_late = float("-inf")
        self._last_unreserved = float("-inf")

    def acquire(self, key: str, now: float) -> float:
        """Return 0 when `key` may call now, using its reservation, or the seconds until then.

        now: monotonic seconds.
        """
        due = self._reservations.get(key)
        if due is None:
            self._expire(now)
            if len(self._reservations) >= self._max_reservations:
                # Without a reservation: told to retry one after the other, when there is room.
                last = next(reversed(self._reservations.values()))
                unreserved = max(self._last_unreserved, last, now) + self._interval
                self._last_unreserved = unreserved
                return unreserved - now
            due = now + self._due_times.reserve(now)
        if due - now <= _TOLERANCE:
            wait = self._calls.try_acquire(now)
            if wait <= 0:
                self._reservations.pop(key, None)
                return 0.0
            # Many are late, and all at once.
            due = self._last_late = max(self._last_late + self._interval, now + wait)
        self._reservations[key] = due
        return due - now

    def defer(self, key: str, now: float) -> float:
        """Move `key`, which was due, behind all others; return the seconds until it is due."""
        due = now + max(self._due_times.reserve(now), RETRY_INTERVAL)
        self._reservations[key] = due
        return due - now

    def _expire(self, now: float) -> None:
        """Drop reservations that were not used; the oldest stand first."""
        expired = []
        for key, due in self._reservations.items():
            if due >= now - _RESERVATION_TTL:
                break
            expired.append(key)
        for key in expired:
            del self._reservations[key]
