"""Lines about a state that lasts: one when it changes, then one a minute with a count."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

_INTERVAL: Final = timedelta(minutes=1)


class RepeatedState:
    """Decides which observations of named states are worth a line. `good` is the usual state."""

    def __init__(self, now: Callable[[], datetime], good: str) -> None:
        self._now = now
        self._good = good
        # By name, while its state is not the good one: state, time of its last line, and how many
        # observations of this state there were since that line.
        self._bad: dict[str, tuple[str, datetime, int]] = {}

    def observe(self, name: str, state: str) -> int | None:
        """Return how many observations a line about this one stands for; None for no line.

        A new state has a line at once, and so has the return to the good one; the same bad state
        has one a minute. A clock that is set back makes a line more.
        """
        before = self._bad.get(name)
        if state == self._good:
            return None if self._bad.pop(name, None) is None else 1
        now = self._now()
        if before is not None and before[0] == state:
            _, said_at, number = before
            if timedelta() <= now - said_at < _INTERVAL:
                self._bad[name] = (state, said_at, number + 1)
                return None
            self._bad[name] = (state, now, 0)
            return number + 1
        self._bad[name] = (state, now, 0)
        return 1
