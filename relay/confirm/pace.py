"""How often an API is asked. Decisions only: the caller brings the time and does the waiting."""

from datetime import timedelta
from typing import Final

#: This many failures in a row, and the API is left alone for a while: seconds, doubling.
FAILURES: Final = 3
FIRST_REST: Final = 1.0
LONGEST_REST: Final = 60.0


class Bucket:
    """So many questions a second, and as many at once after a pause of a second. No I/O."""

    def __init__(self, rate: int) -> None:
        self._interval = 1 / rate
        self._burst = (rate - 1) * self._interval
        # When the next question would be due if every one kept its distance.
        self._next = float("-inf")

    def reserve(self, now: float, longest: float) -> float | None:
        """Take a place and return the seconds to wait for it; None, without one, if it is longer.

        now: monotonic seconds.
        """
        due = max(self._next, now - self._burst)
        wait = max(0.0, due - now)
        if wait > longest:
            return None
        self._next = due + self._interval
        return wait


class Rest:
    """Leaves an API alone that does not answer, longer each time; one question a rest tries it."""

    def __init__(self) -> None:
        self._failures = 0
        self._until = float("-inf")
        self._pause = FIRST_REST

    def left(self, now: float) -> float:
        """Return for how many seconds nothing is to be asked."""
        return max(0.0, self._until - now)

    def asked(self, now: float) -> None:
        """A question goes out. After a rest it is the only one until it is answered."""
        if self._failures >= FAILURES:
            self._until = now + self._pause

    def answered(self) -> None:
        """The API answered."""
        self._failures, self._until, self._pause = 0, float("-inf"), FIRST_REST

    def failed(self, now: float, at_least: timedelta | None = None) -> None:
        """It did not, or does not want to be asked for `at_least` so long."""
        self._failures += 1
        if self._failures >= FAILURES:
            self._until = now + self._pause
            self._pause = min(self._pause * 2, LONGEST_REST)
        if at_least is not None:
            self._until = max(self._until, now + min(at_least.total_seconds(), LONGEST_REST))
