"""What a configuration describes, built for each one, and exchanged while everything runs.

Requests and attempts that are under way end in the generation that they began in. What two of them
have in common goes on undisturbed: upstreams that stay as they are, what is known of hosts, and how
often DNS and providers have been asked already.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from relay import assembly
from relay.admin.state import State
from relay.clientip import ClientLocator
from relay.clock import Clock
from relay.config import Settings, provider_name
from relay.config.endpoint import Endpoint as EndpointSettings
from relay.config.settings import Upstream as UpstreamSettings
from relay.confirm.confirmer import StatusConfirmer
from relay.desks import Desks, Prepared
from relay.dispatch import Dispatcher, Upstream
from relay.edge.connections import Connections
from relay.edge.server import Edge
from relay.fleet import Close, Fleet, Member, nothing
from relay.ids import event_ids
from relay.ingest import Endpoint, Ingest, KeepRefused
from relay.journal import Journal
from relay.routing import Routes
from relay.sources.addressbook import AddressBook
from relay.sources.knock import Knock
from relay.spool import Spool, SpoolBroken
from relay.telemetry import Telemetry
from relay.upstream.passthrough import Passage, Passthrough

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
    desks: Prepared
    senders: Mapping[str, Member[_Sending, Upstream]]
    passages: Mapping[str, Member[UpstreamSettings, Passage]]

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
        book: AddressBook,
        clients: ClientLocator,
        spool: Spool,
        journal: Journal,
        keep_refused: KeepRefused,
        clock: Clock,
        telemetry: Telemetry,
        give_up: Callable[[SpoolBroken], None],
    ) -> None:
        self._book = book
        self._clients = clients
        self._spool = spool
        self._journal = journal
        self._keep_refused = keep_refused
        self._clock = clock
        self._telemetry = telemetry
        self._give_up = give_up
        self._new_id = event_ids(clock)
        self._knocks = Fleet(self._knock)
        self._bound = Fleet(self._endpoint)
        self._desks = Desks(clock, telemetry)
        self._senders = Fleet(self._sender)
        # Connections of their own: neither a backlog nor a slow answer holds up the other half.
        self._passages = Fleet(self._passage)

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
            name, hosts = each.name, assembly.endpoint_hosts(each)
            knocks |= self._knocks.prepare({name: (hosts, settings.dns.knock_interval)})
            bound |= self._bound.prepare({name: (each, knocks[name].part)})
            await asyncio.sleep(0)
        routes = Routes(each.part for each in bound.values())
        await asyncio.sleep(0)
        desks = self._desks.prepare(settings.endpoints)
        before = assembly.time_to_ask(settings)
        senders = self._senders.prepare(
            {name: (each, before, desks.confirmer) for name, each in settings.upstreams.items()}
        )
        passages = self._passages.prepare(settings.upstreams)
        return Generation(
            settings=settings,
            routes=routes,
            ingest=self._ingest(settings, routes, {n: each.part for n, each in passages.items()}),
            knocks=knocks,
            bound=bound,
            desks=desks,
            senders=senders,
            passages=passages,
        )

    def take(self, generation: Generation) -> None:
        """Make this the one in use."""
        self.present = generation
        self._knocks.take(generation.knocks)
        self._bound.take(generation.bound)
        self._desks.take(generation.desks)
        self._senders.take(generation.senders)
        self._passages.take(generation.passages)

    def others(self) -> Close:
        """Return what closes, when it is called, all that is open and not in use now."""
        passages, senders = self._passages.others(), self._senders.others()
        desks, bound, knocks = self._desks.others(), self._bound.others(), self._knocks.others()

        async def close() -> None:
            await self._passages.close(passages)
            await self._senders.close(senders)
            await self._desks.close(desks)
            await self._bound.close(bound)
            await self._knocks.close(knocks)

        return close

    async def close(self) -> None:
        """Close everything."""
        await self._passages.close()
        await self._senders.close()
        await self._desks.close()
        await self._bound.close()
        await self._knocks.close()

    def _ingest(
        self, settings: Settings, routes: Routes[Endpoint], passages: Mapping[str, Passage]
    ) -> Ingest:
        passthrough = Passthrough(
            passages=passages,
            clock=self._clock,
            observer=self._telemetry,
            note=self._journal.note,
        )
        return Ingest(
            routes=routes,
            clients=self._clients,
            spool=self._spool,
            pass_on=passthrough.pass_on,
            telemetry=self._telemetry,
            clock=self._clock,
            new_id=self._new_id,
            answer_within=settings.limits.answer_within,
            give_up=self._give_up,
            keep_refused=self._keep_refused,
        )

    def _knock(self, _: str, described: _Knocking) -> tuple[Knock | None, Close]:
        knock = self._book.knock(described[0])
        return knock, nothing if knock is None else knock.close

    def _endpoint(self, _: str, described: _Binding) -> tuple[Endpoint, Close]:
        settings, knock = described
        return assembly.bind_endpoint(settings, self._book, knock), nothing

    def _sender(self, name: str, described: _Sending) -> tuple[Upstream, Close]:
        settings, before, confirmer = described
        forwarder = assembly.forwarder(settings, self._clock)
        return assembly.upstream(name, settings, before, forwarder, confirmer), forwarder.close

    def _passage(self, _: str, settings: UpstreamSettings) -> tuple[Passage, Close]:
        forwarder = assembly.forwarder(settings, self._clock)
        return assembly.passage(settings, forwarder), forwarder.close


class Changeover:
    """Exchanges the generation in use for another one, with everything that goes by it."""

    def __init__(
        self,
        generations: Generations,
        *,
        book: AddressBook,
        clients: ClientLocator,
        connections: Connections,
        edge: Edge,
        dispatcher: Dispatcher,
        state: State | None,
        telemetry: Telemetry,
    ) -> None:
        """Take the parts that run. `state`: tells of endpoints, where this process has any."""
        self._generations = generations
        self._book = book
        self._clients = clients
        self._connections = connections
        self._edge = edge
        self._dispatcher = dispatcher
        self._state = state
        self._telemetry = telemetry
        self._dns = generations.present.settings.dns
        self._leaving: asyncio.Queue[_Leaving] = asyncio.Queue()

    async def to(self, settings: Settings) -> None:
        """Go by these settings from the next request and the next attempt on.

        All is built before anything is exchanged; the exchange is one step of the event loop, and
        the series of new endpoints begin after it.

        Raises:
            Exception: it cannot be built; nothing has changed.
        """
        before = self._generations.present
        try:
            # First, since who is let to knock is built from it.
            self._look_up_as(settings)
            following = await self._generations.build(settings)
        except BaseException:
            self._look_up_as(before.settings)
            self._book.follow(before.hosts)
            self._leaving.put_nowait(_Leaving((), (), self._generations.others()))
            raise
        self._generations.take(following)
        self._clients.become(settings.trusted_proxies, settings.forwarded_header)
        self._book.follow(following.hosts)
        limits = settings.limits
        self._connections.become(
            total=limits.connections, per_address=limits.connections_per_address
        )
        self._edge.become(
            ingest=following.ingest,
            body=assembly.body_limits(settings),
            header_timeout=limits.header_timeout,
        )
        ends = self._dispatcher.replace(following.upstreams)
        if self._state is not None:
            self._state.become(following.endpoints)
        self._leaving.put_nowait(_Leaving((before.ingest,), ends, self._generations.others()))
        announce((), settings.upstreams, self._telemetry)
        for each in following.new_since(before):
            announce((each,), (), self._telemetry)
            await asyncio.sleep(0)

    async def run(self) -> None:
        """Close what is left behind after its last request and attempt, until cancelled."""
        while True:
            leaving = await self._leaving.get()
            for ingest in leaving.ingests:
                await ingest.idle()
            for end in leaving.ends:
                await end.wait()
            await leaving.close()

    def _look_up_as(self, settings: Settings) -> None:
        if settings.dns != self._dns:
            self._dns = settings.dns
            self._book.become(
                assembly.resolver(settings), assembly.policy(settings), settings.dns.knock_interval
            )


@dataclass(frozen=True, slots=True)
class _Leaving:
    """What a generation leaves behind: what must end first, and what closes the rest then."""

    ingests: Sequence[Ingest]
    ends: Sequence[asyncio.Event]
    close: Close


def announce(
    endpoints: Iterable[EndpointSettings], upstreams: Iterable[str], telemetry: Telemetry
) -> None:
    """Let the series of these endpoints and upstreams begin."""
    telemetry.announce({each.name: provider_name(each) for each in endpoints}, upstreams)
