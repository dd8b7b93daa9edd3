"""The present state of a relay: liveness, readiness, allowlists, and the `Snapshot` of the gauges.

It is computed for each request from the running parts, and stored nowhere.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from relay.admin.serializers import entry_json
from relay.allowlist import Mode, SourceStatus
from relay.core.clock import Clock
from relay.core.errors import SpoolUnavailable
from relay.ingest.admission import Endpoint
from relay.spool import Spool, SpoolStats
from relay.telemetry.metrics import Snapshot


class Health:
    """Reads the state of the running parts."""

    def __init__(
        self,
        *,
        clock: Clock,
        spool: Spool,
        endpoints: Sequence[Endpoint],
        statuses: Callable[[], Sequence[SourceStatus]],
        breakers: Callable[[], Mapping[str, bool]],
        connections: Callable[[], int],
        certificates: Mapping[str, datetime],
        live: Callable[[], bool],
        upstreams: Callable[[], Collection[str]],
    ) -> None:
        """Take the parts.

        statuses: of the DNS sources. breakers: whether each is open, by upstream.
        connections: the number of open ones. certificates: end of validity, by listener.
        live: whether the public listeners accept, where this process has any.
        upstreams: those that are configured.
        """
        self.upstreams = upstreams
        self._clock = clock
        self._spool = spool
        self._endpoints = endpoints
        self._statuses = statuses
        self._breakers = breakers
        self._connections = connections
        self._certificates = certificates
        self._live = live

    def set_endpoints(self, endpoints: Sequence[Endpoint]) -> None:
        """Report these endpoints from now on."""
        self._endpoints = endpoints

    def live(self) -> bool:
        """Return whether the public listeners accept, where this process has any."""
        return self._live()

    async def unready(self) -> list[str]:
        """Return the reasons why this relay is not ready for traffic; none when it is.

        A write to the spool must succeed, and every enforced DNS source must have addresses.
        """
        reasons = []
        try:
            await self._spool.probe()
        except SpoolUnavailable as error:
            reasons.append(f"spool: {error}")
        for endpoint in self._endpoints:
            if endpoint.mode is Mode.ENFORCE:
                reasons += [
                    f"endpoint {endpoint.name}: no addresses of {name} yet"
                    for name in endpoint.allowlist.unready()
                ]
        return reasons

    async def snapshot(self) -> Snapshot:
        """Return the gauges. Those of the spool are left out while it is unavailable."""
        try:
            stats: SpoolStats | None = await self._spool.stats()
        except SpoolUnavailable:
            stats = None
        now = self._clock.now()
        oldest = stats.oldest_pending if stats else {}
        return Snapshot(
            spool_events={
                (name, status.value): number
                for (name, status), number in (stats.events if stats else {}).items()
            },
            spool_oldest_pending_seconds={
                name: max(0.0, (now - at).total_seconds()) for name, at in oldest.items()
            },
            upstream_missing=frozenset(oldest) - frozenset(self.upstreams()),
            spool_bytes=None if stats is None else stats.size,
            spool_free_bytes=None if stats is None else stats.free,
            breaker_open=self._breakers(),
            allowlist_addresses={
                each.name: len({entry.network for entry in each.allowlist.entries()})
                for each in self._endpoints
            },
            allowlist_age_seconds={
                status.name: (now - status.refreshed_at).total_seconds()
                for status in self._statuses()
                if status.refreshed_at is not None
            },
            allowlist_mode={each.name: each.mode.value for each in self._endpoints},
            certificate_expiry=self._certificates,
            connections=self._connections(),
        )

    def allowlist(self) -> list[dict[str, object]]:
        """Return every endpoint's mode and entries, for the admin API."""
        return [
            {
                "endpoint": endpoint.name,
                "mode": endpoint.mode.value,
                "entries": [entry_json(entry) for entry in endpoint.allowlist.entries()],
            }
            for endpoint in self._endpoints
        ]
