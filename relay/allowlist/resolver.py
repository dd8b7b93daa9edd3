"""Resolve host names with dnspython; the size of answers is bounded before they are parsed."""

import asyncio
import socket
import ssl
from collections.abc import Mapping, Sequence
from datetime import timedelta
from ipaddress import ip_address
from typing import Any, Final, Self

import dns.asyncbackend
import dns.asyncquery
import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.resolver

from relay.allowlist import Answer, Family, LookupResult
from relay.allowlist.networks import Nameserver

# ---- bounded answers ------------------------------------------------------------------------
# dnspython takes tens of microseconds for each record, and 64 KiB hold 4,000 of them: parsing such
# an answer would keep everything else waiting. It takes its sockets from a backend, so they are
# wrapped there.

#: In bytes. Twice what as many addresses as are believed need, with a chain of names before them.
MAX_ANSWER_BYTES: Final = 4096

_SocketAddress = tuple[str, int]


class AnswerTooLong(dns.exception.FormError):
    """An answer exceeds `MAX_ANSWER_BYTES`. dnspython then queries the next server."""


class Backend:
    """A dnspython backend on asyncio whose sockets limit answers to `MAX_ANSWER_BYTES`."""

    def __init__(self) -> None:
        self._asyncio: Any = dns.asyncbackend.get_backend("asyncio")

    async def make_socket(  # noqa: PLR0917 - dnspython's signature
        self,
        af: int,
        socktype: int,
        proto: int = 0,
        source: _SocketAddress | None = None,
        destination: _SocketAddress | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - dnspython's signature
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> "_Datagrams | _Stream":
        made = await self._asyncio.make_socket(
            af, socktype, proto, source, destination, timeout, ssl_context, server_hostname
        )
        return _Datagrams(made) if socktype == socket.SOCK_DGRAM else _Stream(made)

    def datagram_connection_required(self) -> bool:
        return False

    async def sleep(self, interval: float) -> None:
        await self._asyncio.sleep(interval)


class _Socket:
    """Wraps a socket of dnspython's asyncio backend, which has no public type."""

    def __init__(self, inner: Any) -> None:  # noqa: ANN401 - see above
        self._inner = inner
        self.family: int = inner.family

    async def getpeername(self) -> object:
        return await self._inner.getpeername()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._inner.close()


class _Datagrams(_Socket):
    async def sendto(self, what: bytes, destination: _SocketAddress, late: float | None) -> int:
        sent: int = await self._inner.sendto(what, destination, late)
        return sent

    async def recvfrom(self, size: int, late: float | None) -> tuple[bytes, _SocketAddress]:
        while True:
            received: tuple[bytes, _SocketAddress] = await self._inner.recvfrom(size, late)
            # More than was asked for (`Resolver`) is noise, like an answer to another question.
            if len(received[0]) <= MAX_ANSWER_BYTES:
                return received


class _Stream(_Socket):
    async def sendall(self, what: bytes, late: float | None) -> None:
        await self._inner.sendall(what, late)

    async def recv(self, size: int, late: float | None) -> bytes:
        # Asked for first, behind its length, is all of the message (RFC 1035, section 4.2.2).
        if size > MAX_ANSWER_BYTES:
            raise _too_long(size)
        received: bytes = await self._inner.recv(size, late)
        return received


def _too_long(size: int) -> AnswerTooLong:
    return AnswerTooLong(f"{size} bytes")  # type: ignore[no-untyped-call] # it has no annotations


# ---- queries --------------------------------------------------------------------------------

# DNS flag day 2020: larger answers over UDP arrive in fragments, which get lost or forged.
_UDP_PAYLOAD = 1232
_TOO_LONG = Answer(LookupResult.REFUSED_ANSWER, problem=f"more than {MAX_ANSWER_BYTES} bytes")


class Resolver:
    """Queries name servers for A and AAAA records, without a search list and without a cache."""

    def __init__(
        self,
        nameservers: Sequence[Nameserver],
        timeout: timedelta,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Set the servers, in the order in which they are tried; with none, the system's are used.

        timeout: for one look-up in total, over all servers and attempts.
        tls: the context that verifies TLS servers; the system's certificate store by default.
        """
        self._timeout = timeout.total_seconds()
        if tls is None and any(server.tls for server in nameservers):
            tls = ssl.create_default_context()
        self._nameservers = [_nameserver(server, tls) for server in nameservers]
        self._backend = Backend()

    async def look_up(self, host: str) -> Mapping[Family, Answer]:
        """Query A and AAAA concurrently. Failures are returned as answers; raises nothing else."""
        name = dns.name.from_text(host)  # absolute, so no search list is applied
        async with asyncio.TaskGroup() as group:
            queries = {family: group.create_task(self._query(name, family)) for family in Family}
        return {family: task.result() for family, task in queries.items()}

    async def _query(self, name: dns.name.Name, family: Family) -> Answer:
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


def _was_too_long(error: Exception) -> bool:
    """Tell whether a server's answer was too long, and no other server had one."""
    if not isinstance(error, dns.resolver.NoNameservers):
        return False
    return any(isinstance(each[3], AnswerTooLong) for each in error.kwargs["errors"])


def _nameserver(server: Nameserver, tls: ssl.SSLContext | None) -> dns.nameserver.Nameserver:
    if server.tls and tls is not None:
        return _TlsNameserver(server, tls)
    return dns.nameserver.Do53Nameserver(server.address, server.port)


class _TlsNameserver(dns.nameserver.DoTNameserver):
    """A server queried over TLS, always with verification of its certificate.

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
