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
class Member(Generic[K, T]):
    """One part, what it was made from, and how it is closed."""

    made_from: K
    part: T
    close: Close


class Fleet(Generic[K, T]):
    """The parts in use, and those that have been replaced and are not closed yet."""

    def __init__(self, make: Callable[[str, K], tuple[T, Close]]) -> None:
        """Take what makes a part of this name from its description, and says how to close it."""
        self._make = make
        self._present: Mapping[str, Member[K, T]] = {}
        self._open: set[Member[K, T]] = set()

    def prepare(self, wanted: Mapping[str, K]) -> dict[str, Member[K, T]]:
        """Return the parts for these descriptions; those in use stay where they are the same.

        Nothing changes yet: they come into use with `take`, or go with `others`.
        """
        return {name: self._member(name, description) for name, description in wanted.items()}

    def take(self, members: Mapping[str, Member[K, T]]) -> None:
        """Use these from now on."""
        self._present = members

    def others(self) -> list[Member[K, T]]:
        """Return those that are open and not in use."""
        present = set(self._present.values())
        return [each for each in self._open if each not in present]

    async def close(self, members: Iterable[Member[K, T]] | None = None) -> None:
        """Close these, or all."""
        for each in tuple(self._open if members is None else members):
            if each in self._open:
                self._open.discard(each)
                await each.close()

    def _member(self, name: str, description: K) -> Member[K, T]:
        present = self._present.get(name)
        if present is not None and present.made_from == description:
            return present
        part, close = self._make(name, description)
        member = Member(description, part, close)
        self._open.add(member)
        return member


async def nothing() -> None:
    """Close what needs no closing."""


# ---- clients of status APIs, reused across reloads ------------------------------------------
# Only what differs is made anew: reading a configuration again lets nobody ask more often.

