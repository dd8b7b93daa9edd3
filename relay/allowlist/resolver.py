"""Host names: a provider that publishes names instead of networks is followed through DNS."""

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from random import Random
from typing import Any

import dns.asyncquery
import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.resolver
from netaddr import IPNetwork

from relay.clock import Clock
from relay.networks import parse_host_name
from relay.sources import Entry, SourceObserver, SourceStatus
from relay.sources.dnswire import LONGEST, AnswerTooLong, Backend
from relay.sources.hostrecord import Answer, Family, HostRecord, LookupResult, Policy, learn
from relay.sources.nameservers import Nameserver

# DNS flag day 2020: larger answers over UDP arrive in fragments, which get lost or forged.
_UDP_PAYLOAD = 1232

_FAILED = {family: Answer(LookupResult.SERVFAIL) for family in Family}
_TOO_LONG = Answer(LookupResult.REFUSED_ANSWER, problem=f"more than {LONGEST} bytes")


class Resolver:
    """Asks name servers for the addresses of a host, without a search list and without a cache."""

    def __init__(
        self,
        nameservers: Sequence[Nameserver],
        timeout: timedelta,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Take the servers in the order they are to be tried; with none, the system's are asked.

        timeout: for one look-up in total, however many servers and attempts it takes.
        tls: what a TLS server's certificate is checked against; the system's store by default.
        """
        self._timeout = timeout.total_seconds()
        if tls is None and any(server.tls for server in nameservers):
            tls = ssl.create_default_context()
        self._nameservers = [_reach(server, tls) for server in nameservers]
        self._backend = Backend()

    async def look_up(self, host: str) -> Mapping[Family, Answer]:
        """Ask for A and AAAA at the same time. What fails is in the answers."""
        name = dns.name.from_text(host)  # absolute, so no search list is applied
        async with asyncio.TaskGroup() as group:
            asked = {family: group.create_task(self._ask(name, family)) for family in Family}
        return {family: task.result() for family, task in asked.items()}

    async def _ask(self, name: dns.name.Name, family: Family) -> Answer:
        try:
            # dnspython measures on the wall clock, which may jump.
            async with asyncio.timeout(self._timeout):
                found = await self._stub().resolve(
                    name, family.value, raise_on_no_answer=False, backend=self._backend
                )
        except dns.resolver.NXDOMAIN:
            return Answer(LookupResult.NXDOMAIN)
        except (TimeoutError, dns.exception.Timeout):
            return Answer(LookupResult.TIMEOUT)
        except (dns.exception.DNSException, OSError) as error:
            return _TOO_LONG if _was_too_long(error) else Answer(LookupResult.SERVFAIL)
        if found.response.flags & dns.flags.TC:
            # Truncated even over TCP: a part of the addresses must not pass for all of them.
            return Answer(LookupResult.SERVFAIL)
        if found.rrset is None:
            return Answer(LookupResult.EMPTY)
        addresses = tuple(ip_address(rdata.address) for rdata in found.rrset)
        return Answer(LookupResult.OK, addresses, found.chaining_result.minimum_ttl)

    def _stub(self) -> dns.asyncresolver.Resolver:
        # The system's configuration is read each time: it changes under a running process.
        stub = dns.asyncresolver.Resolver(configure=not self._nameservers)
        if self._nameservers:
            stub.nameservers = self._nameservers
        stub.use_edns(0, 0, _UDP_PAYLOAD)
        stub.lifetime = self._timeout
        # A lost datagram or a dead server must leave time for one more try.
        stub.timeout = self._timeout / max(2, len(stub.nameservers))
        return stub


class DnsHost:
    """An `AddressSource` of one host name.

    Addresses are admitted with the first answer that holds them, and held on to through every
    failure; `relay.sources.hostrecord` has the rules.
    """

    def __init__(
        self,
        host: str,
        *,
        resolver: Resolver,
        policy: Policy,
        clock: Clock,
        dice: Random,
        observer: SourceObserver,
        record: HostRecord,
        keep: Callable[[str, HostRecord], None],
    ) -> None:
        """Start from a record that is known already, and hand each later one to `keep`.

        Raises:
            ValueError: this is not a host name.
        """
        self._host = parse_host_name(host)
        self._resolver = resolver
        self._policy = policy
        self._clock = clock
        self._dice = dice
        self._observer = observer
        self._keep = keep
        self._record = record
        self._entries = self._list()
        self._generation = 1
        self._problem: str | None = None
        self._due = clock.monotonic()
        self._look: asyncio.Task[None] | None = None

    @property
    def generation(self) -> int:
        return self._generation

    def entries(self) -> Sequence[Entry]:
        return self._entries

    def status(self) -> SourceStatus:
        answered = self._record.answered
        return SourceStatus(
            name=self._host,
            addresses=len(self._entries),
            refreshed_at=None if answered is None else self._moment(answered),
            last_error=self._problem,
        )

    def become(self, resolver: Resolver, policy: Policy) -> None:
        """Look in this way from the next look on. What is known stays."""
        self._resolver = resolver
        self._policy = policy

    async def run(self) -> None:
        """Look now, and then whenever it is time again, until cancelled."""
        try:
            while True:
                await self.refresh()
                await self._until_due()
        finally:
            if self._look is not None:
                self._look.cancel()
                await asyncio.wait({self._look})

    async def refresh(self) -> None:
        """Look now, or wait for the look that is under way. Raises nothing.

        A caller that stops waiting does not stop the look.
        """
        look = self._look
        if look is None or look.done():
            look = self._look = asyncio.get_running_loop().create_task(self._look_up())
        await asyncio.wait({look})

    async def _until_due(self) -> None:
        # In short pieces, because a look that somebody asked for in between moves the time.
        longest = self._policy.min_refresh.total_seconds()
        while (left := self._due - self._clock.monotonic()) > 0:
            await self._clock.sleep(min(left, longest))

    async def _look_up(self) -> None:
        # Whatever happens below, the next look is not at once.
        self._due = self._clock.monotonic() + self._policy.min_refresh.total_seconds()
        try:
            answers = await self._resolver.look_up(self._host)
        except Exception:  # noqa: BLE001 - no answer, however strange, ends the looking
            answers = _FAILED
        now = self._clock.monotonic()
        step = learn(self._record, answers, now, self._policy, self._dice)
        self._record = step.record
        self._problem = step.problem
        self._due = now + step.delay
        self._entries = self._list()
        if step.changes:
            self._generation += 1
        self._keep(self._host, step.record)
        self._observer.looked_up(self._host, step.result)
        for change, address in step.changes:
            self._observer.changed(self._host, change, address)

    def _list(self) -> tuple[Entry, ...]:
        known = sorted(self._record.known.items(), key=lambda item: (item[0].version, int(item[0])))
        return tuple(
            Entry(IPNetwork(str(address)), "dns", self._host, self._moment(each.seen))
            for address, each in known
        )

    def _moment(self, then: float) -> datetime:
        return self._clock.now() - timedelta(seconds=self._clock.monotonic() - then)


def _was_too_long(error: Exception) -> bool:
    """Say whether a server's answer could not be parsed for its length, and no other had one."""
    if not isinstance(error, dns.resolver.NoNameservers):
        return False
    return any(isinstance(each[3], AnswerTooLong) for each in error.kwargs["errors"])


def _reach(server: Nameserver, tls: ssl.SSLContext | None) -> dns.nameserver.Nameserver:
    if server.tls and tls is not None:
        return _OverTls(server, tls)
    return dns.nameserver.Do53Nameserver(server.address, server.port)


class _OverTls(dns.nameserver.DoTNameserver):
    """A server asked over TLS, always with a check of its certificate.

    dnspython's own reads the certificate store from disk for every question, and checks no name
    unless it is given one.
    """

    def __init__(self, server: Nameserver, tls: ssl.SSLContext) -> None:
        super().__init__(server.address, server.port, server.name or server.address)
        self._tls = tls

    def is_always_max_size(self) -> bool:
        return True

    async def async_query(  # noqa: PLR0917 - dnspython's signature
        self,
        request: dns.message.QueryMessage,
        timeout: float,  # noqa: ASYNC109 - dnspython's signature
        source: str | None,
        source_port: int,
        max_size: bool,  # noqa: ARG002 - always, over TLS
        backend: Any,  # noqa: ANN401 - it has no public type
        one_rr_per_rrset: bool = False,
        ignore_trailing: bool = False,
    ) -> dns.message.Message:
        return await dns.asyncquery.tls(
            request,
            self.address,
            timeout,
            self.port,
            source,
            source_port,
            one_rr_per_rrset,
            ignore_trailing,
            backend=backend,
            ssl_context=self._tls,
            server_hostname=self.hostname,
        )
