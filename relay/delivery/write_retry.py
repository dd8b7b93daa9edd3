"""What the spool does not write at once is tried again, for as long as its lease is held."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, Protocol

from relay.core.clock import Clock
from relay.core.errors import LeaseLost, SpoolUnavailable
from relay.core.event import Lease
from relay.core.rate_limit import backoff_pause
from relay.spool import SpoolBroken

# Back-off between tries while the spool is unavailable, in seconds.
_FIRST_PAUSE: Final = 0.1
_MAX_PAUSE: Final = 5.0


class _Observer(Protocol):
    def dispatch_error(self, upstream: str, event_id: str | None, fault: Exception) -> None: ...


class LeasedWrites:
    """Writes what came of the leases of one upstream, with tries in the pauses of a back-off."""

    def __init__(self, upstream: str, clock: Clock, observer: _Observer) -> None:
        """observer: is told of each failure."""
        self._upstream = upstream
        self._clock = clock
        self._observer = observer

    async def write(
        self,
        lease: Lease,
        write: Callable[[], Awaitable[None]],
        fault: Exception | None = None,
    ) -> bool:
        """Return whether it is written; retry until the lease expires.

        fault: how a first try has failed.

        Raises:
            Exception: unless it is `SpoolUnavailable`.
        """
        tries = 0
        while True:
            try:
                if fault is not None:
                    raise fault
                await write()
            except LeaseLost:
                return False
            except SpoolUnavailable as unavailable:
                self._observer.dispatch_error(self._upstream, lease.event.id, unavailable)
                pause = backoff_pause(_FIRST_PAUSE, _MAX_PAUSE, tries)
                tries += 1
                late = self._clock.steady() + timedelta(seconds=pause) >= lease.until
                if late or isinstance(unavailable, SpoolBroken):
                    return False
            else:
                return True
            fault = None
            await self._clock.sleep(pause)
