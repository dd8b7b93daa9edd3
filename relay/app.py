"""One relay process: its parts are started, run and stopped in order."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from random import SystemRandom

from relay import assembly
from relay.admin.auth import Gatekeeper
from relay.admin.server import Admin
from relay.admin.state import State
from relay.clock import Clock
from relay.config import Settings, provider_name
from relay.dispatch import Dispatcher
from relay.edge.server import Edge
from relay.errors import SpoolUnavailable
from relay.journal import Journal
from relay.logs import Log
from relay.sources.addressbook import AddressBook
from relay.spool import Spool, SpoolBroken
from relay.telemetry import Telemetry
from relay.upstream.forward import Forwarder


class Role(StrEnum):
    """Which halves of the relay run."""

    ALL = "all"
    EDGE = "edge"
    DISPATCH = "dispatch"

    @property
    def receives(self) -> bool:
        return self is not Role.DISPATCH

    @property
    def delivers(self) -> bool:
        return self is not Role.EDGE


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a running relay listens, with the ports really taken."""

    public: tuple[tuple[str, int], ...]
    admin: tuple[str, int]


@dataclass(frozen=True, slots=True)
class _Parts:
    """What runs."""

    spool: Spool
    book: AddressBook
    journal: Journal
    edge: Edge
    dispatcher: Dispatcher
    admin: Admin


class App:
    """One relay process. `serve` is called once."""

    def __init__(
        self, settings: Settings, *, log: Log, clock: Clock, role: Role = Role.ALL
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._role = role
        self._telemetry = Telemetry(log)
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
        async with AsyncExitStack() as stack:
            parts = await self._assemble(stack)
            started(await self._listen(parts, stack))
            async with asyncio.TaskGroup() as group:
                keeping = assembly.housekeeping(
                    self._settings, parts.spool, self._clock, self._telemetry
                )
                background = [
                    group.create_task(keeping.run()),
                    group.create_task(self._inspect(parts.spool)),
                ]
                if self._role.receives:
                    background.append(group.create_task(parts.book.run()))
                    background.append(group.create_task(self._write_down(parts.journal)))
                if self._role.delivers:
                    group.create_task(self._dispatch(parts.dispatcher))
                await self._until(stop)
                grace = self._settings.shutdown_grace
                await asyncio.gather(
                    parts.edge.stop(grace), parts.dispatcher.stop(grace.total_seconds())
                )
                for task in background:
                    task.cancel()
        if self._broken is not None:
            raise self._broken

    # ---- start ------------------------------------------------------------------------------

    async def _assemble(self, stack: AsyncExitStack) -> _Parts:
        """Construct everything; the stack closes what needs closing."""
        settings, clock, telemetry = self._settings, self._clock, self._telemetry
        telemetry.announce(
            {each.name: provider_name(each) for each in settings.endpoints},
            settings.upstreams,
        )
        spool = await assembly.open_spool(settings, clock)
        stack.push_async_callback(spool.close)
        if recovered := await spool.recover(assembly.longest_delay(settings)):
            self._telemetry.log.warning("recovered", events=recovered)
        await self._mention_the_forgotten(spool)
        book = self._address_book()
        endpoints = [assembly.bind_endpoint(each, book) for each in settings.endpoints]
        clients = assembly.client_locator(settings)
        connections = assembly.connection_counter(settings, clients)
        journal = assembly.journal(spool, clock, telemetry)
        stack.push_async_callback(journal.flush)
        passthrough = assembly.passthrough(
            settings,
            # Connections of its own: neither a backlog nor a slow answer holds up the other half.
            forwarders=self._forwarders(stack),
            clock=clock,
            telemetry=telemetry,
            journal=journal,
        )
        edge = assembly.edge(
            settings,
            endpoints=endpoints,
            clients=clients,
            connections=connections,
            spool=spool,
            pass_on=passthrough.pass_on,
            clock=clock,
            telemetry=telemetry,
            give_up=self._give_up,
        )
        dispatcher = assembly.dispatcher(
            settings,
            forwarders=self._forwarders(stack),
            spool=spool,
            clock=clock,
            dice=SystemRandom(),
            telemetry=telemetry,
        )
        state = State(
            clock=clock,
            spool=spool,
            endpoints=endpoints if self._role.receives else [],
            statuses=book.statuses if self._role.receives else list,
            breakers=dispatcher.breakers if self._role.delivers else dict,
            connections=lambda: len(connections),
            certificates=assembly.certificate_ends(settings),
            live=lambda: edge.accepting or not self._role.receives,
        )
        gatekeeper = Gatekeeper(settings.admin.token, clock)
        admin = Admin(state=state, spool=spool, telemetry=telemetry, gatekeeper=gatekeeper)
        return _Parts(spool, book, journal, edge, dispatcher, admin)

    async def _inspect(self, spool: Spool) -> None:
        """Look the spool over, beside everything else: a start never waits for it."""
        try:
            self._telemetry.inspected(await spool.inspect())
        except SpoolUnavailable as error:
            self._telemetry.log.warning("inspection_failed", detail=str(error))

    def _forwarders(self, stack: AsyncExitStack) -> dict[str, Forwarder]:
        forwarders = assembly.forwarders(self._settings, self._clock)
        for forwarder in forwarders.values():
            stack.push_async_callback(forwarder.close)
        return forwarders

    async def _mention_the_forgotten(self, spool: Spool) -> None:
        """Say so when events wait for an upstream that nobody serves any more."""
        waiting = (await spool.stats()).oldest_pending
        for name in sorted(set(waiting) - set(self._settings.upstreams)):
            self._telemetry.log.error(
                "upstream_missing",
                upstream=name,
                detail="events wait for an upstream that is not configured; name it again",
            )

    def _address_book(self) -> AddressBook:
        memory = assembly.dns_memory(self._settings, self._clock, self._telemetry.unsaved)
        if (problem := memory.load()) is not None:
            self._telemetry.log.warning("dns_memory_ignored", detail=problem)
        return assembly.address_book(self._settings, memory, self._clock, self._telemetry)

    async def _listen(self, parts: _Parts, stack: AsyncExitStack) -> Addresses:
        stack.push_async_callback(parts.admin.stop)
        stack.push_async_callback(parts.edge.stop, self._settings.shutdown_grace)
        public: list[tuple[str, int]] = []
        if self._role.receives:
            public = await parts.edge.start(assembly.listeners(self._settings))
        bind = self._settings.admin.bind
        return Addresses(tuple(public), await parts.admin.start(bind.host, bind.port))

    # ---- stop -------------------------------------------------------------------------------

    async def _dispatch(self, dispatcher: Dispatcher) -> None:
        try:
            await dispatcher.run()
        except* SpoolBroken as broken:
            self._give_up(_first(broken))

    async def _write_down(self, journal: Journal) -> None:
        try:
            await journal.run()
        except SpoolBroken as broken:
            self._give_up(broken)

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


def _first(group: BaseExceptionGroup[SpoolBroken]) -> SpoolBroken:
    """Return one of the errors; they all say the same."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
