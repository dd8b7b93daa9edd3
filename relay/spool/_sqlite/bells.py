"""Waking those who wait for work of an upstream."""

import asyncio

from relay.clock import Clock


class Bells:
    """One bell an upstream, rung when there is new work and silenced by looking for it.

    It is silenced before the look, so work that arrives meanwhile rings again and is not missed.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._bells: dict[str, asyncio.Event] = {}

    def ring(self, upstream: str) -> None:
        """Wake everyone who waits for this upstream."""
        self._bell(upstream).set()

    def silence(self, upstream: str) -> None:
        """Begin to look for work."""
        self._bell(upstream).clear()

    async def wait(self, upstream: str, seconds: float) -> None:
        """Return when it rings, at once if it is ringing, at most after `seconds`."""
        bell = self._bell(upstream)
        if bell.is_set() or seconds <= 0:
            return
        async with asyncio.TaskGroup() as group:
            rung = group.create_task(bell.wait())
            late = group.create_task(self._clock.sleep(seconds))
            await asyncio.wait((rung, late), return_when=asyncio.FIRST_COMPLETED)
            rung.cancel()
            late.cancel()

    def _bell(self, upstream: str) -> asyncio.Event:
        return self._bells.setdefault(upstream, asyncio.Event())
