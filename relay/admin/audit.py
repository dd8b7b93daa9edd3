"""The audit trail: each act of a person is a row in the spool and a log line."""

from relay.core.clock import Clock
from relay.core.errors import SpoolUnavailable
from relay.spool import Spool
from relay.spool.audit import Act, Actor
from relay.telemetry import Telemetry


class AuditTrail:
    """Records acts that came to the admin listener."""

    def __init__(self, spool: Spool, telemetry: Telemetry, clock: Clock) -> None:
        self._spool = spool
        self._telemetry = telemetry
        self._clock = clock

    async def record(self, name: str, actor: Actor, address: str, **touched: object) -> None:
        """Record an act that has been done. Raises nothing: it is done, with or without a row."""
        self._telemetry.acted(name, actor, address, touched)
        try:
            await self._spool.audit.add(Act(self._clock.now(), actor, address, name, touched))
        except SpoolUnavailable as error:
            self._telemetry.act_unrecorded(name, str(error))
