"""How long an answer of a name server may be, looked at before it is parsed.

dnspython takes tens of microseconds for each record, and 64 KiB hold 4,000 of them: parsing such
an answer would keep everything else waiting. It takes its sockets from a backend, so they are
wrapped there.
"""

import socket
import ssl
from typing import Any, Final, Self

import dns.asyncbackend
import dns.exception

#: In bytes. Twice what as many addresses as are believed need, with a chain of names before them.
LONGEST: Final = 4096

_Place = tuple[str, int]


class AnswerTooLong(dns.exception.FormError):
    """An answer is longer than any that is parsed. dnspython asks the next server then."""


class Backend:
    """Gives dnspython sockets on asyncio that bring no answer longer than `LONGEST`."""

    def __init__(self) -> None:
        self._asyncio: Any = dns.asyncbackend.get_backend("asyncio")

    async def make_socket(  # noqa: PLR0917 - dnspython's signature
        self,
        af: int,
        socktype: int,
        proto: int = 0,
        source: _Place | None = None,
        destination: _Place | None = None,
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
    """What dnspython asks of every socket. `inner` is its own, which has no public type."""

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
    async def sendto(self, what: bytes, destination: _Place, late: float | None) -> int:
        sent: int = await self._inner.sendto(what, destination, late)
        return sent

    async def recvfrom(self, size: int, late: float | None) -> tuple[bytes, _Place]:
        while True:
            received: tuple[bytes, _Place] = await self._inner.recvfrom(size, late)
            # More than was asked for (`Resolver`) is noise, like an answer to another question.
            if len(received[0]) <= LONGEST:
                return received


class _Stream(_Socket):
    async def sendall(self, what: bytes, late: float | None) -> None:
        await self._inner.sendall(what, late)

    async def recv(self, size: int, late: float | None) -> bytes:
        # Asked for first, behind its length, is all of the message (RFC 1035, section 4.2.2).
        if size > LONGEST:
            raise _too_long(size)
        received: bytes = await self._inner.recv(size, late)
        return received


def _too_long(size: int) -> AnswerTooLong:
    return AnswerTooLong(f"{size} bytes")  # type: ignore[no-untyped-call] # it has no annotations
