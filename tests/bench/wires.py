"""One kept-alive connection over a bare socket, so that asking costs next to nothing."""

import re
import socket
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_PATIENCE: Final = 30.0
_START: Final = 10.0


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer. asked_at: `time.perf_counter()`. seconds: until the whole answer was there."""

    status: int
    body: bytes
    asked_at: float
    seconds: float


class Wire:
    """Sends requests one after the other. A connection that was closed is opened again."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def ask(self, raw: bytes) -> Answered:
        """Send one request and return what it was answered.

        Raises:
            OSError: no answer came.
        """
        asked_at = time.perf_counter()
        self._socket.sendall(raw)
        received, whole = b"", None
        while whole is None or len(received) < whole:
            more = self._socket.recv(262_144)
            if not more:
                raise ConnectionError(f"port {self._port} closed the connection")
            received += more
            whole = whole or _length(received)
        seconds = time.perf_counter() - asked_at
        head, _, body = received.partition(b"\r\n\r\n")
        if b"\r\nconnection: close" in head.lower():
            self._socket.close()
            self._socket = self._open()
        return Answered(int(head[9:12]), body, asked_at, seconds)

    def _open(self) -> socket.socket:
        end = time.monotonic() + _START
        while True:
            try:
                return self._connect()
            except ConnectionRefusedError:
                # It may be starting still.
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def _connect(self) -> socket.socket:
        opened = socket.create_connection(("127.0.0.1", self._port), _PATIENCE)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened


def _length(received: bytes) -> int | None:
    """Return how long the whole answer is, once its head is there."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    found = _LENGTH.search(received, 0, end)
    return end + 4 + (int(found[1]) if found else 0)
