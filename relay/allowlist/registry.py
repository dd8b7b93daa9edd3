"""The DNS hosts of all endpoints: one source for each host, refreshed early on a knock.

Their states are kept in the DNS cache, across restarts.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from enum import Enum, auto
from random import Random
from typing import Final
from weakref import WeakSet

from relay.allowlist import (
    AddressSource,
    Allowlist,
    Entry,
    SourceObserver,
    SourceStatus,
    StaticSource,
)
from relay.allowlist.dns_cache import DnsCache
from relay.allowlist.dns_source import DnsSource, Policy
from relay.allowlist.resolver import Resolver
from relay.core.clock import Clock
from relay.core.request import Address

# ---- knocks: an early DNS refresh caused by a refused address, rate-limited -----------------
# A provider moves a server, DNS says so, and our next look-up is minutes away: the first delivery
# from the new address causes one now. Anybody can send such a delivery, so the rate is limited.

MAX_WAITING: Final = 64
MAX_WAIT: Final = 1.0


class KnockResult(Enum):
    """Whether a knock refreshed the sources; the addresses found are in the allowlist."""

    REFRESHED = auto()
    LIMITED = auto()


class Knock:
    """Refreshes the sources of one endpoint early, at most once in each `interval`.

    Concurrent knocks share one refresh: their callers resume when it ends, and see the same
    allowlist.
    """

    def __init__(self, sources: Sequence[AddressSource], interval: timedelta, clock: Clock) -> None:
        self._sources = tuple(sources)
        self._interval = interval.total_seconds()
        self._clock = clock
        self._not_before = clock.monotonic()
        self._waiting = 0
        self._refresh_task: asyncio.Task[None] | None = None

    async def knock(self) -> KnockResult:
        """Refresh every source, and wait `MAX_WAIT` seconds at most.

        A refresh that takes longer goes on in the background. Returns LIMITED at once after a
        refresh within the interval, or with `MAX_WAITING` callers already. Raises nothing.
        """
        task = self._refresh_task
        if task is None or task.done():
            now = self._clock.monotonic()
            if now < self._not_before:
                return KnockResult.LIMITED
            self._not_before = now + self._interval
            task = self._refresh_task = asyncio.get_running_loop().create_task(self._refresh())
        elif self._waiting >= MAX_WAITING:
            return KnockResult.LIMITED
        self._waiting += 1
        try:
            await self._wait(task)
        finally:
            self._waiting -= 1
        return KnockResult.REFRESHED

    async def close(self) -> None:
        """Cancel the refresh under way, if there is one."""
        if self._refresh_task is not None:
            self._refresh_task.cancel()
            await asyncio.wait({self._refresh_task})

    async def _refresh(self) -> None:
        async with asyncio.TaskGroup() as group:
            for source in self._sources:
                group.create_task(source.refresh())

    async def _wait(self, task: asyncio.Task[None]) -> None:
        limit = asyncio.get_running_loop().create_task(self._clock.sleep(MAX_WAIT))
        try:
            # Unlike awaiting it, this leaves the task alone when the caller is cancelled.
            await asyncio.wait({task, limit}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            limit.cancel()


# ---- hosts ----------------------------------------------------------------------------------


class HostRegistry:
    """Builds allowlists from networks and host names, and refreshes the hosts while it runs."""

    def __init__(
        self,
        *,
        resolver: Resolver,
        policy: Policy,
        knock_interval: timedelta,
        cache: DnsCache,
        clock: Clock,
        dice: Random,
        observer: SourceObserver,
        is_proven: Callable[[Address], bool] = lambda _: False,
    ) -> None:
        """is_proven: whether a signed message was accepted from this address lately."""
        self._resolver = resolver
        self._policy = policy
        self._knock_interval = knock_interval
        self._cache = cache
        self._clock = clock
        self._dice = dice
        self._observer = observer
        self._is_proven = is_proven
        self._sources: dict[str, DnsSource] = {}
        # An endpoint that is gone takes its knock with it.
        self._knocks: WeakSet[Knock] = WeakSet()
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def allowlist(self, name: str, networks: Iterable[Entry], hosts: Iterable[str]) -> Allowlist:
        """Return the union of listed networks and host names."""
        static = StaticSource(name, [(str(each.network), each.origin) for each in networks])
        sources: list[AddressSource] = [self._source(host) for host in hosts]
        # A list without entries is no source: it would count as one that knows nothing yet.
        return Allowlist([static, *sources] if static.entries() else sources)

    def knock(self, hosts: Iterable[str], interval: timedelta | None = None) -> Knock | None:
        """Return a knock of an endpoint with these hosts; None when there are none.

        interval: between its look-ups; None for the configured one.
        """
        sources = [self._source(host) for host in hosts]
        if not sources:
            return None
        knock = Knock(sources, interval or self._knock_interval, self._clock)
        self._knocks.add(knock)
        return knock

    def reconfigure(self, resolver: Resolver, policy: Policy, knock_interval: timedelta) -> None:
        """Replace resolver, policy and interval; known addresses stay. Old knocks are unchanged."""
        self._resolver = resolver
        self._policy = policy
        self._knock_interval = knock_interval
        self._cache.reconfigure(policy.max_stale)
        for source in self._sources.values():
            source.reconfigure(resolver, policy)

    def set_hosts(self, hosts: Iterable[str]) -> None:
        """Refresh these hosts and no others: new sources start, those of other hosts are cancelled.

        A host that is set again later starts from its state in the cache.
        """
        wanted = set(hosts)
        for name in self._sources.keys() - wanted:
            del self._sources[name]
            if (task := self._tasks.pop(name, None)) is not None:
                task.cancel()
        for name in wanted:
            self._source(name)
        self._start_sources()

    def statuses(self) -> list[SourceStatus]:
        """Return the status of every host."""
        return [source.status() for source in self._sources.values()]

    async def run(self) -> None:
        """Refresh every host and write the cache, until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._group:
                self._group.create_task(self._cache.run())
                self._start_sources()
        finally:
            self._group = None
            for knock in tuple(self._knocks):
                await knock.close()
            await self._cache.save()

    def _start_sources(self) -> None:
        """Start the sources that do not run yet, when the registry itself runs."""
        if self._group is None:
            return
        for name in self._sources.keys() - self._tasks.keys():
            self._tasks[name] = self._group.create_task(self._sources[name].run())

    def _source(self, name: str) -> DnsSource:
        if name not in self._sources:
            self._sources[name] = DnsSource(
                name,
                resolver=self._resolver,
                policy=self._policy,
                clock=self._clock,
                dice=self._dice,
                observer=self._observer,
                state=self._cache.get(name),
                on_update=self._cache.put,
                is_proven=self._is_proven,
            )
        return self._sources[name]
