"""The other end of a connection, byte by byte and moment by moment."""

import asyncio
import socket
import struct
from types import TracebackType
from typing import Self

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Line:
    """One accepted connection. What it does, it has done when the call returns."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection

    async def heard(self) -> bytes:
        """Return what has come next; empty at the end."""
        try:
            return await asyncio.get_running_loop().sock_recv(self._socket, 65536)
        except ConnectionError:
            return b""

    async def has_ended(self) -> None:
        """Return when the client has closed, whatever it sent before."""
        while await self.heard():
            pass

    def say(self, raw: bytes) -> None:
        assert self._socket.send(raw) == len(raw)

    def say_no_more(self) -> None:
        """Close our direction only."""
        self._socket.shutdown(socket.SHUT_WR)

    def hang_up(self) -> None:
        self._socket.close()

    def reset(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


class Peer:
    """A port on loopback, and the lines that come in."""

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._lines: list[Line] = []
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()
        for line in self._lines:
            line.hang_up()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def line(self) -> Line:
        """Return the next connection that comes in."""
        connection, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        self._lines.append(Line(connection))
        return self._lines[-1]

    def has_another(self) -> bool:
        """Tell whether somebody has connected who was not let in yet."""
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return False
        connection.close()
        return True
