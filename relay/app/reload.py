"""Reload: read the configuration again, and replace the running parts by those it describes.

It is read in a thread, checked as at the start, and applied as a whole or not at all. Requests that
come while a reload is running share the next one: a storm of signals costs one reload at a time.
`RESTART_KEYS` are the keys whose change takes a restart instead.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from relay.admin.health import Health
from relay.allowlist.registry import HostRegistry
from relay.app import builder
from relay.app.generation import LiveConfigBuilder
from relay.app.spools import KEYS, sealing_keys
from relay.app.supervisor import Supervisor
from relay.app.upstream_tls import TlsKey
from relay.app.usage_pool import Close
from relay.config import Endpoint as EndpointSettings
from relay.config import Settings, provider_name
from relay.config.yaml_document import ConfigIssue, Location
from relay.core.clock import Clock
from relay.core.concurrency import run_in_daemon_thread
from relay.core.errors import ConfigError, Obstacle, Problem
from relay.delivery.dispatcher import Dispatcher
from relay.edge.connections import Connections
from relay.edge.listener import Edge
from relay.edge.slow_path import BodyReader
from relay.ingest.client_address import ClientLocator, Clients
from relay.ingest.pipeline import Ingest
from relay.spool.sealing import KeyMissing, SealingStore
from relay.telemetry import Telemetry

# ---- reading and checking -------------------------------------------------------------------

#: Keys that take effect on a restart only.
RESTART_KEYS = ("listen", "admin", "spool", "state_dir")

_RESTART = "restart needed: it differs from what runs, and cannot be exchanged under way"
_FAULT = "the reload failed for a reason of ours; see the log"
_STOPPING = "relay is stopping"


class Reloader:
    """Reads the configuration on request, one reload at a time. `running`: settings in force."""

    def __init__(
        self,
        running: Settings,
        *,
        load: Callable[[], Settings],
        switch: Callable[[Settings], Awaitable[None]],
        renew: Callable[[], Awaitable[None]],
        telemetry: Telemetry,
        clock: Clock,
        supervisor: Supervisor | None = None,
        on_signalled: Callable[[bool], Awaitable[None]] | None = None,
    ) -> None:
        """Take the parts.

        load: reads and checks the file; called in a thread. Raises `ConfigError`. One that does not
            return delays later reloads, and nothing else: not the end of the process either.
        switch: puts the new settings into force, or raises and changes nothing.
        renew: renews certificates; called first each time, whatever becomes of the settings. Raises
            nothing.
        supervisor: is told of each reload.
        on_signalled: is called after each reload that a signal has asked for, with whether it was
            taken. Raises nothing.
        """
        self.running = running
        self._load = load
        self._switch = switch
        self._renew = renew
        self._telemetry = telemetry
        self._clock = clock
        self._supervisor = supervisor or Supervisor({}, clock)
        self._on_signalled = on_signalled
        self._signalled = False
        self._requested = asyncio.Event()
        self._next: asyncio.Future[tuple[Problem, ...]] | None = None
        self._stopped = False
        # Held while settings are read or put into force.
        self._lock = asyncio.Lock()

    def request(self, *, signalled: bool = False) -> None:
        """Schedule a reload. Returns at once; may be called at any time.

        signalled: a person has asked for it, by a signal.
        """
        self._signalled |= signalled
        self._requested.set()

    async def reload(self) -> tuple[Problem, ...]:
        """Reload; return the problems that kept the configuration from being applied."""
        if self._stopped:
            return (_obstacle(self.running, (), _STOPPING),)
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        self.request()
        return await asyncio.shield(self._next)

    async def run(self) -> None:
        """Reload on each request, one after the other, until cancelled."""
        try:
            while True:
                await self._requested.wait()
                self._requested.clear()
                waiter, self._next = self._next, None
                signalled, self._signalled = self._signalled, False
                problems: tuple[Problem, ...] = (_obstacle(self.running, (), _STOPPING),)
                try:
                    with self._supervisor.reloading():
                        problems = await self._reload()
                finally:
                    if waiter is not None:
                        waiter.set_result(problems)
                if signalled and self._on_signalled is not None:
                    await self._on_signalled(not problems)
        finally:
            self._stopped = True
            if self._next is not None:
                self._next.set_result((_obstacle(self.running, (), _STOPPING),))

    async def rebuild(self) -> None:
        """Put the running settings into force anew: what their files make may be another thing.

        Raises:
            Exception: they cannot be built; nothing has changed.
        """
        async with self._lock:
            await self._switch(self.running)

    async def _reload(self) -> tuple[Problem, ...]:
        async with self._lock:
            return await self._read_and_switch()

    async def _read_and_switch(self) -> tuple[Problem, ...]:
        before = self.running
        await self._renew()
        try:
            wanted = await run_in_daemon_thread(self._load)
            check(before, wanted)
            await self._switch(wanted)
        except ConfigError as error:
            self._telemetry.reload_refused(error.problems)
            return error.problems
        except Exception as fault:  # noqa: BLE001 - what runs goes on, whatever it was
            self._telemetry.log.fault("reload_fault", fault)
            problems = (_obstacle(self.running, (), _FAULT),)
            self._telemetry.reload_refused(problems)
            return problems
        self.running = wanted
        self._telemetry.reloaded(self._clock.now(), differences(before, wanted))
        return ()


def check(running: Settings, wanted: Settings) -> None:
    """Return if a running relay can change from the one to the other.

    Raises:
        ConfigError: with each key that takes a restart.
    """
    # Keys of the spool are exchanged under way.
    same_keys = wanted.spool.model_copy(update={"encrypt": running.spool.encrypt})
    compared = wanted.model_copy(update={"spool": same_keys})
    changed = [key for key in RESTART_KEYS if getattr(running, key) != getattr(compared, key)]
    if "spool" in changed and "state_dir" in changed:
        # It lies beside the spool unless it is said where.
        changed.remove("state_dir")
    if changed:
        raise ConfigError(_obstacle(wanted, (key,), _RESTART) for key in changed)


def _obstacle(settings: Settings, location: Location, message: str) -> Obstacle:
    problem = settings.source.problem(ConfigIssue(location, message))
    return Obstacle(problem.file, problem.line, problem.column, problem.where, problem.message)


def differences(before: Settings, after: Settings) -> tuple[str, ...]:
    """Return the keys that differ, with names of endpoints and upstreams; for the log."""
    keys = []
    for key in type(after).model_fields:
        one, other = _named(getattr(before, key)), _named(getattr(after, key))
        keys += [
            f"{key}.{name}" if name else key
            for name in sorted(one.keys() | other.keys())
            if one.get(name) != other.get(name)
        ]
    return tuple(keys)


def _named(section: object) -> dict[str, object]:
    """Return the parts of a section by their names; a section without such is one part."""
    if isinstance(section, dict):
        return section
    if isinstance(section, tuple) and all(hasattr(each, "name") for each in section):
        return {each.name: each for each in section}
    return {"": section}


# ---- switching over -------------------------------------------------------------------------


class ConfigSwitch:
    """Replaces the live configuration, and closes the one before once it has drained."""

    def __init__(
        self,
        configs: LiveConfigBuilder,
        *,
        registry: HostRegistry,
        locator: ClientLocator,
        clients: Clients,
        connections: Connections,
        edge: Edge,
        dispatcher: Dispatcher,
        health: Health | None,
        telemetry: Telemetry,
        sealing: SealingStore,
    ) -> None:
        """Take the parts that run. `health`: None where this process has no endpoints."""
        self._configs = configs
        self._sealing = sealing
        self._registry = registry
        self._locator = locator
        self._clients = clients
        self._connections = connections
        self._edge = edge
        self._dispatcher = dispatcher
        self._health = health
        self._telemetry = telemetry
        self._dns = configs.active.settings.dns
        self._draining: asyncio.Queue[Draining] = asyncio.Queue()

    async def switch(self, settings: Settings) -> None:
        """Apply these settings to every request and attempt that starts from now on.

        All is built before anything is replaced; the replacement is one step of the event loop, and
        the series of new endpoints are initialised after it.

        Raises:
            Exception: it cannot be built; nothing has changed.
        """
        before = self._configs.active
        try:
            # First: knocks are built with its interval.
            self._reconfigure_dns(settings)
            live_config = await self._configs.build(settings)
            await self._exchange_keys(before.settings, settings)
        except BaseException:
            self._reconfigure_dns(before.settings)
            self._registry.set_hosts(before.hosts)
            self._draining.put_nowait(Draining((), (), self._configs.retired()))
            raise
        self._configs.activate(live_config)
        self._locator.reconfigure(settings.trusted_proxies, settings.forwarded_header)
        self._registry.set_hosts(live_config.hosts)
        limits = settings.limits
        self._connections.reconfigure(
            total=limits.connections, per_address=limits.connections_per_address
        )
        self._clients.limit = limits.connections_per_address
        self._edge.reconfigure(
            ingest=live_config.ingest,
            body=body_reader(settings),
            header_timeout=limits.header_timeout,
        )
        ends = self._dispatcher.replace(live_config.upstreams)
        if self._health is not None:
            self._health.set_endpoints(live_config.endpoints)
        self._draining.put_nowait(Draining((before.ingest,), ends, self._configs.retired()))
        announce((), settings.upstreams, self._telemetry)
        for each in live_config.new_since(before):
            announce((each,), (), self._telemetry)
            await asyncio.sleep(0)

    def tls_in_use(self) -> list[TlsKey]:
        """Return the files of TLS to upstreams in use, and their state when they were read."""
        return self._configs.tls_in_use()

    async def run(self) -> None:
        """Close replaced parts after their last request and attempt, until cancelled."""
        while True:
            draining = await self._draining.get()
            for ingest in draining.ingests:
                await ingest.idle()
            for end in draining.ends:
                await end.wait()
            await draining.close()

    async def _exchange_keys(self, before: Settings, settings: Settings) -> None:
        """Use the keys of the spool that these settings name.

        Raises:
            ConfigError: rows need another one.
        """
        if settings.spool.encrypt == before.spool.encrypt:
            return
        try:
            await self._sealing.use(sealing_keys(settings))
        except KeyMissing as missing:
            raise ConfigError([_obstacle(settings, KEYS, str(missing))]) from None

    def _reconfigure_dns(self, settings: Settings) -> None:
        if settings.dns != self._dns:
            self._dns = settings.dns
            self._registry.reconfigure(
                builder.resolver(settings), builder.policy(settings), settings.dns.knock_interval
            )


@dataclass(frozen=True, slots=True)
class Draining:
    """Replaced parts: `close` closes them once `ingests` are idle and `ends` are set."""

    ingests: Sequence[Ingest]
    ends: Sequence[asyncio.Event]
    close: Close


def announce(
    endpoints: Iterable[EndpointSettings], upstreams: Iterable[str], telemetry: Telemetry
) -> None:
    """Initialise the metric series of these endpoints and upstreams."""
    telemetry.init_series({each.name: provider_name(each) for each in endpoints}, upstreams)


def body_reader(settings: Settings) -> BodyReader:
    """Return the reader of bodies, with the configured limits."""
    return BodyReader(size=settings.limits.body, timeout=settings.limits.body_timeout)
