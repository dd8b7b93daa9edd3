"""How often an API is asked. Decisions only: the caller brings the time and does the waiting."""

from typing import Final

#: For how many events a place is kept at a time; each takes some hundred bytes.
MAX_RESERVATIONS: Final = 10_000

#: How long who finds every desk taken stays away at least, in seconds.
RETRY_INTERVAL: Final = 0.25

# 2 to this power is more than any two pauses are apart.
_MAX_EXPONENT: Final = 64

# So much before its time a turn may be taken, and so long after it is kept, in seconds.
_TOLERANCE: Final = 0.001
_RESERVATION_TTL: Final = 60.0


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


class TokenBucket:
    """So many questions a second, and as many at once after a pause of a second. No I/O."""

    def __init__(self, rate: int, at_once: int | None = None) -> None:
        self._interval = 1 / rate
        self._burst = ((at_once or rate) - 1) * self._interval
        # When the next question would be due if every one kept its distance.
        self._next = float("-inf")

    def reserve(self, now: float) -> float:
        """Take a place and return the seconds to wait for it.

        now: monotonic seconds.
        """
        due = max(self._next, now - self._burst)
        self._next = due + self._interval
        return max(0.0, due - now)

    def try_acquire(self, now: float) -> float:
        """Take a place that is free now and return 0; else take none, and return when one is."""
        wait = max(0.0, self._next - now)
        if wait == 0:
            self.reserve(now)
        return wait


class FairRateLimiter:
    """Whose turn it is to ask: first come, first served, and nobody waits here. No I/O.

    Who has to wait is told when to come again, and finds its place kept. Never are there more
    questions in a second than twice the rate, nor in the long run more than the rate, however
    late those come that have a place.
    """

    def __init__(self, rate: int, most: int = MAX_RESERVATIONS) -> None:
        """Take the questions a second, and for how many a place is kept."""
        self._interval = 1 / rate
        self._max_reservations = most
        self._starts = TokenBucket(rate)
        # One more than there are places at once: who comes a little late holds up nobody.
        self._questions = TokenBucket(rate, rate + 1)
        # When it is whose turn; the last place that went to somebody who came when too many did;
        # and when those are told to come again for whom no place is kept.
        self._reservations: dict[str, float] = {}
        self._crowd = float("-inf")
        self._others = float("-inf")

    def acquire(self, who: str, now: float) -> float:
        """Return 0 where it is the turn of `who`, which takes it; else in how many seconds it is.

        now: monotonic seconds.
        """
        due = self._reservations.get(who)
        if due is None:
            self._expire(now)
            if len(self._reservations) >= self._max_reservations:
                # They come again one after the other, when there is room for them.
                last = next(reversed(self._reservations.values()))
                self._others = max(self._others, last, now) + self._interval
                return self._others - now
            due = now + self._starts.reserve(now)
        if due - now <= _TOLERANCE:
            wait = self._questions.try_acquire(now)
            if wait <= 0:
                self._reservations.pop(who, None)
                return 0.0
            # Many come late, and all at once.
            due = self._crowd = max(self._crowd + self._interval, now + wait)
        self._reservations[who] = due
        return due - now

    def defer(self, who: str, now: float) -> float:
        """Let `who`, whose turn it was, wait behind all others; return for how many seconds."""
        due = now + max(self._starts.reserve(now), RETRY_INTERVAL)
        self._reservations[who] = due
        return due - now

    def _expire(self, now: float) -> None:
        """Keep no place for those who did not come; the first that were given one come first."""
        gone = []
        for who, due in self._reservations.items():
            if due >= now - _RESERVATION_TTL:
                break
            gone.append(who)
        for who in gone:
            del self._reservations[who]
