"""A host name that is followed through a name server on loopback."""

import asyncio
from datetime import timedelta
from random import Random

from relay.allowlist import Change, LookupResult
from relay.allowlist.dns_source import DnsSource, HostState, Policy
from relay.allowlist.networks import Nameserver
from relay.allowlist.resolver import Resolver
from relay.core.clock import Clock
from relay.core.request import Address
from tests.harness.nameserver import LOOPBACK

# Public addresses, as data only: nothing connects to them.
GOOD = ("104.45.17.199", "104.45.17.200")
SIX = "2a01:111::1"
NEW = "20.50.1.1"
KNOWN = {*GOOD, SIX}

SHORT = 0.2
"""A timeout, in seconds, for servers that stay silent."""

POLICY = Policy(
    min_refresh=timedelta(seconds=30),
    max_refresh=timedelta(minutes=5),
    retain=timedelta(hours=24),
    max_stale=timedelta(hours=72),
)


class ExactlyDue(Random):
    """Dice that shorten nothing, so that a look comes exactly when it is due."""

    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


class SeenChanges:
    """Remembers what a source tells; `result` waits for the next look-up to end."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, Change, str]] = []
        self.growth: list[tuple[str, int, int]] = []
        self._results: asyncio.Queue[LookupResult] = asyncio.Queue()

    def looked_up(self, host: str, result: LookupResult) -> None:
        self._results.put_nowait(result)

    def changed(self, host: str, change: Change, address: Address) -> None:
        self.changes.append((host, change, str(address)))

    def grown(self, host: str, before: int, now: int) -> None:
        self.growth.append((host, before, now))

    async def result(self) -> LookupResult:
        async with asyncio.timeout(10):
            return await self._results.get()


class KeptRecord:
    """Remembers the last record of a host."""

    def __init__(self) -> None:
        self.record = HostState()

    def __call__(self, host: str, record: HostState) -> None:
        self.record = record


def resolver(*ports: int, timeout: float = 2.0) -> Resolver:
    """Ask name servers on these ports of loopback, in this order; seconds in total."""
    return Resolver([Nameserver(LOOPBACK, port) for port in ports], timedelta(seconds=timeout))


def dns_host(
    asks: Resolver,
    clock: Clock,
    *,
    host: str = "callback-1.example.org",
    seen: SeenChanges | None = None,
    kept: KeptRecord | None = None,
    policy: Policy = POLICY,
) -> DnsSource:
    """Make a source; with `kept` it starts from what another one left there."""
    kept = kept or KeptRecord()
    return DnsSource(
        host,
        resolver=asks,
        policy=policy,
        clock=clock,
        dice=ExactlyDue(),
        observer=seen or SeenChanges(),
        state=kept.record,
        on_update=kept,
    )


def addresses(source: DnsSource) -> set[str]:
    return {str(entry.network.ip) for entry in source.entries()}
