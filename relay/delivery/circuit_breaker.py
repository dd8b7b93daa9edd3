"""Circuit breaker: stop calling a service that fails, try again after a pause. No I/O, no clock.

Closed: attempts go out. Open: none do until a pause has passed. Half-open: one trial goes out; any
answer closes the breaker, another failure doubles the pause. A closed breaker may be in slow start,
where each answer lets one more attempt be under way, so that what has gathered meanwhile does not
fall on a service that is just getting up.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from relay.core.rate_limit import Backoff


@dataclass(frozen=True, slots=True)
class SlowStart:
    """The limit on attempts under way after a breaker has closed.

    It is `first`, grows by one with each answer, and ends at `full`.
    """

    first: int
    full: int


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens, and how it closes again. Times are seconds.

    failures, events: so many failures in a row, of at least so many different events, open it.
        With several events, one that the service chokes on cannot stop all the others.
    first_pause, longest_pause: how long it stays open. A Retry-After counts for no longer either.
    exclusive_trial: a trial goes on until its end is recorded, and while the breaker is open no
        other failure lengthens the pause. Otherwise another trial may start when the next pause
        has passed, and every failure lengthens it.
    slow_start: None for no limit once the breaker has closed.
    """

    failures: int
    events: int
    first_pause: float
    longest_pause: float
    exclusive_trial: bool
    slow_start: SlowStart | None


#: Ten failures in a row, of at least three events, open the breaker of an upstream.
UPSTREAM_BREAKER: Final = BreakerPolicy(
    failures=10,
    events=3,
    first_pause=5.0,
    longest_pause=60.0,
    exclusive_trial=True,
    slow_start=SlowStart(first=2, full=64),
)

#: Three failures in a row open the breaker of an API; a Retry-After pauses it.
STATUS_API_BREAKER: Final = BreakerPolicy(
    failures=3,
    events=1,
    first_pause=1.0,
    longest_pause=60.0,
    exclusive_trial=False,
    slow_start=None,
)


class CircuitBreaker:
    """Counts failures to reach one service.

    Times are seconds of one clock that never goes backward, whichever its start.
    """

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._backoff = Backoff(policy.first_pause, policy.longest_pause)
        self._failures = 0
        self._events: set[str] = set()
        #: True from opening until an answer comes; also while a trial is under way.
        self.is_open = False
        self._paused_until = float("-inf")
        self._trial: str | None = None
        # How many attempts may be under way in slow start; None without a limit.
        self._limit: int | None = None
        #: Whether any number of attempts may start: closed, without slow start or a pause.
        self.is_unlimited = True

    def permits(self, now: float, under_way: int) -> int | None:
        """Return how many more attempts may start: 1 for a trial, or None for any number."""
        if self.paused_for(now) > 0:
            return 0
        if self.is_open:
            return 1 if self._trial is None else 0
        return None if self._limit is None else max(0, self._limit - under_way)

    def paused_for(self, now: float) -> float:
        """Return the seconds for which no attempt may start."""
        return max(0.0, self._paused_until - now)

    def on_start(self, event_id: str, now: float) -> None:
        """An attempt starts. While the breaker is open it is the trial."""
        if not self.is_open:
            return
        if self._policy.exclusive_trial:
            self._trial = event_id
        else:
            self._paused_until = now + self._backoff.pause

    def record_success(self) -> None:
        """Close: the service answered, whatever its answer."""
        if self.is_unlimited and not self._failures:
            return
        slow_start = self._policy.slow_start
        if slow_start is not None and self.is_open:
            self._limit = slow_start.first
        elif slow_start is not None and self._limit is not None:
            self._limit = self._limit + 1 if self._limit + 1 < slow_start.full else None
        if self.is_open:
            self._backoff.reset()
        self.is_open, self._paused_until, self._trial = False, float("-inf"), None
        self._failures = 0
        self._events.clear()
        self.is_unlimited = self._limit is None

    def record_failure(
        self, event_id: str, now: float, retry_after: timedelta | None = None
    ) -> None:
        """An attempt ended without an answer, or the service asks for a pause of `retry_after`."""
        if self.is_open:
            # Attempts that were in flight when it opened may fail late.
            if event_id == self._trial or not self._policy.exclusive_trial:
                self._open(now)
        else:
            self._failures += 1
            if len(self._events) < self._policy.events:
                self._events.add(event_id)
            enough = len(self._events) >= self._policy.events
            if enough and self._failures >= self._policy.failures:
                self._open(now)
        if retry_after is not None:
            pause = min(retry_after.total_seconds(), self._policy.longest_pause)
            self._paused_until = max(self._paused_until, now + pause)
            self.is_unlimited = False

    def ignore(self, event_id: str) -> None:
        """An attempt ended for a reason of ours and says nothing about the service."""
        if event_id == self._trial:
            self._trial = None

    def _open(self, now: float) -> None:
        self.is_open, self._trial, self.is_unlimited = True, None, False
        self._paused_until = now + self._backoff.next()
