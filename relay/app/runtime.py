"""One relay process: its parts are started, run and stopped in order."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from random import SystemRandom

from relay.admin.auth import Authenticator
from relay.admin.health import Health
from relay.admin.server import Admin
from relay.allowlist.registry import HostRegistry
from relay.app import builder
from relay.app.generation import LiveConfigBuilder
from relay.app.maintenance import CertificateReloader, RetentionJob
from relay.app.reload import ConfigSwitch, Reloader, announce
from relay.app.spools import open_spool
from relay.app.watch import watch
from relay.config import Settings
from relay.core.clock import Clock
from relay.core.errors import SpoolUnavailable
from relay.core.files import Stamp
from relay.delivery.dispatcher import Dispatcher
from relay.delivery.proxy import ProxiedHistory
from relay.edge.listener import Edge
from relay.edge.tls import ServerTls
from relay.ingest.refusals import RefusalRecorder
from relay.spool import Spool, SpoolBroken
from relay.telemetry import Telemetry
from relay.telemetry.log import Log


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
    registry: HostRegistry
    history: ProxiedHistory
    recorder: RefusalRecorder
    edge: Edge
    dispatcher: Dispatcher
    admin: Admin
    config_switch: ConfigSwitch
    tls: Mapping[str, ServerTls]
    certificate_reloader: CertificateReloader


class App:
    """One relay process. `serve` is called once."""

    def __init__(
        self,
        settings: Settings,
        *,
        log: Log,
        clock: Clock,
        role: Role = Role.ALL,
        load: Callable[[], Settings] | None = None,
        watched: Callable[[], Mapping[Path, Stamp]] | None = None,
    ) -> None:
        """Take what to serve.

        load: reads the settings again; without it they stay as they are.
        watched: the files that they come from, as they were before they were read; they are read
            again whenever those change. Without it: only when `reload` is called.
        """
        self._settings = settings
        self._clock = clock
        self._role = role
        self._telemetry = Telemetry(log)
        self._gave_up = asyncio.Event()
        self._broken: SpoolBroken | None = None
        self._watched = watched
        self._parts: _Parts | None = None
        self._reloader: Reloader | None = None
        if load is not None:
            self._reloader = Reloader(
                settings,
                load=load,
                change=self._change,
                beside=self._renew,
                telemetry=self._telemetry,
                clock=clock,
            )

    def reload(self) -> None:
        """Read the settings again soon, and the certificates. Instant; at any time."""
        if self._reloader is not None:
            self._reloader.request()

    async def serve(self, stop: asyncio.Event, started: Callable[[Addresses], None]) -> None:
        """Run until `stop` is set, then finish what is in hand within `shutdown_grace`.

        started: told where we listen, once everything does.

        Raises:
            OSError: an address cannot be listened on.
            SpoolUnavailable: the spool cannot be opened, or (`SpoolBroken`) cannot be trusted any
                more: nothing is acknowledged from then on, and only a restart may help.
        """
        async with AsyncExitStack() as stack:
            parts = self._parts = await self._assemble(stack)
            started(await self._listen(parts, stack))
            async with asyncio.TaskGroup() as group:
                retention = RetentionJob(
                    parts.spool,
                    retain=self._settings.spool.retain,
                    retain_keys=self._settings.spool.retain_keys,
                    clock=self._clock,
                    telemetry=self._telemetry,
                )
                background = [
                    group.create_task(retention.run()),
                    group.create_task(self._check_integrity(parts.spool)),
                ]
                changes = [group.create_task(each) for each in self._changes(parts)]
                if self._role.receives:
                    background.append(group.create_task(parts.registry.run()))
                    background.append(group.create_task(self._write_down(parts.history)))
                    background.append(group.create_task(self._write_down(parts.recorder)))
                if self._role.delivers:
                    group.create_task(self._dispatch(parts.dispatcher))
                await self._until(stop)
                # What begins now would not be stopped any more.
                for task in changes:
                    task.cancel()
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
        announce(settings.endpoints, settings.upstreams, telemetry)
        telemetry.configured(clock.now())
        spool = await open_spool(settings, clock)
        stack.push_async_callback(spool.close)
        await spool.reserve_space()
        if self._role.delivers and (
            recovered := await spool.recover(builder.longest_delay(settings))
        ):
            self._telemetry.log.warning("recovered", events=recovered)
        await self._warn_of_missing_upstreams(spool)
        registry = self._host_registry()
        clients = builder.client_locator(settings)
        connections = builder.connection_counter(settings, clients)
        history = builder.history(spool, clock, telemetry)
        stack.push_async_callback(history.flush)
        recorder = builder.recorder(spool, clock, telemetry)
        stack.push_async_callback(recorder.flush)
        configs = LiveConfigBuilder(
            registry=registry,
            clients=clients,
            spool=spool,
            history=history,
            keep_refused=recorder.note,
            clock=clock,
            telemetry=telemetry,
            give_up=self._stop_broken,
        )
        stack.push_async_callback(configs.close)
        first = await configs.build(settings)
        configs.activate(first)
        edge = builder.edge(
            settings,
            ingest=first.ingest,
            clients=clients,
            connections=connections,
            clock=clock,
            telemetry=telemetry,
        )
        dispatcher = Dispatcher(
            spool=spool,
            upstreams=first.upstreams,
            clock=clock,
            dice=SystemRandom(),
            observer=telemetry,
        )
        tls = builder.server_tls(settings)
        certificate_reloader = CertificateReloader(tls, clock, telemetry.log)
        state = Health(
            clock=clock,
            spool=spool,
            endpoints=first.endpoints if self._role.receives else [],
            statuses=registry.statuses if self._role.receives else list,
            breakers=dispatcher.breakers if self._role.delivers else dict,
            connections=lambda: len(connections),
            certificates=certificate_reloader.ends,
            live=lambda: edge.accepting or not self._role.receives,
        )
        admin = Admin(
            state=state,
            spool=spool,
            releaser=builder.releaser(
                spool,
                lambda: configs.active.routes,
                lambda: configs.active.settings.every_secret(),  # noqa: PLW0108 - it changes
                clock,
            ),
            telemetry=telemetry,
            authenticator=Authenticator(settings.admin.token, clock),
            reload=None if self._reloader is None else self._reloader.reload,
        )
        config_switch = ConfigSwitch(
            configs,
            registry=registry,
            clients=clients,
            connections=connections,
            edge=edge,
            dispatcher=dispatcher,
            state=state if self._role.receives else None,
            telemetry=telemetry,
        )
        return _Parts(
            spool,
            registry,
            history,
            recorder,
            edge,
            dispatcher,
            admin,
            config_switch,
            tls,
            certificate_reloader,
        )

    async def _check_integrity(self, spool: Spool) -> None:
        """Look the spool over, beside everything else: a start never waits for it."""
        try:
            self._telemetry.integrity_checked(await spool.check_integrity())
        except SpoolUnavailable as error:
            self._telemetry.log.warning("inspection_failed", detail=str(error))

    async def _warn_of_missing_upstreams(self, spool: Spool) -> None:
        """Say so when events wait for an upstream that nobody serves any more."""
        waiting = (await spool.stats()).oldest_pending
        for name in sorted(set(waiting) - set(self._settings.upstreams)):
            self._telemetry.log.error(
                "upstream_missing",
                upstream=name,
                detail="events wait for an upstream that is not configured; name it again",
            )

    def _host_registry(self) -> HostRegistry:
        cache = builder.dns_cache(self._settings, self._clock, self._telemetry.dns_cache_unsaved)
        if (problem := cache.load()) is not None:
            self._telemetry.log.warning("dns_memory_ignored", detail=problem)
        return builder.host_registry(self._settings, cache, self._clock, self._telemetry)

    async def _listen(self, parts: _Parts, stack: AsyncExitStack) -> Addresses:
        stack.push_async_callback(parts.admin.stop)
        stack.push_async_callback(parts.edge.stop, self._settings.shutdown_grace)
        public: list[tuple[str, int]] = []
        if self._role.receives:
            public = await parts.edge.start(builder.listeners(self._settings, parts.tls))
        bind = self._settings.admin.bind
        return Addresses(tuple(public), await parts.admin.start(bind.host, bind.port))

    # ---- change -----------------------------------------------------------------------------

    def _changes(self, parts: _Parts) -> list[Coroutine[None, None, None]]:
        """Return what exchanges settings and certificates while everything runs."""
        changes = [parts.config_switch.run(), parts.certificate_reloader.run()]
        if self._reloader is not None:
            reloader = self._reloader
            changes.append(reloader.run())
            if self._watched is not None:
                changes.append(watch(self._watched, reloader.request, self._clock))
        return changes

    async def _renew(self) -> None:
        if self._parts is not None:
            await self._parts.certificate_reloader.poll()

    async def _change(self, settings: Settings) -> None:
        if self._parts is None:
            raise RuntimeError("nothing is exchanged before `serve`")
        await self._parts.config_switch.switch(settings)
        self._settings = settings
        try:
            await self._warn_of_missing_upstreams(self._parts.spool)
        except SpoolUnavailable as error:
            self._telemetry.log.warning("upstreams_unchecked", detail=str(error))

    # ---- stop -------------------------------------------------------------------------------

    async def _dispatch(self, dispatcher: Dispatcher) -> None:
        try:
            await dispatcher.run()
        except* SpoolBroken as broken:
            self._stop_broken(_first(broken))

    async def _write_down(self, history: ProxiedHistory | RefusalRecorder) -> None:
        try:
            await history.run()
        except SpoolBroken as broken:
            self._stop_broken(broken)

    def _stop_broken(self, error: SpoolBroken) -> None:
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
