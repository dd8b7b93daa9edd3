"""A TLS server that says by alerts what it does not like, which asyncio's own servers do not."""

import socket
import ssl
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class TlsServer:
    """Answers requests with 200 on a free port, a thread for each connection.

    received: how many requests have come. alpn: what was agreed on in each connection.
    serials: of the client certificate of each request, where there was one.
    host: that of its URL. asks_late: whether it asks for a certificate with each answer only.
    """

    def __init__(
        self, context: ssl.SSLContext, host: str = "127.0.0.1", *, asks_late: bool = False
    ) -> None:
        self.context = context
        self.host = host
        self.received = 0
        self.alpn: list[str | None] = []
        self.serials: list[int | None] = []
        self._asks_late = asks_late
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._hang_up()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.port}"

    def renew(self, context: ssl.SSLContext) -> None:
        """Serve with another context, and end every connection that has the one before."""
        self.context = context
        self._hang_up()

    def _hang_up(self) -> None:
        for each in self._connections:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _start(self, target: object, *arguments: object) -> None:
        assert callable(target)
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with (
            # Of what is closed at the end, too.
            suppress(OSError, ValueError),
            connection,
            self.context.wrap_socket(connection, server_side=True) as session,
            session.makefile("rb") as file,
        ):
            self._connections.append(session)
            self.alpn.append(session.selected_alpn_protocol())
            while length := self._head(file.readline):
                file.read(length - 1)
                shown = session.getpeercert() or {}
                self.serials.append(int(str(shown["serialNumber"]), 16) if shown else None)
                self.received += 1
                if self._asks_late:
                    session.verify_client_post_handshake()
                session.sendall(_ANSWER)

    @staticmethod
    def _head(line: object) -> int:
        """Read a head; return one more than the length of the body, and 0 at the end."""
        assert callable(line)
        length = 0
        while (text := line()) not in {b"", b"\r\n"}:
            name, _, value = text.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return length + 1 if text else 0
