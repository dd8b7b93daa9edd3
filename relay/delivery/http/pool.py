"""A bounded pool of keep-alive connections to one origin.

A peer may close a kept connection at the very moment in which a request goes out on it. Whether it
has read the request is then unknown, so nothing is sent a second time here: the exchange fails with
`Closed` or a reset, and the caller decides. The pool keeps that moment short: the end of an idle
connection is seen at once, the socket is polled for unread bytes before each use, and connections
are kept for less time than common servers keep theirs.
"""

import asyncio
import re
import ssl
from functools import partial

from relay.delivery.http.connection import Connection, Name, dial
from relay.delivery.http.messages import ExchangeFailed, Origin, Response

#: How long a peer has for its TLS close_notify, in seconds.
_SHUTDOWN_TIMEOUT = 1.0

# The peer's own limit counts from when it sent its answer, which is before that is received.
_MARGIN = 1.0

_TIMEOUT = re.compile(r"(?:^|[,;\s])timeout=\"?([0-9]{1,6})", re.IGNORECASE)


class CannotConnect(ExchangeFailed):
    """No connection could be made, and nothing was sent. `__cause__` is the reason."""


class Pool:
    """A pool of connections to one origin. Made inside a running event loop.

    size: the most in use at once; further requests wait, in order.
    idle: for how many seconds an unused connection is kept.
    longest_body: an answer with a longer body is not read to its end.
    tls: how to check the peer of an https origin.
    """

    def __init__(
        self,
        origin: Origin,
        *,
        size: int,
        idle: float,
        longest_body: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._origin = origin
        self._name = Name(origin.host, origin.port)
        self._idle_for = idle
        self._loop = asyncio.get_running_loop()
        self._slots = asyncio.Semaphore(size)
        self._tls = (tls or ssl.create_default_context()) if origin.tls else None
        self._new = partial(Connection, longest_body=longest_body, lost=self._forget)
        self._connections: set[Connection] = set()
        # Each with the time until which it may be used; the one used last stands at the end.
        self._idle: dict[Connection, float] = {}
        self._sweep_at: asyncio.TimerHandle | None = None
        self._closed = False

    async def exchange(self, request: bytes, response: Response) -> None:
        """Send a request once, and return when enough of its answer has arrived.

        After an error or a cancellation its connection is not reused.

        Raises:
            CannotConnect: nothing was sent.
            Closed, Malformed, TooLong: as for `Connection.ask`.
            OSError: the connection broke.
            RuntimeError: the pool is closed.
        """
        async with self._slots:
            if self._closed:
                raise RuntimeError("this pool is closed")
            connection = self._take_idle() or await self._connect()
            try:
                await connection.exchange(request, response)
            finally:
                self._release(connection, response)

    async def close(self) -> None:
        """Close idle connections now and the others after their exchange.

        Returns when the idle ones are closed, after a second at most.
        """
        self._closed = True
        self._idle.clear()
        if self._sweep_at is not None:
            self._sweep_at.cancel()
        idle = [each for each in self._connections if not each.is_busy]
        for connection in idle:
            connection.close()
        try:
            if idle:
                await asyncio.wait([each.closed for each in idle], timeout=_SHUTDOWN_TIMEOUT)
        finally:
            for connection in idle:
                if not connection.closed.done():
                    connection.abort()

    def _take_idle(self) -> Connection | None:
        """Return the connection that was used last and can take another request."""
        now = self._loop.time()
        while self._idle:
            connection, until = self._idle.popitem()
            if now < until and connection.is_idle and connection.is_quiet():
                return connection
            connection.close()
        return None

    async def _connect(self) -> Connection:
        tls = self._tls
        try:
            _, connection = await self._loop.create_connection(
                self._new,
                sock=await dial(self._name),
                ssl=tls,
                server_hostname=self._origin.name if tls else None,
                ssl_shutdown_timeout=_SHUTDOWN_TIMEOUT if tls else None,
            )
        except (OSError, ValueError) as error:
            raise CannotConnect(str(error)) from error
        if not connection.closed.done():
            self._connections.add(connection)
        return connection

    def _release(self, connection: Connection, response: Response) -> None:
        if not connection.is_idle:
            return
        seconds = keep_for(response.values("keep-alive"), self._idle_for)
        if self._closed or seconds <= 0:
            connection.close()
            return
        self._idle[connection] = self._loop.time() + seconds
        if self._sweep_at is None:
            self._sweep_at = self._loop.call_later(self._idle_for, self._sweep)

    def _sweep(self) -> None:
        """Close connections that were idle for too long. One timer serves all of them."""
        now = self._loop.time()
        for connection in [each for each, until in self._idle.items() if until <= now]:
            del self._idle[connection]
            connection.close()
        soonest = min(self._idle.values(), default=None)
        self._sweep_at = None if soonest is None else self._loop.call_at(soonest, self._sweep)

    def _forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._idle.pop(connection, None)


def keep_for(fields: list[str], idle: float) -> float:
    """Return for how many seconds a connection may be kept; not at all when that is 0 or less.

    fields: the Keep-Alive fields of the answer; the peer's timeout is undercut.
    """
    found = _TIMEOUT.search(", ".join(fields)) if fields else None
    return idle if found is None else min(idle, int(found[1]) - _MARGIN)
