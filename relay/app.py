"""The composition root: settings become running parts, started and stopped in order.

Everything is constructed here and nowhere else; the rest of the package is handed what it needs.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from random import SystemRandom

from relay.addressbook import AddressBook
from relay.admin.auth import Gatekeeper
from relay.admin.server import Admin
from relay.attempts import Upstream
from relay.clientip import ClientLocator, ForwardedHeader
from relay.clock import Clock, SystemClock
from relay.config import Settings, certificates
from relay.config.binding import provider, senders, terms
from relay.config.endpoint import Endpoint as EndpointSettings
from relay.config.settings import SqliteSpool as SqliteSettings
from relay.dispatch import Dispatcher
from relay.dnsmemory import DnsMemory
from relay.edge.body import BodyLimits
from relay.edge.connections import Connections
from relay.edge.server import Edge, Listener
from relay.edge.tls import server_context
from relay.errors import RelayError
from relay.forward import Forwarder
from relay.hostrecord import Policy
from relay.housekeeping import Housekeeping
from relay.ids import event_ids
from relay.ingest import Endpoint, Ingest
from relay.logs import Log
from relay.model import Address
from relay.retry import RetryPolicy
from relay.routing import Routes
from relay.signing import Signer
from relay.sources import Allowlist, Mode, SourceObserver
from relay.sources.dns import Resolver
from relay.spool import Spool, SpoolBroken
from relay.spool.sqlite import Migrated, migrate
from relay.spool.sqlite import open_spool as open_sqlite
from relay.state import State
from relay.telemetry import Telemetry


class Role(StrEnum):
    """Which halves of the relay run."""

    ALL = "all"
    EDGE = "edge"
    DISPATCH = "dispatch"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a running relay listens, with the ports really taken."""

    public: tuple[tuple[str, int], ...]
    admin: tuple[str, int]