# Provider, environment and URL tell which API it is.
_Api = tuple[object, str | None, str | None]
_Pace = tuple[_Api, int]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a desk is made from."""

    api: _Api
    secrets: tuple[Secret, ...]
    strict: bool
    turns: FairRateLimiter
    endpoint: EndpointSettings = field(compare=False)


_Asking = frozenset[tuple[str, Member[_Asked, StatusTarget]]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """The desks of one configuration, and who asks at them."""

    paces: Mapping[str, Member[_Pace, FairRateLimiter]]
    targets: Mapping[str, Member[_Asked, StatusTarget]]
    confirmers: Mapping[str, Member[_Asking, StatusConfirmer]]
    unasked: frozenset[str]

    @property
    def confirmer(self) -> StatusConfirmer:
        """Who asks; the same object for as long as the desks are the same."""
        return self.confirmers[""].part


class Desks:
    """The desks in use, and those that have been replaced and are not closed yet.

    Used as `Fleet`: what `prepare` returns comes into use with `take`.
    """

    def __init__(self, clock: Clock, telemetry: Telemetry) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._paces = Fleet(_pace)
        self._targets = Fleet(self._target)
        self._confirmers = Fleet(self._confirmer)
        # The endpoints in use that do not ask. All confirmers know it, so that none is made anew
        # when an endpoint comes or goes.
        self._unasked: set[str] = set()

    def prepare(self, endpoints: Sequence[EndpointSettings]) -> Prepared:
        """Return the desks for these endpoints; those in use stay where they are the same.

        How often an API has been asked stays known for as long as it is the same API, and may be
        asked as often: also where the secrets have changed.
        """
        asks = [(each, each.confirm) for each in endpoints if each.confirm is not None]
        paces = self._paces.prepare(
            {each.name: (_api(each, confirm), confirm.rate) for each, confirm in asks}
        )
        targets = self._targets.prepare(
            {each.name: _asked(each, confirm, paces[each.name].part) for each, confirm in asks}
        )
        confirmers = self._confirmers.prepare({"": frozenset(targets.items())})
        unasked = frozenset(each.name for each in endpoints if each.confirm is None)
        return Prepared(paces, targets, confirmers, unasked)

    def take(self, prepared: Prepared) -> None:
        """Use these from now on."""
        self._paces.take(prepared.paces)
        self._targets.take(prepared.targets)
        self._confirmers.take(prepared.confirmers)
        self._unasked.clear()
        self._unasked.update(prepared.unasked)

    def others(self) -> list[Member[_Asked, StatusTarget]]:
        """Return those that are open and not in use; nothing else has to be closed."""
        return self._targets.others()

    async def close(self, members: Iterable[Member[_Asked, StatusTarget]] | None = None) -> None:
        """Close these, or all."""
        await self._targets.close(members)
        # They hold nothing open, and are let go.
        await self._confirmers.close(self._confirmers.others())
        await self._paces.close(self._paces.others())

    def _target(self, _: str, asked: _Asked) -> tuple[StatusTarget, Close]:
        stack = AsyncExitStack()
        target = StatusTarget(
            api=builder.status_client(asked.endpoint, self._clock, stack),
            secrets=asked.secrets,
            turns=asked.turns,
            strict=asked.strict,
        )
        return target, stack.aclose

    def _confirmer(self, _: str, described: _Asking) -> tuple[StatusConfirmer, Close]:
        parts = {name: member.part for name, member in described}
        return StatusConfirmer(parts, self._unasked, self._clock, self._telemetry), nothing


def _api(endpoint: EndpointSettings, confirm: Confirm) -> _Api:
    return endpoint.provider, endpoint.environment, confirm.url


def _asked(endpoint: EndpointSettings, confirm: Confirm, turns: FairRateLimiter) -> _Asked:
    strict = confirm.on_error == "hold"
    return _Asked(_api(endpoint, confirm), endpoint.secrets, strict, turns, endpoint)


def _pace(_: str, described: _Pace) -> tuple[FairRateLimiter, Close]:
    return FairRateLimiter(described[1]), nothing


# ---- generations ----------------------------------------------------------------------------

# What the parts are made from: they are made anew when it changes.
_Knocking = tuple[tuple[str, ...], timedelta]
_Binding = tuple[EndpointSettings, Knock | None]
_Sending = tuple[UpstreamSettings, timedelta, StatusConfirmer]


@dataclass(frozen=True, slots=True)
class Generation:
    """What one configuration describes, bound together."""

    settings: Settings
    routes: Routes[Endpoint]
    ingest: Ingest
    knocks: Mapping[str, Member[_Knocking, Knock | None]]
    bound: Mapping[str, Member[_Binding, Endpoint]]
    targets: Prepared
    senders: Mapping[str, Member[_Sending, Upstream]]
    proxy_upstreams: Mapping[str, Member[UpstreamSettings, ProxyUpstream]]

    @property
    def endpoints(self) -> list[Endpoint]:
        """What deliveries come in at."""
        return [each.part for each in self.bound.values()]

    def new_since(self, before: "Generation") -> list[EndpointSettings]:
        """Return what describes the endpoints that have another name or provider than before."""
        known = {(each.name, each.provider) for each in before.endpoints}
        return [
            each.made_from[0]
            for name, each in self.bound.items()
            if (name, each.part.provider) not in known
        ]

    @property
    def hosts(self) -> set[str]:
        """The host names that may send to any endpoint."""
        return {host for each in self.knocks.values() for host in each.made_from[0]}

    @property
    def upstreams(self) -> list[Upstream]:
        """What the dispatcher serves."""
        return [each.part for each in self.senders.values()]


class Generations:
    """Builds generations from the parts that outlive them. `present` is the one in use."""

    present: Generation

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
        self._new_id = event_ids(clock)
        self._knocks = Fleet(self._knock)
        self._bound = Fleet(self._endpoint)
        self._targets = Desks(clock, telemetry)
        self._senders = Fleet(self._sender)
        # Connections of their own: neither a backlog nor a slow answer holds up the other half.
        self._proxy_upstreams = Fleet(self._proxy_upstream)

    async def build(self, settings: Settings) -> Generation:
        """Return what these settings describe; it is not in use before `take`.

        Endpoints that stay as they are are kept, and others have their turn between any two: there
        may be thousands. Not called again before it has returned.

        Raises:
            Exception: it cannot be built. What was made of it is closed with `close_others`.
        """
        knocks: dict[str, Member[_Knocking, Knock | None]] = {}
        bound: dict[str, Member[_Binding, Endpoint]] = {}
        for each in settings.endpoints:
            name, hosts = each.name, builder.endpoint_hosts(each)
            knocks |= self._knocks.prepare({name: (hosts, settings.dns.knock_interval)})
            bound |= self._bound.prepare({name: (each, knocks[name].part)})
            await asyncio.sleep(0)
        routes = Routes(each.part for each in bound.values())
        await asyncio.sleep(0)
        targets = self._targets.prepare(settings.endpoints)
        before = builder.time_to_ask(settings)
        senders = self._senders.prepare(
            {name: (each, before, targets.confirmer) for name, each in settings.upstreams.items()}
        )
        proxy_upstreams = self._proxy_upstreams.prepare(settings.upstreams)
        return Generation(
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

    def take(self, generation: Generation) -> None:
        """Make this the one in use."""
        self.present = generation
        self._knocks.take(generation.knocks)
        self._bound.take(generation.bound)
        self._targets.take(generation.targets)
        self._senders.take(generation.senders)
        self._proxy_upstreams.take(generation.proxy_upstreams)

    def others(self) -> Close:
        """Return what closes, when it is called, all that is open and not in use now."""
        proxy_upstreams, senders = self._proxy_upstreams.others(), self._senders.others()
        targets, bound, knocks = self._targets.others(), self._bound.others(), self._knocks.others()

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

    def _knock(self, _: str, described: _Knocking) -> tuple[Knock | None, Close]:
        knock = self._registry.knock(described[0])
        return knock, nothing if knock is None else knock.close

    def _endpoint(self, _: str, described: _Binding) -> tuple[Endpoint, Close]:
        settings, knock = described
        return builder.bind_endpoint(settings, self._registry, knock), nothing

    def _sender(self, name: str, described: _Sending) -> tuple[Upstream, Close]:
        settings, before, confirmer = described
        http_sender = builder.http_sender(settings, self._clock)
        return builder.upstream(name, settings, before, http_sender, confirmer), http_sender.close

    def _proxy_upstream(self, _: str, settings: UpstreamSettings) -> tuple[ProxyUpstream, Close]:
        http_sender = builder.http_sender(settings, self._clock)
        return builder.proxy_upstream(settings, http_sender), http_sender.close
