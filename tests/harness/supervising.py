"""A supervisor as systemd is one: a socket on which a process tells how it fares."""

import asyncio
import socket
from types import TracebackType
from typing import Self

_PATIENCE = 20.0


class Supervising:
    """Listens on NOTIFY_SOCKET. `environ`: what the process has to be given."""

    def __init__(self, name: str) -> None:
        """Take the path of the socket, or an @ and an abstract name."""
        self.environ = {"NOTIFY_SOCKET": name}
        self._name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def __enter__(self) -> Self:
        self._socket.bind("\0" + self._name[1:] if self._name.startswith("@") else self._name)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def heard(self) -> list[str]:
        """Return the messages since the last call."""
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    async def next(self, within: float = _PATIENCE) -> str:
        """Wait for the next message.

        Raises:
            TimeoutError: there was none within these seconds.
        """
        async with asyncio.timeout(within):
            received = await asyncio.get_running_loop().sock_recv(self._socket, 4096)
        return received.decode()
