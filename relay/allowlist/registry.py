"""Who may send, for all endpoints together.

A host name that several endpoints share is followed once. What DNS said is remembered across
restarts.
"""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from random import Random
from weakref import WeakSet

from relay.clock import Clock
from relay.sources import AddressSource, Allowlist, Entry, SourceObserver, SourceStatus
from relay.sources.cidr import ListedNetworks
from relay.sources.dns import DnsHost, Resolver
from relay.sources.hostrecord import Policy
from relay.sources.knock import Knock
from relay.sources.memory import DnsMemory


class AddressBook:
    """Makes allowlists, and keeps their host names fresh while it runs."""

    def __init__(
        self,
        *,
        resolver: Resolver,
        policy: Policy,
        knock_interval: timedelta,
        memory: DnsMemory,
        clock: Clock,
        dice: Random,
        observer: SourceObserver,
    ) -> None:
        self._resolver = resolver
        self._policy = policy
        self._knock_interval = knock_interval
        self._memory = memory
        self._clock = clock
        self._dice = dice
        self._observer = observer
        self._hosts: dict[str, DnsHost] = {}
        # An endpoint that is gone takes its knock with it.
        self._knocks: WeakSet[Knock] = WeakSet()
        self._group: asyncio.TaskGroup | None = None
        self._running: dict[str, asyncio.Task[None]] = {}

    def allowlist(self, name: str, networks: Iterable[Entry], hosts: Iterable[str]) -> Allowlist:
        """Return the union of listed networks and host names."""
        listed = ListedNetworks(name, [(str(each.network), each.origin) for each in networks])
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

    def become(self, resolver: Resolver, policy: Policy, knock_interval: timedelta) -> None:
        """Look in this way from now on; what is known stays. New knocks keep the new interval."""
        self._resolver = resolver
        self._policy = policy
        self._knock_interval = knock_interval
        self._memory.become(policy.max_stale)
        for host in self._hosts.values():
            host.become(resolver, policy)

    def follow(self, hosts: Iterable[str]) -> None:
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
                self._group.create_task(self._memory.run())
                self._keep_fresh()
        finally:
            self._group = None
            for knock in tuple(self._knocks):
                await knock.close()
            await self._memory.save()

    def _keep_fresh(self) -> None:
        """Run every host that does not run yet, once we run ourselves."""
        if self._group is None:
            return
        for name in self._hosts.keys() - self._running.keys():
            self._running[name] = self._group.create_task(self._hosts[name].run())

    def _host(self, name: str) -> DnsHost:
        if name not in self._hosts:
            self._hosts[name] = DnsHost(
                name,
                resolver=self._resolver,
                policy=self._policy,
                clock=self._clock,
                dice=self._dice,
                observer=self._observer,
                record=self._memory.recall(name),
                keep=self._memory.keep,
            )
        return self._hosts[name]
