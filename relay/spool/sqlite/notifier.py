"""Waking workers that wait for events of an upstream."""

import asyncio

from relay.core.clock import Clock


class Notifier:
    """One flag for each upstream: set when there is something to claim, cleared by a claim.

    It is cleared before the claim, so an event that arrives meanwhile sets it again.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: dict[str, asyncio.Event] = {}

    def notify(self, upstream: str) -> None:
        """Set the flag of this upstream, and wake every waiter."""
        self._event(upstream).set()

    def clear(self, upstream: str) -> None:
        """Clear the flag of this upstream; call it before a claim."""
        self._event(upstream).clear()

    async def wait(self, upstream: str, seconds: float) -> None:
        """Return when the flag is set, at the latest after `seconds`."""
        flag = self._event(upstream)
        if flag.is_set() or seconds <= 0:
            return
        async with asyncio.TaskGroup() as group:
            notified = group.create_task(flag.wait())
            timeout = group.create_task(self._clock.sleep(seconds))
            await asyncio.wait((notified, timeout), return_when=asyncio.FIRST_COMPLETED)
            notified.cancel()
            timeout.cancel()

    def _event(self, upstream: str) -> asyncio.Event:
        return self._events.setdefault(upstream, asyncio.Event())
