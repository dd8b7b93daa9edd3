"""The DNS hosts of all endpoints: each is followed once, and looked up early on a knock.

What DNS said is remembered across restarts.
"""

import asyncio
from collections.abc import Iterable, Sequence
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

# ---- knocks: a look-up caused by a refused address ------------------------------------------
# A provider moves a server, DNS says so, and our next look-up is minutes away: the first delivery
# from the new address makes us look now. Anybody can send such a delivery, so looks are rare.

MAX_WAITING: Final = 64
MAX_WAIT: Final = 1.0


class KnockResult(Enum):
    """Whether there was a look; what it found is in the allowlist."""

    LOOKED = auto()
    LIMITED = auto()


class Knock:
    """The early look-ups of one endpoint's sources: at most one in each `interval`.

    Whoever knocks while a look is under way waits for that one, and all of them go on when it
    ends: they see the same allowlist.
    """

    def __init__(self, sources: Sequence[AddressSource], interval: timedelta, clock: Clock) -> None:
        self._sources = tuple(sources)
        self._interval = interval.total_seconds()
        self._clock = clock
        self._not_before = clock.monotonic()
        self._waiting = 0
        self._look: asyncio.Task[None] | None = None

    async def knock(self) -> KnockResult:
        """Wait for a look at every source, `MAX_WAIT` seconds at most.

        A look that takes longer goes on, for whoever comes next. LIMITED is answered at once: there
        was a look within the interval, or too many wait already. Raises nothing.
        """
        look = self._look
        if look is None or look.done():
            now = self._clock.monotonic()
            if now < self._not_before:
                return KnockResult.LIMITED
            self._not_before = now + self._interval
            look = self._look = asyncio.get_running_loop().create_task(self._refresh())
        elif self._waiting >= MAX_WAITING:
            return KnockResult.LIMITED
        self._waiting += 1
        try:
            await self._wait(look)
        finally:
            self._waiting -= 1
        return KnockResult.LOOKED

    async def close(self) -> None:
        """Give up the look under way, if there is one."""
        if self._look is not None:
            self._look.cancel()
            await asyncio.wait({self._look})

    async def _refresh(self) -> None:
        async with asyncio.TaskGroup() as group:
            for source in self._sources:
                group.create_task(source.refresh())

    async def _wait(self, look: asyncio.Task[None]) -> None:
        limit = asyncio.get_running_loop().create_task(self._clock.sleep(MAX_WAIT))
        try:
            # Unlike awaiting it, this leaves the look alone when the caller is cancelled.
            await asyncio.wait({look, limit}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            limit.cancel()


# ---- hosts ----------------------------------------------------------------------------------


class HostRegistry:
    """Makes allowlists, and keeps their host names fresh while it runs."""

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
    ) -> None:
        self._resolver = resolver
        self._policy = policy
        self._knock_interval = knock_interval
        self._cache = cache
        self._clock = clock
        self._dice = dice
        self._observer = observer
        self._hosts: dict[str, DnsSource] = {}
        # An endpoint that is gone takes its knock with it.
        self._knocks: WeakSet[Knock] = WeakSet()
        self._group: asyncio.TaskGroup | None = None
        self._running: dict[str, asyncio.Task[None]] = {}

    def allowlist(self, name: str, networks: Iterable[Entry], hosts: Iterable[str]) -> Allowlist:
        """Return the union of listed networks and host names."""
        listed = StaticSource(name, [(str(each.network), each.origin) for each in networks])
        sources: list[AddressSource] = [self._host(host) for host in hosts]
        # A list without entries is no source: it would count as one that knows nothing yet.
        return Allowlist([listed, *sources] if listed.entries() else sources)

    def knock(self, hosts: Iterable[str]) -> Knock | None:
        """Return what looks again early at these hosts; None when there are none."""
        sources = [self._host(host) for host in hosts]
        if not sources:
            return None
        knock = Knock(sources, self._knock_interval, self._clock)
        self._knocks.add(knock)
        return knock

    def reconfigure(self, resolver: Resolver, policy: Policy, knock_interval: timedelta) -> None:
        """Look in this way from now on; what is known stays. New knocks keep the new interval."""
        self._resolver = resolver
        self._policy = policy
        self._knock_interval = knock_interval
        self._cache.reconfigure(policy.max_stale)
        for host in self._hosts.values():
            host.reconfigure(resolver, policy)

    def set_hosts(self, hosts: Iterable[str]) -> None:
        """Keep these hosts fresh, and no others: new ones are looked up, and known ones stay known.

        A host that is named again later begins with what was known of it.
        """
        wanted = set(hosts)
        for name in self._hosts.keys() - wanted:
            del self._hosts[name]
            if (task := self._running.pop(name, None)) is not None:
                task.cancel()
        for name in wanted:
            self._host(name)
        self._keep_fresh()

    def statuses(self) -> list[SourceStatus]:
        """Return the state of every host."""
        return [host.status() for host in self._hosts.values()]

    async def run(self) -> None:
        """Keep every host fresh, and write down what DNS said, until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._group:
                self._group.create_task(self._cache.run())
                self._keep_fresh()
        finally:
            self._group = None
            for knock in tuple(self._knocks):
                await knock.close()
            await self._cache.save()

    def _keep_fresh(self) -> None:
        """Run every host that does not run yet, once we run ourselves."""
        if self._group is None:
            return
        for name in self._hosts.keys() - self._running.keys():
            self._running[name] = self._group.create_task(self._hosts[name].run())

    def _host(self, name: str) -> DnsSource:
        if name not in self._hosts:
            self._hosts[name] = DnsSource(
                name,
                resolver=self._resolver,
                policy=self._policy,
                clock=self._clock,
                dice=self._dice,
                observer=self._observer,
                record=self._cache.recall(name),
                keep=self._cache.keep,
            )
        return self._hosts[name]
