"""Upstreams on loopback that answer or misbehave on order, and record what they got.

They are written on bare streams: a library would not let them misbehave.
"""

import asyncio
import hashlib
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True)
class Received:
    """One request, byte for byte. `head` ends with its blank line."""

    head: bytes
    body: bytes

    @property
    def method(self) -> str:
        return self.head.split(b" ", 1)[0].decode()

    @property
    def target(self) -> str:
        return self.head.split(b" ", 2)[1].decode("latin-1")

    @property
    def headers(self) -> list[tuple[str, str]]:
        lines = self.head.decode("latin-1").split("\r\n")[1:-2]
        pairs = (line.partition(": ") for line in lines)
        return [(name, value) for name, _, value in pairs]

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


def answer(status: int, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> Behaviour:
    """Answer as one should, and keep the connection."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers)]
        if status != 204:
            lines.append(f"Content-Length: {len(body)}")
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()

    return behave


def send(raw: bytes, then: Behaviour) -> Behaviour:
    """Send these bytes, then misbehave."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()
        await then(writer)

    return behave


def repeat(raw: bytes, pause: float) -> Behaviour:
    """Send these bytes again and again, for ever."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(raw)
            await writer.drain()
            await asyncio.sleep(pause)

    return behave


async def hang(_: asyncio.StreamWriter) -> None:
    """Say nothing for ever."""
    await asyncio.Event().wait()


async def close(writer: asyncio.StreamWriter) -> None:
    """Close the connection in good order."""
    writer.close()


async def half_close(writer: asyncio.StreamWriter) -> None:
    """Close our direction only."""
    writer.write_eof()
    await hang(writer)


async def reset(writer: asyncio.StreamWriter) -> None:
    """Tear the connection down with RST."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def when(release: asyncio.Event, then: Behaviour) -> Behaviour:
    """Wait until released."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await then(writer)

    return behave


class Upstream:
    """A server on a free port. Behaviours are used up one a request; the last one stays.

    at_once: misbehave as soon as a connection is made, reading nothing.
    connections: how many were made.
    """

    def __init__(
        self, *behaviours: Behaviour, at_once: bool = False, tls: ssl.SSLContext | None = None
    ) -> None:
        self.received: list[Received] = []
        self.connections = 0
        self._behaviours = list(behaviours or [answer(200)])
        self._at_once = at_once
        self._tls = tls
        self._handlers: set[asyncio.Task[None]] = set()
        self._more = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for handler in tuple(self._handlers):
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}"

    def behave(self, *behaviours: Behaviour) -> None:
        """Behave so from the next request on."""
        self._behaviours = list(behaviours)

    async def has_received(self, number: int) -> None:
        """Return when this many requests have come."""
        async with self._more:
            await self._more.wait_for(lambda: len(self.received) >= number)

    async def is_left_alone(self) -> None:
        """Return when no connection is open, and all that came over them has been read."""
        while self._handlers:
            await asyncio.wait(self._handlers)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        self.connections += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while not writer.is_closing():
                    if not self._at_once:
                        await self._read(reader)
                    await self._next()(writer)
        finally:
            self._handlers.discard(task)
            writer.close()

    def _next(self) -> Behaviour:
        return self._behaviours.pop(0) if len(self._behaviours) > 1 else self._behaviours[0]

    async def _read(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        request = Received(head, b"")
        lengths = request.values("Content-Length")
        body = await reader.readexactly(int(lengths[0])) if lengths else b""
        async with self._more:
            self.received.append(Received(head, body))
            self._more.notify_all()


class RefusingPort:
    """A port that nobody listens on, and that nobody else can take meanwhile."""

    def __enter__(self) -> str:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()


# ---- the status API -------------------------------------------------------------------------
# A stand-in for Midtrans' status API: it tells of the transactions it was given, or misbehaves.

KEY = "SB-Mid-server-TOq1a2AVuiyhhOjvfs3U_KeO"

#: As a gateway once answered, with HTTP 200.
NOT_FOUND = {
    "status_code": "404",
    "status_message": "Transaction doesn't exist.",
    "id": "e12f60bc-fbc7-4fa7-a457-5d822ac61cd5",
}


def signed(message: Mapping[str, str], key: str = KEY) -> dict[str, str]:
    """Return a message with the signature that its fields should have."""
    covered = message["order_id"] + message["status_code"] + message["gross_amount"] + key
    return {**message, "signature_key": hashlib.sha512(covered.encode()).hexdigest()}


def status_of(notification: bytes, **changes: str) -> dict[str, str]:
    """Return what the API says of a notified transaction; `changes` is what it says otherwise."""
    said = json.loads(notification)
    said["status_message"] = "Success, transaction is found"
    found = signed(said | changes)
    return found | {name: changes[name] for name in ("signature_key",) if name in changes}


def says(message: object, status: int = 200) -> Behaviour:
    """Answer with this, as JSON."""
    return answer(status, (("Content-Type", "application/json"),), json.dumps(message).encode())


class StatusApi:
    """A status API on loopback. It knows nothing at first; `behave` overrides what it knows."""

    def __init__(self, *behaviours: Behaviour) -> None:
        self.server = Upstream(*(behaviours or (says(NOT_FOUND),)))

    async def __aenter__(self) -> Self:
        await self.server.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.server.__aexit__(kind, error, trace)

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def asked(self) -> list[Received]:
        return self.server.received

    def behave(self, *behaviours: Behaviour) -> None:
        """Answer so from the next question on; the last one stays."""
        self.server.behave(*behaviours)
