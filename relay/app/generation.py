"""What one configuration built, and what it has in common with the next.

Requests and attempts that are under way end in the generation that they began in. What two of them
have in common goes on undisturbed: upstreams that stay as they are, what is known of hosts, and how
often DNS and providers have been asked already.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Generic, TypeVar

from relay.allowlist.registry import HostRegistry, Knock
from relay.app import builder
from relay.config import Endpoint as EndpointSettings
from relay.config import Settings
from relay.config.settings import Confirm
from relay.config.settings import Upstream as UpstreamSettings
from relay.core.clock import Clock
from relay.core.ids import event_ids
from relay.core.rate_limit import FairRateLimiter
from relay.core.secret import Secret
from relay.delivery.attempt import Upstream
from relay.delivery.confirmation import StatusConfirmer, StatusTarget
from relay.delivery.proxy import ProxiedHistory, ProxyForwarder, ProxyUpstream
from relay.ingest.client_address import ClientLocator
from relay.ingest.pipeline import Endpoint, Ingest, OnRefused
from relay.ingest.routing import Routes
from relay.spool import Spool, SpoolBroken
from relay.telemetry import Telemetry

# ---- keyed pool: a part is reused while what it is made from is equal -----------------------

K = TypeVar("K")
T = TypeVar("T")

Close = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, eq=False)
class Entry(Generic[K, T]):
    """One part, what it was made from, and how it is closed."""

    key: K
    part: T
    close: Close


class UsagePool(Generic[K, T]):
    """The parts in use, and those that have been replaced and are not closed yet."""

    def __init__(self, make: Callable[[str, K], tuple[T, Close]]) -> None:
        """Take what makes a part of this name from its description, and says how to close it."""
        self._make = make
        self._active: Mapping[str, Entry[K, T]] = {}
        self._open: set[Entry[K, T]] = set()

    def acquire(self, wanted: Mapping[str, K]) -> dict[str, Entry[K, T]]:
        """Return the parts for these descriptions; those in use stay where they are the same.

        Nothing changes yet: they come into use with `take`, or go with `others`.
        """
        return {name: self._entry(name, description) for name, description in wanted.items()}

    def activate(self, entries: Mapping[str, Entry[K, T]]) -> None:
        """Use these from now on."""
        self._active = entries

    def retired(self) -> list[Entry[K, T]]:
        """Return those that are open and not in use."""
        present = set(self._active.values())
        return [each for each in self._open if each not in present]

    async def close(self, entries: Iterable[Entry[K, T]] | None = None) -> None:
        """Close these, or all."""
        for each in tuple(self._open if entries is None else entries):
            if each in self._open:
                self._open.discard(each)
                await each.close()

    def _entry(self, name: str, description: K) -> Entry[K, T]:
        present = self._active.get(name)
        if present is not None and present.key == description:
            return present
        part, close = self._make(name, description)
        entry = Entry(description, part, close)
        self._open.add(entry)
        return entry


async def nothing() -> None:
    """Close what needs no closing."""


# ---- clients of status APIs, reused across reloads ------------------------------------------
# Only what differs is made anew: reading a configuration again lets nobody ask more often.

# Provider, environment and URL tell which API it is.
_Api = tuple[object, str | None, str | None]
_LimiterKey = tuple[_Api, int]


@dataclass(frozen=True, slots=True)
class _TargetKey:
    """What a desk is made from."""

    api: _Api
    secrets: tuple[Secret, ...]
    strict: bool
    limiter: FairRateLimiter
    endpoint: EndpointSettings = field(compare=False)


_ConfirmerKey = frozenset[tuple[str, Entry[_TargetKey, StatusTarget]]]


@dataclass(frozen=True, slots=True)
class StatusTargets:
    """The desks of one configuration, and who asks at them."""

    limiters: Mapping[str, Entry[_LimiterKey, FairRateLimiter]]
    targets: Mapping[str, Entry[_TargetKey, StatusTarget]]
    confirmers: Mapping[str, Entry[_ConfirmerKey, StatusConfirmer]]
    unasked: frozenset[str]

    @property
    def confirmer(self) -> StatusConfirmer:
        """Who asks; the same object for as long as the desks are the same."""
        return self.confirmers[""].part


class StatusTargetPool:
    """The desks in use, and those that have been replaced and are not closed yet.

    Used as `UsagePool`: what `acquire` returns comes into use with `activate`.
    """

    def __init__(self, clock: Clock, telemetry: Telemetry) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._limiters = UsagePool(_pace)
        self._targets = UsagePool(self._target)
        self._confirmers = UsagePool(self._confirmer)
        # The endpoints in use that do not ask. All confirmers know it, so that none is made anew
        # when an endpoint comes or goes.
        self._unasked: set[str] = set()

    def acquire(self, endpoints: Sequence[EndpointSettings]) -> StatusTargets:
        """Return the desks for these endpoints; those in use stay where they are the same.

        How often an API has been asked stays known for as long as it is the same API, and may be
        asked as often: also where the secrets have changed.
        """
        asks = [(each, each.confirm) for each in endpoints if each.confirm is not None]
        limiters = self._limiters.acquire(
            {each.name: (_api(each, confirm), confirm.rate) for each, confirm in asks}
        )
        targets = self._targets.acquire(
            {each.name: _asked(each, confirm, limiters[each.name].part) for each, confirm in asks}
        )
        confirmers = self._confirmers.acquire({"": frozenset(targets.items())})
        unasked = frozenset(each.name for each in endpoints if each.confirm is None)
        return StatusTargets(limiters, targets, confirmers, unasked)

    def activate(self, targets: StatusTargets) -> None:
        """Use these from now on."""
        self._limiters.activate(targets.limiters)
        self._targets.activate(targets.targets)
        self._confirmers.activate(targets.confirmers)
        self._unasked.clear()
        self._unasked.update(targets.unasked)

    def retired(self) -> list[Entry[_TargetKey, StatusTarget]]:
        """Return those that are open and not in use; nothing else has to be closed."""
        return self._targets.retired()

    async def close(self, entries: Iterable[Entry[_TargetKey, StatusTarget]] | None = None) -> None:
        """Close these, or all."""
        await self._targets.close(entries)
        # They hold nothing open, and are let go.
        await self._confirmers.close(self._confirmers.retired())
        await self._limiters.close(self._limiters.retired())

    def _target(self, _: str, key: _TargetKey) -> tuple[StatusTarget, Close]:
        stack = AsyncExitStack()
        target = StatusTarget(
            api=builder.status_client(key.endpoint, self._clock, stack),
            secrets=key.secrets,
            limiter=key.limiter,
            strict=key.strict,
        )
        return target, stack.aclose

    def _confirmer(self, _: str, described: _ConfirmerKey) -> tuple[StatusConfirmer, Close]:
        parts = {name: entry.part for name, entry in described}
        return StatusConfirmer(parts, self._unasked, self._clock, self._telemetry), nothing


def _api(endpoint: EndpointSettings, confirm: Confirm) -> _Api:
    return endpoint.provider, endpoint.environment, confirm.url


def _asked(endpoint: EndpointSettings, confirm: Confirm, limiter: FairRateLimiter) -> _TargetKey:
    strict = confirm.on_error == "hold"
    return _TargetKey(_api(endpoint, confirm), endpoint.secrets, strict, limiter, endpoint)


def _pace(_: str, described: _LimiterKey) -> tuple[FairRateLimiter, Close]:
    return FairRateLimiter(described[1]), nothing


# ---- generations ----------------------------------------------------------------------------

# What the parts are made from: they are made anew when it changes.
_KnockKey = tuple[tuple[str, ...], timedelta]
_EndpointKey = tuple[EndpointSettings, Knock | None]
_SenderKey = tuple[UpstreamSettings, timedelta, StatusConfirmer]


@dataclass(frozen=True, slots=True)
class LiveConfig:
    """What one configuration describes, bound together."""

    settings: Settings
    routes: Routes[Endpoint]
    ingest: Ingest
    knocks: Mapping[str, Entry[_KnockKey, Knock | None]]
    bound: Mapping[str, Entry[_EndpointKey, Endpoint]]
    targets: StatusTargets
    senders: Mapping[str, Entry[_SenderKey, Upstream]]
    proxy_upstreams: Mapping[str, Entry[UpstreamSettings, ProxyUpstream]]

    @property
    def endpoints(self) -> list[Endpoint]:
        """What deliveries come in at."""
        return [each.part for each in self.bound.values()]

    def new_since(self, before: "LiveConfig") -> list[EndpointSettings]:
        """Return what describes the endpoints that have another name or provider than before."""
        known = {(each.name, each.provider) for each in before.endpoints}
        return [
            each.key[0]
            for name, each in self.bound.items()
            if (name, each.part.provider) not in known
        ]

    @property
    def hosts(self) -> set[str]:
        """The host names that may send to any endpoint."""
        return {host for each in self.knocks.values() for host in each.key[0]}

    @property
    def upstreams(self) -> list[Upstream]:
        """What the dispatcher serves."""
        return [each.part for each in self.senders.values()]


class LiveConfigBuilder:
    """Builds generations from the parts that outlive them. `present` is the one in use."""

    active: LiveConfig

    def __init__(
        self,
        *,
        registry: HostRegistry,
        clients: ClientLocator,
        spool: Spool,
        history: ProxiedHistory,
        keep_refused: OnRefused,
        clock: Clock,
        telemetry: Telemetry,
        give_up: Callable[[SpoolBroken], None],
    ) -> None:
        self._registry = registry
        self._clients = clients
        self._spool = spool
        self._history = history
        self._keep_refused = keep_refused
        self._clock = clock
        self._telemetry = telemetry
        self._give_up = give_up
        self._new_id = event_ids()
        self._knocks = UsagePool(self._knock)
        self._bound = UsagePool(self._endpoint)
        self._targets = StatusTargetPool(clock, telemetry)
        self._senders = UsagePool(self._sender)
        # Connections of their own: neither a backlog nor a slow answer holds up the other half.
        self._proxy_upstreams = UsagePool(self._proxy_upstream)

    async def build(self, settings: Settings) -> LiveConfig:
        """Return what these settings describe; it is not in use before `take`.

        Endpoints that stay as they are are kept, and others have their turn between any two: there
        may be thousands. Not called again before it has returned.

        Raises:
            Exception: it cannot be built. What was made of it is closed with `close_others`.
        """
        knocks: dict[str, Entry[_KnockKey, Knock | None]] = {}
        bound: dict[str, Entry[_EndpointKey, Endpoint]] = {}
        for each in settings.endpoints:
            name, hosts = each.name, builder.endpoint_hosts(each)
            knocks |= self._knocks.acquire({name: (hosts, settings.dns.knock_interval)})
            bound |= self._bound.acquire({name: (each, knocks[name].part)})
            await asyncio.sleep(0)
        routes = Routes(each.part for each in bound.values())
        await asyncio.sleep(0)
        targets = self._targets.acquire(settings.endpoints)
        before = builder.time_to_ask(settings)
        senders = self._senders.acquire(
            {name: (each, before, targets.confirmer) for name, each in settings.upstreams.items()}
        )
        proxy_upstreams = self._proxy_upstreams.acquire(settings.upstreams)
        return LiveConfig(
            settings=settings,
            routes=routes,
            ingest=self._ingest(
                settings, routes, {n: each.part for n, each in proxy_upstreams.items()}
            ),
            knocks=knocks,
            bound=bound,
            targets=targets,
            senders=senders,
            proxy_upstreams=proxy_upstreams,
        )

    def activate(self, live_config: LiveConfig) -> None:
        """Make this the one in use."""
        self.active = live_config
        self._knocks.activate(live_config.knocks)
        self._bound.activate(live_config.bound)
        self._targets.activate(live_config.targets)
        self._senders.activate(live_config.senders)
        self._proxy_upstreams.activate(live_config.proxy_upstreams)

    def retired(self) -> Close:
        """Return what closes, when it is called, all that is open and not in use now."""
        proxy_upstreams, senders = self._proxy_upstreams.retired(), self._senders.retired()
        targets, bound, knocks = (
            self._targets.retired(),
            self._bound.retired(),
            self._knocks.retired(),
        )

        async def close() -> None:
            await self._proxy_upstreams.close(proxy_upstreams)
            await self._senders.close(senders)
            await self._targets.close(targets)
            await self._bound.close(bound)
            await self._knocks.close(knocks)

        return close

    async def close(self) -> None:
        """Close everything."""
        await self._proxy_upstreams.close()
        await self._senders.close()
        await self._targets.close()
        await self._bound.close()
        await self._knocks.close()

    def _ingest(
        self,
        settings: Settings,
        routes: Routes[Endpoint],
        proxy_upstreams: Mapping[str, ProxyUpstream],
    ) -> Ingest:
        proxy_forwarder = ProxyForwarder(
            proxy_upstreams=proxy_upstreams,
            clock=self._clock,
            observer=self._telemetry,
            note=self._history.note,
        )
        return Ingest(
            routes=routes,
            clients=self._clients,
            spool=self._spool,
            pass_on=proxy_forwarder.forward,
            telemetry=self._telemetry,
            clock=self._clock,
            new_id=self._new_id,
            answer_within=settings.limits.answer_within,
            give_up=self._give_up,
            keep_refused=self._keep_refused,
        )

    def _knock(self, _: str, described: _KnockKey) -> tuple[Knock | None, Close]:
        knock = self._registry.knock(described[0])
        return knock, nothing if knock is None else knock.close

    def _endpoint(self, _: str, described: _EndpointKey) -> tuple[Endpoint, Close]:
        settings, knock = described
        return builder.bind_endpoint(settings, self._registry, knock), nothing

    def _sender(self, name: str, described: _SenderKey) -> tuple[Upstream, Close]:
        settings, before, confirmer = described
        http_sender = builder.http_sender(settings, self._clock)
        return builder.upstream(name, settings, before, http_sender, confirmer), http_sender.close

    def _proxy_upstream(self, _: str, settings: UpstreamSettings) -> tuple[ProxyUpstream, Close]:
        http_sender = builder.http_sender(settings, self._clock)
        return builder.proxy_upstream(settings, http_sender), http_sender.close