class App:
    """One relay process."""

    def __init__(
        self, settings: Settings, *, log: Log, clock: Clock, role: Role = Role.ALL
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._role = role
        self._telemetry = Telemetry(log)
        self._dice = SystemRandom()
        self._gave_up = asyncio.Event()
        self._broken: SpoolBroken | None = None

    async def serve(self, stop: asyncio.Event, started: Callable[[Addresses], None]) -> None:
        """Run until `stop` is set, then finish what is in hand within `shutdown_grace`.

        started: told where we listen, once everything does.

        Raises:
            OSError: an address cannot be listened on.
            SpoolUnavailable: the spool cannot be opened, or (`SpoolBroken`) cannot be trusted any
                more: nothing is acknowledged from then on, and only a restart may help.
        """
        settings = self._settings
        self._telemetry.announce(
            {each.name: _provider_name(each) for each in settings.endpoints}, settings.upstreams
        )
        async with AsyncExitStack() as stack:
            spool = await open_spool(settings, clock=self._clock)
            stack.push_async_callback(spool.close)
            book = self._address_book()
            endpoints = [self._endpoint(each, book) for each in settings.endpoints]
            clients = ClientLocator(
                settings.trusted_proxies, ForwardedHeader(settings.forwarded_header)
            )
            connections = self._connections(clients)
            edge = self._edge(endpoints, clients, connections, spool)
            dispatcher = self._dispatcher(spool, stack)
            state = State(
                clock=self._clock,
                spool=spool,
                endpoints=endpoints,
                statuses=book.statuses,
                breakers=dispatcher.breakers,
                connections=connections,
                certificates=self._certificates(),
                live=lambda: self._role is Role.DISPATCH or edge.accepting,
            )
            admin = Admin(
                state=state,
                spool=spool,
                telemetry=self._telemetry,
                gatekeeper=Gatekeeper(settings.admin.token, self._clock),
            )
            stack.push_async_callback(admin.stop)
            public: list[tuple[str, int]] = []
            if self._role is not Role.DISPATCH:
                public = await edge.start(self._listeners())
                stack.push_async_callback(edge.stop, settings.shutdown_grace)
            bind = settings.admin.bind
            addresses = Addresses(tuple(public), await admin.start(bind.host, bind.port))
            async with asyncio.TaskGroup() as group:
                background = [group.create_task(self._housekeeping(spool).run())]
                if self._role is not Role.DISPATCH:
                    background.append(group.create_task(book.run()))
                if self._role is not Role.EDGE:
                    group.create_task(self._dispatch(dispatcher))
                started(addresses)
                await self._until(stop)
                grace = settings.shutdown_grace
                await asyncio.gather(edge.stop(grace), dispatcher.stop(grace.total_seconds()))
                for task in background:
                    task.cancel()
        if self._broken is not None:
            raise self._broken

    def _give_up(self, error: SpoolBroken) -> None:
        self._broken = error
        self._gave_up.set()

    async def _until(self, stop: asyncio.Event) -> None:
        """Return when we are told to stop, or have to."""
        loop = asyncio.get_running_loop()
        waits = {loop.create_task(stop.wait()), loop.create_task(self._gave_up.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # ---- the inbound half -------------------------------------------------------------------

    def _address_book(self) -> AddressBook:
        memory = _memory(self._settings, self._clock)
        if (problem := memory.load()) is not None:
            self._telemetry.log.warning("dns_memory_ignored", detail=problem)
        return _address_book(self._settings, memory, self._clock, self._telemetry)

    def _endpoint(self, settings: EndpointSettings, book: AddressBook) -> Endpoint:
        bound = provider(_provider_name(settings))
        facts = bound.facts
        who = senders(settings, facts.environments[settings.environment])
        return Endpoint(
            name=settings.name,
            path=settings.path,
            methods=facts.methods,
            provider=facts.name,
            environment=settings.environment,
            upstream=settings.upstream,
            inspector=bound.bind(terms(settings, facts)),
            headers=facts.headers,
            allowlist=book.allowlist(settings.name, who.networks, who.hosts),
            mode=settings.allowlist.mode,
            knock=book.knock(who.hosts),
        )

    def _connections(self, clients: ClientLocator) -> Connections:
        limits = self._settings.limits
        return Connections(
            total=limits.connections,
            per_address=limits.connections_per_address,
            shares_address=clients.trusts,
        )

    def _edge(
        self,
        endpoints: list[Endpoint],
        clients: ClientLocator,
        connections: Connections,
        spool: Spool,
    ) -> Edge:
        limits = self._settings.limits
        ingest = Ingest(
            routes=Routes(endpoints),
            clients=clients,
            spool=spool,
            telemetry=self._telemetry,
            clock=self._clock,
            new_id=event_ids(self._clock),
            answer_within=limits.answer_within,
            give_up=self._give_up,
        )
        return Edge(
            ingest=ingest,
            telemetry=self._telemetry,
            clock=self._clock,
            connections=connections,
            body=BodyLimits(size=limits.body, within=limits.body_timeout),
            header_timeout=limits.header_timeout,
        )

    def _listeners(self) -> list[Listener]:
        return [
            Listener(
                each.bind.host,
                each.bind.port,
                None if each.tls is None else server_context(each.tls.certificate, each.tls.key),
            )
            for each in self._settings.listen
        ]

    # ---- the outbound half ------------------------------------------------------------------

    async def _dispatch(self, dispatcher: Dispatcher) -> None:
        try:
            await dispatcher.run()
        except* SpoolBroken as broken:
            self._give_up(_first(broken))

    def _dispatcher(self, spool: Spool, stack: AsyncExitStack) -> Dispatcher:
        upstreams = []
        for name, settings in self._settings.upstreams.items():
            forwarder = Forwarder(
                settings.url,
                timeout=settings.timeout,
                concurrency=settings.concurrency,
                clock=self._clock,
                signer=Signer(settings.signing_secrets) if settings.signing_secrets else None,
            )
            stack.push_async_callback(forwarder.close)
            upstreams.append(
                Upstream(
                    name=name,
                    sender=forwarder,
                    timeout=settings.timeout,
                    concurrency=settings.concurrency,
                    retry=RetryPolicy(settings.retry.schedule, settings.retry.give_up_after),
                    order_by_key=settings.order_by_key,
                )
            )
        return Dispatcher(
            spool=spool,
            upstreams=upstreams,
            clock=self._clock,
            dice=self._dice,
            observer=self._telemetry,
        )

    # ---- beside both ------------------------------------------------------------------------

    def _housekeeping(self, spool: Spool) -> Housekeeping:
        settings = self._settings.spool
        return Housekeeping(
            spool,
            retain=settings.retain,
            retain_keys=settings.retain_keys,
            clock=self._clock,
            telemetry=self._telemetry,
        )

    def _certificates(self) -> dict[str, datetime]:
        return {
            str(each.bind): certificates.read(each.tls.certificate).not_after
            for each in self._settings.listen
            if each.tls is not None
        }


def _first(group: BaseExceptionGroup[SpoolBroken]) -> SpoolBroken:
    """Return one of the errors; they all say the same."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


class _Silence:
    """A `SourceObserver` for the command line, where nothing is looked up."""

    def looked_up(self, host: str, result: str) -> None: ...

    def changed(self, host: str, change: str, address: Address) -> None: ...


async def open_spool(settings: Settings, *, clock: Clock | None = None) -> Spool:
    """Open the configured spool, making it when it is not there.

    Raises:
        SpoolUnavailable: it cannot be opened; the message says why.
    """
    return await open_sqlite(_sqlite(settings).path, clock or SystemClock())


def migrate_spool(settings: Settings) -> Migrated:
    """Bring the spool to the schema of this version; return the versions before and after.

    Raises:
        SpoolUnavailable: it cannot be done; the message says why, and nothing has changed.
    """
    return migrate(_sqlite(settings).path)


def known_allowlists(settings: Settings) -> dict[str, tuple[Mode, Allowlist]]:
    """Return every endpoint's mode and allowlist, from the settings and what DNS said last."""
    clock = SystemClock()
    memory = _memory(settings, clock)
    if (problem := memory.load()) is not None:
        raise RelayError(problem)
    book = _address_book(settings, memory, clock, _Silence())
    found = {}
    for endpoint in settings.endpoints:
        facts = provider(_provider_name(endpoint)).facts
        who = senders(endpoint, facts.environments[endpoint.environment])
        allowlist = book.allowlist(endpoint.name, who.networks, who.hosts)
        found[endpoint.name] = (endpoint.allowlist.mode, allowlist)
    return found


def _memory(settings: Settings, clock: Clock) -> DnsMemory:
    return DnsMemory(settings.state_dir / "dns.json", settings.dns.max_stale, clock)


def _address_book(
    settings: Settings, memory: DnsMemory, clock: Clock, observer: SourceObserver
) -> AddressBook:
    dns = settings.dns
    return AddressBook(
        resolver=Resolver(dns.nameservers, dns.timeout),
        policy=Policy(dns.min_refresh, dns.max_refresh, dns.retain, dns.max_stale),
        knock_interval=dns.knock_interval,
        memory=memory,
        clock=clock,
        dice=SystemRandom(),
        observer=observer,
    )


def _provider_name(endpoint: EndpointSettings) -> str:
    if not isinstance(endpoint.provider, str):
        raise RelayError("inline providers are refused when the configuration is read")
    return endpoint.provider


def _sqlite(settings: Settings) -> SqliteSettings:
    if not isinstance(settings.spool, SqliteSettings):
        raise RelayError("other spools are refused when the configuration is read")
    return settings.spool
