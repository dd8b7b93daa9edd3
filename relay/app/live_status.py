"""The status of a running process: what it knows by itself, besides its spool and its settings."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace

from relay.admin.health import Health
from relay.admin.status import ActivityReader, Node, read_status
from relay.config import Settings
from relay.config.digest import digest
from relay.core.clock import Clock
from relay.spool import Spool
from relay.telemetry import Telemetry


class LiveStatus:
    """Reads the status on request."""

    def __init__(
        self,
        spool: Spool,
        activity: ActivityReader,
        *,
        settings: Callable[[], Settings],
        health: Health,
        telemetry: Telemetry,
        clock: Clock,
        role: str,
    ) -> None:
        """Take the parts. settings: those in force; a reload exchanges them."""
        self._spool = spool
        self._activity = activity
        self._settings = settings
        self._health = health
        self._telemetry = telemetry
        self._clock = clock
        self._role = role
        self._name = socket.gethostname()
        self._since = clock.now()
        self._digested: tuple[Settings, str] | None = None

    async def read(self) -> dict[str, object]:
        """Return the status of this moment as JSON."""
        settings = self._settings()
        node = Node(self._name, self._role, self._since, await self._digest(settings))
        process = replace(
            self._health.process(),
            nodes=(node,),
            reload_refused_at=self._telemetry.reload_refused_at,
        )
        now = self._clock.now()
        return await read_status(self._spool, self._activity, settings, process, now)

    async def _digest(self, settings: Settings) -> str:
        """Return the digest of these settings; of thousands of endpoints it takes a while."""
        known = self._digested
        if known is None or known[0] is not settings:
            known = self._digested = settings, await asyncio.to_thread(digest, settings)
        return known[1]
