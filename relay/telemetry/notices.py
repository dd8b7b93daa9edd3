"""What is told of besides deliveries and attempts: a method for each thing that happens."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from relay.core.errors import Problem, RelayError
from relay.core.request import Address
from relay.telemetry.feed import Feed
from relay.telemetry.log import Log
from relay.telemetry.metrics import Metrics
from relay.telemetry.repetition import RepeatedState


class Notices:
    """Counts and logs what is rare. `relay.telemetry.Telemetry` adds what is not."""

    #: When a reload was refused, unless one has been taken since.
    reload_refused_at: datetime | None = None

    log: Log
    feed: Feed
    _metrics: Metrics
    _lookups: RepeatedState
    _guesses: RepeatedState
    _evictions: RepeatedState
    _activity: RepeatedState
    _tokens: RepeatedState

    # ---- configuration ----------------------------------------------------------------------

    def init_series(self, endpoints: Mapping[str, str], upstreams: Iterable[str]) -> None:
        """Initialise every series to zero, so that the first refusal is seen as an increase.

        endpoints: provider by endpoint name.
        """
        self._metrics.init_series(endpoints, upstreams)

    def configured(self, at: datetime) -> None:
        """A configuration is in force."""
        self.reload_refused_at = None
        self._metrics.reload_success.set(1)
        self._metrics.reloaded_at.set(at.timestamp())

    def reloaded(self, at: datetime, changed: Iterable[str]) -> None:
        """A reload was applied; these keys have changed."""
        self.configured(at)
        self.log.info("reloaded", changed=list(changed))
        self.feed.reloaded(at, taken=True)

    def reload_refused(self, problems: Iterable[Problem]) -> None:
        """A reload was refused: the configuration before stays in force."""
        self.reload_refused_at = self.log.now()
        self._metrics.reload_success.set(0)
        for problem in problems:
            self.log.error("reload_refused", detail=str(problem))
        self.feed.reloaded(self.reload_refused_at, taken=False)

    # ---- events -----------------------------------------------------------------------------

    def conflicted(self, endpoint: str) -> None:
        """A delivery carried a known event key with other content."""
        self._metrics.conflicts.inc(endpoint)

    def repeated(self, endpoint: str) -> None:
        """A delivery carried signed bytes that are known under another event key."""
        self._metrics.repeats.inc(endpoint)

    def held(self, endpoint: str, event_id: str, reason: str) -> None:
        """An event was accepted, and is held as it stands."""
        self.log.warning("event_held", endpoint=endpoint, id=event_id, reason=reason)

    def revived(self, endpoint: str) -> None:
        """A copy has made a dead or held event due again."""
        self._metrics.revived.inc(endpoint)

    def unrouted(self, endpoint: str) -> None:
        """An event was stored whose route leads to no upstream."""
        self._metrics.unrouted.inc(endpoint)

    def undelivered_removed(self, bodies: Mapping[str, int]) -> None:
        """So many bodies of dead and held events were removed, by endpoint."""
        for endpoint, number in bodies.items():
            self._metrics.undelivered_removed.init(endpoint).number += number
            self.log.warning("undelivered_removed", endpoint=endpoint, events=number)

    def undelivered_expiring(self, bodies: Mapping[str, int]) -> None:
        """So many bodies of dead and held events will be removed soon, by endpoint."""
        gauge = self._metrics.undelivered_expiring
        gauge.series = {**dict.fromkeys(gauge.series, 0), **bodies}

    def confirmed(self, endpoint: str, result: str) -> None:
        """A status API was asked about an event; the results are `metrics.CONFIRMATIONS`."""
        self._metrics.confirmations.inc(endpoint, result)

    def event_corrupt(self, upstream: str, event_id: str) -> None:
        """An event's checksum was wrong; it is a dead letter now."""
        self._metrics.dead_letters.inc(upstream)
        self.log.warning("event_damaged", upstream=upstream, id=event_id)

    def integrity_checked(self, problems: Sequence[str]) -> None:
        """The integrity check of the spool has ended."""
        if problems:
            self.log.error("spool_damaged", detail="; ".join(problems))
        else:
            self.log.info("spool_sound")

    def activity_written(self) -> None:
        """The deliveries of this hour are in the spool."""
        self._activity.observe("", "written")

    def activity_unwritten(self, why: str) -> None:
        """The deliveries of this hour could not be written; told once a minute."""
        if self._activity.observe("", why) is not None:
            self.log.warning("activity_unwritten", detail=why)

    def history_lost(self, endpoint: str, event_id: str, why: str) -> None:
        """A delivery was passed on and answered, and is missing from history."""
        self._metrics.history_lost.inc(endpoint)
        self.log.error("history_lost", endpoint=endpoint, id=event_id, detail=why)

    def upstream_paused(self, upstream: str, *, paused: bool) -> None:
        """A person has paused an upstream, or resumed it, from wherever; it is in force now."""
        self.log.info("upstream_paused" if paused else "upstream_resumed", upstream=upstream)

    def dispatch_error(self, upstream: str, event_id: str | None, fault: Exception) -> None:
        """An internal error interrupted an attempt; its event will be retried."""
        if isinstance(fault, RelayError):
            self.log.warning("dispatch_trouble", upstream=upstream, id=event_id, detail=str(fault))
        else:
            self.log.fault("dispatch_fault", fault, upstream=upstream, id=event_id)

    def token_unavailable(self, upstream: str, reason: str, retry_in: float) -> None:
        """A token server gave no token for an upstream; told once a minute.

        reason: in words of ours. retry_in: seconds until it is asked again, at the soonest.
        """
        if self._tokens.observe(upstream, reason) is not None:
            self.log.warning(
                "token_unavailable", upstream=upstream, reason=reason, retry_in=retry_in
            )

    def token_fetched(self, upstream: str) -> None:
        """A token server gave a token for an upstream; told after one that it did not give."""
        if self._tokens.observe(upstream, "fetched") is not None:
            self.log.info("token_available", upstream=upstream)

    # ---- admin listener ---------------------------------------------------------------------

    def act_unrecorded(self, act: str, why: str) -> None:
        """An act was done, and is missing from the spool."""
        self.log.error("audit_lost", act=act, detail=why)

    def acted(self, act: str, actor: str, address: str, touched: Mapping[str, object]) -> None:
        """A person has done something, such as a requeue."""
        self.log.info("audit", act=act, actor=actor, address=address, touched=dict(touched))
        self.feed.acted(act, actor, address, touched, self.log.now())

    def admin_refused(self, address: str, path: str, *, slowed: bool) -> None:
        """A wrong token has come from this address.

        slowed: its answer has waited; a flood of others is logged once a minute.
        """
        self._metrics.admin_refused.inc()
        if slowed:
            self.log.warning("admin_refused", address=address, path=path)
            return
        count = self._guesses.observe("", "too many")
        if count is not None:
            fields = {"detail": "too many guesses at a time", "count": count}
            self.log.warning("admin_refused", address=address, path=path, **fields)

    # ---- allowlist --------------------------------------------------------------------------

    def looked_up(self, host: str, result: str) -> None:
        """A DNS look-up has ended.

        A failure is told when it is new, then once a minute with their number, and when it ends.
        """
        self._metrics.dns_lookups.inc(host, result)
        count = self._lookups.observe(host, result)
        if count is not None:
            level = "info" if result == "ok" else "warning"
            fields = {"host": host, "result": result, "count": count if count > 1 else None}
            self.log.line(level, "dns_lookup", fields)

    def changed(self, host: str, change: str, address: Address) -> None:
        """A host has gained or lost an address."""
        self._metrics.allowlist_changes.inc(host, change)
        self.log.info("allowlist_changed", host=host, change=change, address=str(address))

    def grown(self, host: str, before: int, now: int) -> None:
        """The addresses of a host have grown by more than half within `dns.retain`."""
        self._metrics.allowlist_growth.inc(host)
        self.log.warning("allowlist_grown", host=host, before=before, addresses=now)

    def dns_cache_unsaved(self, problem: str) -> None:
        """The DNS cache could not be written: a restart without DNS would miss these addresses."""
        self.log.error("dns_memory_unsaved", detail=problem)

    def knocked(self, endpoint: str, result: str) -> None:
        """A refused address caused an early look-up: found, not_found or limited."""
        self._metrics.knocks.inc(endpoint, result)

    def unknown_but_signed(self, endpoint: str) -> None:
        """A delivery was refused for its address alone: its signature or token is right."""
        self._metrics.unknown_but_signed.inc(endpoint)

    # ---- connections ------------------------------------------------------------------------

    def evicted(self) -> None:
        """A stranger's idle connection gave way; logged once a minute, with their number."""
        self._metrics.connections_evicted.inc()
        number = self._evictions.observe("", "evicted")
        if number is not None:
            self.log.warning("connections_evicted", number=number)
