"""The connections to one origin: used again while they are fresh, never more than so many.

A peer may close a kept connection in the very moment in which a request goes out on it. Whether it
has read the request is then unknown, so nothing is sent a second time here: the exchange fails with
`Closed` or a reset, and whoever asked decides. What can be done is to make that moment short. The
end of an idle connection is seen at once; before each use the socket is asked whether anything lies
in it; and connections are kept for less time than common servers keep theirs.
"""

import asyncio
import re
import ssl
from functools import partial

from relay.delivery.http.connection import Connection, Name, dial
from relay.delivery.http.messages import ExchangeFailed, Origin, Response

#: How long a peer has for its last word over TLS, in seconds.
_SHUTDOWN_TIMEOUT = 1.0

# The peer's own limit counts from when it sent its answer, which is earlier than we think.
_MARGIN = 1.0

_TIMEOUT = re.compile(r"(?:^|[,;\s])timeout=\"?([0-9]{1,6})", re.IGNORECASE)


class CannotConnect(ExchangeFailed):
    """There is no connection to be had; nothing was sent. `__cause__` says why."""


class Pool:
    """Connections to one origin. Made inside a running event loop.

    size: how many are in use at once; more requests than that wait, in order.
    idle: for how many seconds an unused one is kept.
    longest_body: more than this of an answer is not read.
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
        self._turns = asyncio.Semaphore(size)
        self._tls = (tls or ssl.create_default_context()) if origin.tls else None
        self._new = partial(Connection, longest_body=longest_body, lost=self._forget)
        self._connections: set[Connection] = set()
        # With the time until which it may be used; the one used last is at the end.
        self._idle: dict[Connection, float] = {}
        self._sweep_at: asyncio.TimerHandle | None = None
        self._closed = False

    async def ask(self, request: bytes, response: Response) -> None:
        """Send a request once, and return when enough of its answer has come.

        Cancelled or failed, it leaves no connection behind that another request could get.

        Raises:
            CannotConnect: nothing was sent.
            Closed, Malformed, TooLong: as for `Connection.ask`.
            OSError: the connection broke.
            RuntimeError: the pool is closed.
        """
        async with self._turns:
            if self._closed:
                raise RuntimeError("this pool is closed")
            connection = self._kept() or await self._connect()
            try:
                await connection.ask(request, response)
            finally:
                self._give_back(connection, response)

    async def close(self) -> None:
        """Close idle connections now and the others after their exchange.

        Returns when the idle ones are closed, after a second at most.
        """
        self._closed = True
        self._idle.clear()
        if self._sweep_at is not None:
            self._sweep_at.cancel()
        leaving = [each for each in self._connections if not each.is_busy]
        for connection in leaving:
            connection.close()
        try:
            if leaving:
                await asyncio.wait([each.gone for each in leaving], timeout=_SHUTDOWN_TIMEOUT)
        finally:
            for connection in leaving:
                if not connection.gone.done():
                    connection.abort()

    def _kept(self) -> Connection | None:
        """Return the connection that was used last and is fit for another request."""
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
        if not connection.gone.done():
            self._connections.add(connection)
        return connection

    def _give_back(self, connection: Connection, response: Response) -> None:
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
        """Close what has been idle for too long. One timer serves all connections."""
        now = self._loop.time()
        for connection in [each for each, until in self._idle.items() if until <= now]:
            del self._idle[connection]
            connection.close()
        soonest = min(self._idle.values(), default=None)
        self._sweep_at = None if soonest is None else self._loop.call_at(soonest, self._sweep)

    def _forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._idle.pop(connection, None)


def keep_for(said: list[str], ours: float) -> float:
    """Return for how many seconds a connection may be kept; none when that is 0 or less.

    said: the Keep-Alive fields of the answer. Its peer's timeout is undercut.
    """
    found = _TIMEOUT.search(", ".join(said)) if said else None
    return ours if found is None else min(ours, int(found[1]) - _MARGIN)
