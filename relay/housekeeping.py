"""Removing what has been kept long enough, in small steps beside the real work."""

from datetime import timedelta

from relay.clock import Clock
from relay.errors import SpoolUnavailable
from relay.kept import RefusalStore
from relay.spool import Spool
from relay.telemetry import Telemetry

#: Rows a step: few enough that a delivery never waits for one.
_STEP = 200
#: Seconds between steps while there is more to remove, and between rounds when there is not.
_BREATH = 0.2
_ROUND = 600.0


class Housekeeping:
    """Prunes a spool: bodies and refusals after `retain`, whole records after `retain_keys`."""

    def __init__(
        self,
        spool: Spool,
        refusals: RefusalStore,
        *,
        retain: timedelta,
        retain_keys: timedelta,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._spool = spool
        self._refusals = refusals
        self._retain = retain
        self._retain_keys = retain_keys
        self._clock = clock
        self._telemetry = telemetry

    async def run(self) -> None:
        """Prune until cancelled. A spool in trouble is left alone until the next round."""
        while True:
            try:
                more = await self._step()
            except SpoolUnavailable as error:
                self._telemetry.log.warning("prune_failed", detail=str(error))
                more = False
            await self._clock.sleep(_BREATH if more else _ROUND)

    async def _step(self) -> bool:
        now = self._clock.now()
        bodies, keys = now - self._retain, now - self._retain_keys
        removed = await self._refusals.prune(bodies, _STEP)
        return bool(removed + await self._spool.prune(bodies, keys, _STEP))
