"""Leaving an upstream alone while it is down. One breaker an upstream; no clock inside.

Closed: attempts go out. Open: none do, until a pause has passed. Then one probe goes out: any
answer closes the breaker, another failure doubles the pause. After it has closed, attempts come
back step by step: each answer lets one more be under way, so that what has gathered meanwhile
does not fall on an upstream that is just getting up.
"""

from relay.core.rate_limit import Backoff

FAILURES = 10
EVENTS = 3
FIRST_PAUSE = 5.0
MAX_PAUSE = 60.0
#: How many attempts may be under way after a probe was answered, and when the ramp ends.
SLOW_START_FROM = 2
SLOW_START_TO = 64


class Breaker:
    """Counts failures to reach an upstream. Times are monotonic seconds.

    It opens after `FAILURES` in a row that concern at least `EVENTS` events, so that one event
    which the upstream chokes on cannot stop all the others.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._events: set[str] = set()
        self._backoff = Backoff(FIRST_PAUSE, MAX_PAUSE)
        self._pause = 0.0
        self._opened_at = 0.0
        self._trial: str | None = None
        self._slow_start = SLOW_START_TO

    @property
    def is_open(self) -> bool:
        """True from opening until an answer comes; also while a probe is on its way."""
        return self._pause > 0

    def permits(self, now: float, under_way: int) -> int | None:
        """Return how many more attempts may begin: 1 for a probe, or None for any number."""
        if self.is_open:
            return 0 if self._trial is not None or self.trial_in(now) > 0 else 1
        return None if self._slow_start >= SLOW_START_TO else max(0, self._slow_start - under_way)

    def trial_in(self, now: float) -> float:
        """Return the seconds until a probe may begin."""
        return max(0.0, self._opened_at + self._pause - now)

    def on_start(self, event_id: str) -> None:
        """An attempt begins. While open this is the probe."""
        if self.is_open:
            self._trial = event_id

    def record_success(self) -> None:
        """The upstream answered, whatever it said: it is there."""
        self._slow_start = (
            SLOW_START_FROM if self.is_open else min(self._slow_start + 1, SLOW_START_TO)
        )
        self._failures, self._pause, self._trial = 0, 0.0, None
        self._events.clear()
        self._backoff.reset()

    def record_failure(self, event_id: str, now: float) -> None:
        """An attempt ended without an answer."""
        if self.is_open:
            # Attempts that were in flight when it opened fail late; only the probe counts.
            if event_id == self._trial:
                self._open(now)
            return
        self._failures += 1
        if len(self._events) < EVENTS:
            self._events.add(event_id)
        if self._failures >= FAILURES and len(self._events) >= EVENTS:
            self._open(now)

    def ignore(self, event_id: str) -> None:
        """An attempt ended for a reason of ours and says nothing about the upstream."""
        if event_id == self._trial:
            self._trial = None

    def _open(self, now: float) -> None:
        self._pause, self._opened_at, self._trial = self._backoff.next(), now, None
