"""One relay process: its parts are constructed, started, run and stopped in order.

What a reload replaces is built by `generation`; the parts here live as long as the process.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from random import SystemRandom

from relay.admin.audit import AuditTrail
from relay.admin.auth import AllowedHosts, Authenticator, GuessThrottle
from relay.admin.health import Health
from relay.admin.server import Admin
from relay.admin.upstreams import Upstreams
from relay.allowlist import ProvenAddresses
from relay.allowlist.registry import HostRegistry
from relay.app import builder
from relay.app.behind_answers import BehindAnswers, Runs
from relay.app.edge_parts import limits_on_connections, listeners, server_tls
from relay.app.explaining import ExplainRefusal, beside_the_loop
from relay.app.generation import LiveConfigBuilder
from relay.app.live_status import LiveStatus
from relay.app.maintenance import CertificateReloader, ReferenceJob, RetentionJob
from relay.app.reload import ConfigSwitch, Reloader, announce, body_reader
from relay.app.serving_spool import prepare_spool, warn_of_missing_upstreams
from relay.app.spools import open_spool
from relay.app.supervisor import Supervisor
from relay.app.tls_renewal import TlsRenewal
from relay.app.token_file import TokenFile, token_file
from relay.app.watch import watch
from relay.config import Settings
from relay.core.clock import Clock
from relay.core.errors import SpoolUnavailable
from relay.core.files import Stamp
from relay.delivery.dispatcher import Dispatcher
from relay.edge.listener import Edge
from relay.edge.tls import ServerTls
from relay.ingest.client_address import Clients
from relay.spool import Spool, SpoolBroken
from relay.spool.audit import Actor
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
    """The parts of a running process."""

    spool: Spool
    registry: HostRegistry
    behind: BehindAnswers
    edge: Edge
    dispatcher: Dispatcher
    admin: Admin
    config_switch: ConfigSwitch
    tls: Mapping[str, ServerTls]
    certificate_reloader: CertificateReloader
    tokens: TokenFile


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
        supervisor: Supervisor | None = None,
        explain_refusal: ExplainRefusal | None = None,
    ) -> None:
        """Take what to serve.

        load: reads the settings again; without it there are no reloads.
        watched: returns the stamps of the files that they were read from (`relay.app.watch`); a
            change of these reloads. Without it: only `reload` does.
        supervisor: is told when this process is ready, reloads and stops.
        explain_refusal: explains refusals for the admin API; without it, that answers 404.
        """
        self._settings = settings
        self._clock = clock
        self._role = role
        self._telemetry = Telemetry(log)
        self._watched = watched
        self._supervisor = supervisor or Supervisor({}, clock)
        self._explain_refusal = explain_refusal
        self._parts: _Parts | None = None
        self._spool_failed = asyncio.Event()
        self._failure: SpoolBroken | None = None
        self._stopping = False
        self._reloader: Reloader | None = None
        if load is not None:
            self._reloader = Reloader(
                settings,
                load=load,
                switch=self._switch,
                renew=self._renew_certificates,
                telemetry=self._telemetry,
                clock=clock,
                supervisor=self._supervisor,
                on_signalled=self._record_hangup,
            )

    def reload(self) -> None:
        """Schedule a reload of settings and certificates, as SIGHUP does. Returns at once."""
        if self._reloader is not None:
            self._reloader.request(signalled=True)

    async def serve(self, stop: asyncio.Event, started: Callable[[Addresses], None]) -> None:
        """Run until `stop` is set, then finish what is in flight within `shutdown_grace`.

        started: called with the addresses once every listener accepts.

        Raises:
            OSError: an address cannot be listened on.
            SpoolUnavailable: the spool cannot be opened, or (`SpoolBroken`) cannot be trusted any
                more: nothing is acknowledged from then on, and only a restart may help.
        """
        async with AsyncExitStack() as stack:
            parts = self._parts = await self._construct(stack)
            started(await self._listen(parts, stack))
            self._supervisor.ready()
            await self._run(parts, stop)
        if self._failure is not None:
            raise self._failure

    # ---- construct --------------------------------------------------------------------------

    async def _construct(self, stack: AsyncExitStack) -> _Parts:
        """Construct every part; the stack closes what needs closing."""
        settings, clock, telemetry = self._settings, self._clock, self._telemetry
        announce(settings.endpoints, settings.upstreams, telemetry)
        telemetry.configured(clock.now())
        spool = await open_spool(settings, clock)
        stack.push_async_callback(spool.close)
        await prepare_spool(spool, settings, telemetry, delivers=self._role.delivers)
        proven = ProvenAddresses(clock)
        registry = self._host_registry(proven)
        locator = builder.client_locator(settings)
        clients = Clients(locator, settings.limits.connections_per_address)
        behind = BehindAnswers(
            spool,
            clock=clock,
            telemetry=telemetry,
            paths=lambda: configs.active.paths,
            endpoints=lambda: configs.active.endpoints,
            secrets=lambda: configs.active.settings.every_secret(),  # noqa: PLW0108 - it changes
        )
        stack.push_async_callback(behind.flush)
        tokens = self._token_file()
        stack.push_async_callback(tokens.save)
        configs = LiveConfigBuilder(
            registry=registry,
            clients=clients,
            spool=spool,
            history=behind.history,
            on_refused=behind.recorder.note,
            clock=clock,
            telemetry=telemetry,
            on_spool_broken=self._fail,
            proven=proven,
            unknown_senders=behind.unknown_senders,
            access_tokens=tokens.tokens,
        )
        stack.push_async_callback(configs.close)
        first = await configs.build(settings)
        configs.activate(first)
        connections = limits_on_connections(
            settings,
            locator,
            clock,
            lambda address: (
                proven.holds(address) or configs.active.listed.match(address) is not None
            ),
            telemetry.evicted,
        )
        edge = Edge(
            ingest=first.ingest,
            telemetry=telemetry,
            clock=clock,
            connections=connections,
            body=body_reader(settings),
            header_timeout=settings.limits.header_timeout,
            trusts=locator.trusts,
        )
        dispatcher = Dispatcher(
            spool=spool,
            upstreams=first.upstreams,
            clock=clock,
            dice=SystemRandom(),
            observer=telemetry,
        )
        upstreams = Upstreams(
            spool,
            configured=lambda: configs.active.settings.upstreams,
            endpoints=lambda: configs.active.settings.endpoints,
            breakers=dispatcher.breakers if self._role.delivers else dict,
            changed=dispatcher.refresh_pauses,
            clock=clock,
        )
        tls = server_tls(settings)
        certificate_reloader = CertificateReloader(tls, clock, telemetry.log)
        health = Health(
            clock=clock,
            spool=spool,
            endpoints=first.endpoints if self._role.receives else [],
            statuses=registry.statuses if self._role.receives else list,
            breakers=dispatcher.breakers if self._role.delivers else dict,
            connections=lambda: len(connections),
            certificates=certificate_reloader.ends,
            live=lambda: edge.accepting or not self._role.receives,
            upstreams=lambda: configs.active.settings.upstreams.keys(),  # noqa: PLW0108 - it changes
            stopping=lambda: self._stopping,
            paused=upstreams.paused,
            redactions=lambda: configs.active.settings.redactions(),  # noqa: PLW0108 - it changes
            client_certificates=lambda: configs.active.client_certificates,
        )
        admin = Admin(
            health=health,
            spool=spool,
            releaser=behind.releaser,
            telemetry=telemetry,
            status=LiveStatus(
                spool,
                behind.activity,
                settings=lambda: configs.active.settings,
                health=health,
                telemetry=telemetry,
                clock=clock,
                role=self._role,
            ).read,
            settings=lambda: configs.active.settings,
            clock=clock,
            authenticator=Authenticator(settings.admin.token, clock, settings.admin.read_token),
            throttle=GuessThrottle(clock),
            hosts=AllowedHosts(settings.admin.hosts),
            trail=AuditTrail(spool, telemetry, clock),
            upstreams=upstreams,
            reload=None if self._reloader is None else self._reloader.reload,
            explain=beside_the_loop(
                self._explain_refusal, lambda: configs.active.settings, telemetry.switch_interval
            ),
        )
        config_switch = ConfigSwitch(
            configs,
            registry=registry,
            locator=locator,
            clients=clients,
            connections=connections,
            edge=edge,
            dispatcher=dispatcher,
            health=health if self._role.receives else None,
            telemetry=telemetry,
            sealing=spool.sealing,
        )
        return _Parts(
            spool,
            registry,
            behind,
            edge,
            dispatcher,
            admin,
            config_switch,
            tls,
            certificate_reloader,
            tokens,
        )

    def _token_file(self) -> TokenFile:
        log = self._telemetry.log
        file = token_file(
            self._settings, self._clock, lambda why: log.error("access_tokens_unsaved", detail=why)
        )
        if (problem := file.load()) is not None:
            log.warning("access_tokens_ignored", detail=problem)
        return file

    def _host_registry(self, proven: ProvenAddresses) -> HostRegistry:
        telemetry = self._telemetry
        cache = builder.dns_cache(self._settings, self._clock, telemetry.dns_cache_unsaved)
        if (problem := cache.load()) is not None:
            telemetry.log.warning("dns_memory_ignored", detail=problem)
        return builder.host_registry(self._settings, cache, self._clock, telemetry, proven.holds)

    async def _listen(self, parts: _Parts, stack: AsyncExitStack) -> Addresses:
        stack.push_async_callback(parts.admin.stop)
        stack.push_async_callback(parts.edge.stop, self._settings.shutdown_grace)
        public: list[tuple[str, int]] = []
        if self._role.receives:
            public = await parts.edge.start(listeners(self._settings, parts.tls))
        bind = self._settings.admin.bind
        return Addresses(tuple(public), await parts.admin.start(bind.host, bind.port))

    # ---- run and stop -----------------------------------------------------------------------

    async def _run(self, parts: _Parts, stop: asyncio.Event) -> None:
        """Run every task until we are to stop, then drain both halves at once."""
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(self._prune(parts.spool)),
                group.create_task(self._index(parts.spool)),
                group.create_task(self._check_integrity(parts.spool)),
                group.create_task(self._supervisor.keep_alive()),
            ]
            reloads = [group.create_task(each) for each in self._reload_tasks(parts)]
            if self._role.receives:
                background.append(group.create_task(parts.registry.run()))
                background.append(group.create_task(parts.tokens.run()))
                background += [
                    group.create_task(self._record(each)) for each in parts.behind.running
                ]
            if self._role.delivers:
                group.create_task(self._dispatch(parts.dispatcher))
            await self._stopped(stop)
            self._stopping = True
            self._supervisor.stopping()
            # What a reload begins now would not be stopped any more.
            for task in reloads:
                task.cancel()
            grace = self._settings.shutdown_grace
            await asyncio.gather(
                parts.edge.stop(grace), parts.dispatcher.stop(grace.total_seconds())
            )
            for task in background:
                task.cancel()

    async def _stopped(self, stop: asyncio.Event) -> None:
        """Return when `stop` is set or the spool has failed."""
        loop = asyncio.get_running_loop()
        waits = {loop.create_task(stop.wait()), loop.create_task(self._spool_failed.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _index(self, spool: Spool) -> None:
        job = ReferenceJob(spool.references, clock=self._clock, telemetry=self._telemetry)
        await job.run()

    async def _prune(self, spool: Spool) -> None:
        kept = self._settings.spool
        job = RetentionJob(
            spool,
            retain=kept.retain,
            retain_keys=kept.retain_keys,
            clock=self._clock,
            telemetry=self._telemetry,
        )
        await job.run()

    async def _check_integrity(self, spool: Spool) -> None:
        """Check the whole spool once, in the background: it takes too long for a start."""
        try:
            self._telemetry.integrity_checked(await spool.check_integrity())
        except SpoolUnavailable as error:
            self._telemetry.log.warning("inspection_failed", detail=str(error))

    async def _dispatch(self, dispatcher: Dispatcher) -> None:
        try:
            await dispatcher.run()
        except* SpoolBroken as broken:
            self._fail(_first(broken))

    async def _record(self, writer: Runs) -> None:
        try:
            await writer.run()
        except SpoolBroken as broken:
            self._fail(broken)

    def _fail(self, error: SpoolBroken) -> None:
        """Stop the process; `serve` raises this error."""
        self._failure = error
        self._spool_failed.set()

    # ---- reload -----------------------------------------------------------------------------

    def _reload_tasks(self, parts: _Parts) -> list[Coroutine[None, None, None]]:
        """Return the coroutines that apply reloads and renew certificates until cancelled."""
        tasks = [parts.config_switch.run(), parts.certificate_reloader.run()]
        if self._reloader is not None:
            reloader = self._reloader
            in_use, log = parts.config_switch.tls_in_use, self._telemetry.log
            renewal = TlsRenewal(in_use, reloader.rebuild, self._clock, log)
            tasks += [reloader.run(), renewal.run()]
            if self._watched is not None:
                tasks.append(watch(self._watched, reloader.request, self._clock))
        return tasks

    async def _record_hangup(self, taken: bool) -> None:
        """Record that somebody on this machine had the configuration read again by SIGHUP."""
        if self._parts is not None:
            trail = AuditTrail(self._parts.spool, self._telemetry, self._clock)
            await trail.record("reload", Actor.CLI, "SIGHUP", taken=taken)

    async def _renew_certificates(self) -> None:
        if self._parts is not None:
            await self._parts.certificate_reloader.poll()

    async def _switch(self, settings: Settings) -> None:
        if self._parts is None:
            raise RuntimeError("nothing is exchanged before `serve`")
        await self._parts.config_switch.switch(settings)
        self._settings = settings
        try:
            await warn_of_missing_upstreams(self._parts.spool, settings, self._telemetry)
        except SpoolUnavailable as error:
            self._telemetry.log.warning("upstreams_unchecked", detail=str(error))


def _first(group: BaseExceptionGroup[SpoolBroken]) -> SpoolBroken:
    """Return the first leaf of a group; all have the same cause."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
