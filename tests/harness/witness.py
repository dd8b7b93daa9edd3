"""What the outbound half has told, and a way to wait for it."""

import asyncio
from collections.abc import Callable

from relay.core.event import AttemptRecord


class RecordingObserver:
    """Passes as `relay.delivery.attempt.Observer`."""

    def __init__(self) -> None:
        self.attempts: list[AttemptRecord] = []
        self.faults: list[tuple[str, str | None, Exception]] = []
        self.ruined: list[tuple[str, str]] = []
        self._news = asyncio.Event()

    def attempted(self, attempted: AttemptRecord) -> None:
        self.attempts.append(attempted)
        self._news.set()

    def event_corrupt(self, upstream: str, event_id: str) -> None:
        self.ruined.append((upstream, event_id))
        self._news.set()

    def dispatch_error(self, upstream: str, event_id: str | None, fault: Exception) -> None:
        self.faults.append((upstream, event_id, fault))
        self._news.set()

    async def until(self, said: Callable[[], bool]) -> None:
        """Return when this holds; it is looked at again whenever something is told."""
        while not said():
            self._news.clear()
            await self._news.wait()

    async def until_delivered(self, number: int) -> None:
        """Return when this many events have been delivered."""
        await self.until(lambda: len(self.delivered()) >= number)

    def delivered(self) -> list[str]:
        """Return the ids of the events that were delivered, in that order."""
        return [each.event_id for each in self.attempts if each.decision == "done"]
