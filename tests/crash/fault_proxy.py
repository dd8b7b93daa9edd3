"""A proxy in front of an upstream that spoils exchanges on order.

It stands between relay and an upstream that does nothing wrong, so that what arrived there and
what relay was told about it can differ.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.harness.upstream import Behaviour, Received

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_ZEROS = bytes(64 * 1024)
_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request, and the connection that waits for its answer."""

    request: Received
    writer: asyncio.StreamWriter
    upstream: tuple[str, int]

    async def pass_on(self) -> bytes:
        """Hand the request to the upstream and return its answer, byte for byte."""
        reader, writer = await asyncio.open_connection(*self.upstream)
        try:
            writer.write(self.request.head + self.request.body)
            head, body = await _read(reader)
            return head + body
        finally:
            writer.close()

    async def say(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()


Fault = Callable[[Exchange], Awaitable[None]]


async def nothing(exchange: Exchange) -> None:
    """Do what a proxy should."""
    await exchange.say(await exchange.pass_on())


def instead(behaviour: Behaviour) -> Fault:
    """Keep the request from the upstream, and behave so (`tests.harness.upstream`)."""

    async def behave(exchange: Exchange) -> None:
        await behaviour(exchange.writer)

    return behave


async def slow(exchange: Exchange) -> None:
    """Bring the answer byte by byte, slower than anybody waits for."""
    for byte in await exchange.pass_on():
        await exchange.say(bytes([byte]))
        await asyncio.sleep(0.05)


async def huge(exchange: Exchange) -> None:
    """Answer 503, promise a gibibyte, and keep the promise for as long as somebody listens."""
    await exchange.say(f"HTTP/1.1 503 Oh\r\nContent-Length: {_GIB}\r\n\r\n".encode())
    for _ in range(_GIB // len(_ZEROS)):
        await exchange.say(_ZEROS)


async def endless(exchange: Exchange) -> None:
    """Pass the request on, then answer 200 with a body that never ends."""
    await exchange.pass_on()
    await exchange.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await exchange.say(b"%x\r\n%b\r\n" % (len(_ZEROS), _ZEROS))


async def continue_first(exchange: Exchange) -> None:
    """Send an interim answer that nobody asked for before the real one."""
    await exchange.say(CONTINUE)
    await nothing(exchange)


class FaultProxy:
    """Listens on a port of its own. `choose` says how each request is treated.

    seen: every request that was read, spoilt or not.
    """

    def __init__(self, upstream_port: int) -> None:
        self.choose: Callable[[Received], Fault] = lambda _: nothing
        self.seen: list[Received] = []
        self._upstream = ("127.0.0.1", upstream_port)
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        # Held without listening, so that nobody takes the port while connections are refused.
        self._holder = _bound(0)
        self.port: int = self._holder.getsockname()[1]
        await self.listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.refuse()
        self._holder.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def listen(self) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(self._handle, sock=_bound(self.port))

    async def refuse(self) -> None:
        """Close every connection, and refuse new ones until `listen`."""
        if self._server is not None:
            self._server.close()
        handlers = tuple(self._handlers)
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
        self._server = None

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while not writer.is_closing():
                    request = Received(*await _read(reader))
                    self.seen.append(request)
                    await self.choose(request)(Exchange(request, writer, self._upstream))
        finally:
            self._handlers.discard(task)
            writer.close()


def _bound(port: int) -> socket.socket:
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    found.bind(("127.0.0.1", port))
    return found


async def _read(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Read one message with a Content-Length, or with no body."""
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = Received(head, b"").values("Content-Length")
    return head, await reader.readexactly(int(lengths[0])) if lengths else b""
