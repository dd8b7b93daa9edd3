"""The present state of a relay: liveness, readiness, allowlists, and the `Snapshot` of the gauges.

It is computed for each request from the running parts, and stored nowhere.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from math import inf
from typing import Final

from relay.admin.serializers import change_json, entry_json, source_json
from relay.admin.status import Process
from relay.allowlist import Mode, SourceStatus
from relay.core.clock import Clock
from relay.core.errors import SpoolUnavailable
from relay.core.redaction import NOTHING, Redaction, Redactions
from relay.ingest.admission import Endpoint
from relay.spool import Spool
from relay.spool.history import SpoolStats
from relay.telemetry.gauges import Snapshot

#: Seconds from the start in which a host that is not answered yet makes a relay unready.
_STARTING: Final = 10.0


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether traffic may come, and what is amiss.

    reasons: why it may not; none when it may. degraded: what is amiss besides.
    """

    reasons: tuple[str, ...]
    degraded: tuple[str, ...]


async def _none() -> Mapping[str, bool]:
    return {}


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
        stopping: Callable[[], bool],
        paused: Callable[[], Awaitable[Mapping[str, bool]]] | None = None,
        redactions: Callable[[], Redactions] = dict,
        client_certificates: Callable[[], Mapping[str, datetime]] = dict,
    ) -> None:
        """Take the parts.

        statuses: of the DNS sources. breakers: whether each is open, by upstream.
        connections: the number of open ones. certificates: end of validity, by listener.
        live: whether the public listeners accept, where this process has any.
        upstreams: those that are configured. stopping: whether the process ends.
        paused: whether each is paused, by upstream; without it none is known to be.
        redactions: what of each endpoint's messages is masked where people see it.
        client_certificates: end of validity of those that are shown, by upstream.
        """
        self._stopping = stopping
        self._paused = paused or _none
        self._redactions = redactions
        self._started_at = clock.monotonic()
        self.upstreams = upstreams
        self._clock = clock
        self._spool = spool
        self._endpoints = endpoints
        self._statuses = statuses
        self._breakers = breakers
        self._connections = connections
        self._certificates = certificates
        self._client_certificates = client_certificates
        self._live = live

    def set_endpoints(self, endpoints: Sequence[Endpoint]) -> None:
        """Report these endpoints from now on."""
        self._endpoints = endpoints

    def now(self) -> datetime:
        """Return the present wall-clock time."""
        return self._clock.now()

    def live(self) -> bool:
        """Return whether the public listeners accept, where this process has any."""
        return self._live()

    async def readiness(self) -> Readiness:
        """Return whether this relay is ready for traffic, and what is amiss.

        It is not while it starts (an enforced DNS host has no addresses yet, for ten seconds at
        most), while it stops, and while a write to the spool fails. One sender's trouble, or an
        upstream's, is no reason to turn all others away.
        """
        reasons: list[str] = []
        degraded: list[str] = []
        if self._stopping():
            reasons.append("stopping")
        try:
            await self._spool.probe()
            waiting = (await self._spool.stats()).oldest_pending
            paused = await self._paused()
        except SpoolUnavailable as error:
            reasons.append(f"spool: {error}")
            waiting, paused = {}, {}
        starting = self._clock.monotonic() - self._started_at < _STARTING
        (reasons if starting else degraded).extend(self._unknown_sources())
        degraded += self._failing_hosts()
        degraded += [
            f"upstream {name}: left alone after failures in a row"
            for name, is_open in sorted(self._breakers().items())
            if is_open
        ]
        degraded += [
            f"upstream {name}: paused; nothing is delivered until it is resumed"
            for name, is_paused in sorted(paused.items())
            if is_paused
        ]
        degraded += [
            f"upstream {name}: events wait for it, and it is not configured"
            for name in sorted(set(waiting) - set(self.upstreams()))
        ]
        now = self._clock.now()
        degraded += [
            f"listener {name}: its certificate has ended"
            for name, end in sorted(self._certificates.items())
            if end <= now
        ]
        degraded += [
            f"upstream {name}: the certificate that it is shown has ended"
            for name, end in sorted(self._client_certificates().items())
            if end <= now
        ]
        return Readiness(tuple(reasons), tuple(degraded))

    def _unknown_sources(self) -> list[str]:
        return [
            f"endpoint {endpoint.name}: no addresses of {name} yet"
            for endpoint in self._endpoints
            if endpoint.mode is Mode.ENFORCE
            for name in endpoint.allowlist.unready()
        ]

    def _failing_hosts(self) -> list[str]:
        """Return the hosts whose last look-up failed, and that live on what is known."""
        now = self._clock.now()
        return [
            f"host {status.name}: {status.last_error}; last answered"
            f" {max(now - status.refreshed_at, timedelta()) // timedelta(seconds=1)} s ago"
            for status in self._statuses()
            if status.last_error is not None and status.refreshed_at is not None
        ]

    async def snapshot(self) -> Snapshot:
        """Return the gauges. Those of the spool are left out while it is unavailable."""
        try:
            stats: SpoolStats | None = await self._spool.stats()
            paused = await self._paused()
        except SpoolUnavailable:
            stats, paused = None, {}
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
            upstream_paused=paused,
            allowlist_addresses={
                each.name: len({entry.network for entry in each.allowlist.entries()})
                for each in self._endpoints
            },
            allowlist_age_seconds={
                status.name: inf
                if status.refreshed_at is None
                else (now - status.refreshed_at).total_seconds()
                for status in self._statuses()
            },
            allowlist_mode={each.name: each.mode.value for each in self._endpoints},
            certificate_expiry=self._certificates,
            upstream_certificate_expiry=self._client_certificates(),
            connections=self._connections(),
        )

    def known_as(self, endpoint: str, client: str) -> str | None:
        """Return by what an address is on the allowlist of an endpoint now; None if it is not."""
        for each in self._endpoints:
            if each.name == endpoint:
                entry = each.allowlist.match(ip_address(client))
                return None if entry is None else entry.host or entry.origin
        return None

    def certificates(self) -> Mapping[str, datetime]:
        """Return when the certificate of each listener ends, by its address."""
        return self._certificates

    def hosts(self) -> Sequence[SourceStatus]:
        """Return the state of each host name that DNS is asked for."""
        return self._statuses()

    def redaction(self, endpoint: str) -> Redaction:
        """Return what of an endpoint's messages is masked, by the configuration in force."""
        return self._redactions().get(endpoint, NOTHING)

    def endpoint_names(self) -> list[str]:
        """Return the names of the endpoints, in order."""
        return sorted(endpoint.name for endpoint in self._endpoints)

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the endpoints of the present configuration."""
        return self._endpoints

    def process(self) -> Process:
        """Return what this process knows for the status, without its node."""
        return Process(
            allowlists={each.name: (each.mode, each.allowlist) for each in self._endpoints},
            hosts=self._statuses(),
            breakers=self._breakers(),
            certificates=self._certificates,
        )

    def allowlist(self) -> list[dict[str, object]]:
        """Return every endpoint's mode, entries and last changes, for the admin API."""
        return [
            {
                "endpoint": endpoint.name,
                "mode": endpoint.mode.value,
                "entries": [entry_json(entry) for entry in endpoint.allowlist.entries()],
                "sources": [source_json(source.status()) for source in endpoint.allowlist.sources],
                "changes": [change_json(change) for change in endpoint.allowlist.changes()],
            }
            for endpoint in self._endpoints
        ]
