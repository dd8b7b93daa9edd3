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
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import takewhile

from relay.core.egress import IPNetwork
from relay.delivery.http.client_tls import LastWords, client_context
from relay.delivery.http.connection import Connection, Exchange, Name, dial
from relay.delivery.http.messages import Closed, ExchangeFailed, KnownHeads, Origin, Response

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
    timeout: seconds that each exchange may take, waiting and connecting included; None: any time.
    tls: how to check the peer of an https origin. Default: by the system's authorities.
    server_name: the name that its certificate must hold, and that it is asked for. Default: that of
        the origin.
    allowed: networks of guarded addresses that the origin may have (`relay.core.egress`).
    """

    def __init__(
        self,
        origin: Origin,
        *,
        size: int,
        idle: float,
        longest_body: int,
        timeout: float | None = None,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        allowed: Iterable[IPNetwork] = (),
    ) -> None:
        self._name = Name(origin.host, origin.port, allowed)
        self._idle_for = idle
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._tls = (tls or client_context()) if origin.tls else None
        self._server_name = (server_name or origin.name) if origin.tls else None
        self._new = partial(
            Connection,
            longest_body=longest_body,
            known_heads=KnownHeads(),
            ended=self._on_ended,
            lost=self._forget,
        )
        self._connections: set[Connection] = set()
        # The one used last stands at the end.
        self._idle: dict[Connection, None] = {}
        # All that have not ended, the one that is due first in front: each has the same timeout.
        self._under_way: dict[Exchange, None] = {}
        self._waiting: deque[Exchange] = deque()
        # Whether those are started at the end of this iteration of the loop.
        self._scheduled = False
        # How many more connections may be in use or under construction.
        self._free = size
        self._sweep_at: asyncio.TimerHandle | None = None
        self._due_at: asyncio.TimerHandle | None = None
        self._closed = False

    def ask(self, exchange: Exchange, within: float | None = None) -> None:
        """Send a request once, and call its `ended` then.

        within: seconds after which it is overdue, where that is sooner than the timeout.

        One that is alone is sent now, others together at the end of this iteration of the loop.

        `ended` is not called before this has returned. It finds one of these in `error`, or None;
        after an error the connection is not reused.

            CannotConnect: nothing was sent.
            Closed, Malformed, TooLong: as for `Connection.send`.
            OSError: the connection broke, or the exchange has timed out (`TimeoutError`).

        Raises:
            RuntimeError: the pool is closed.
        """
        if self._closed:
            raise RuntimeError("this pool is closed")
        self._under_way[exchange] = None
        now = self._loop.time()
        if self._timeout is not None:
            exchange.due = now + self._timeout
            if self._due_at is None:
                self._due_at = self._loop.call_at(exchange.due, self._end_overdue)
        if within is not None:
            self._loop.call_later(within, self._end_early, exchange)
        if len(self._under_way) == 1:
            # Alone: there is no other to be sent with.
            try:
                self._start(exchange, now)
            except Exception:
                del self._under_way[exchange]
                self._free += 1
                raise
        else:
            self._waiting.append(exchange)
            if not self._scheduled:
                self._schedule()

    def cancel(self, exchange: Exchange) -> None:
        """Drop an exchange that has not ended: its `ended` is not called, its connection closes."""
        if exchange not in self._under_way:
            return
        del self._under_way[exchange]
        holder, exchange.holder = exchange.holder, None
        # One that waits for a connection is skipped when its turn comes.
        if holder is not None:
            holder.cancel()
            self._free += 1
            if self._waiting and not self._scheduled:
                self._schedule()

    async def exchange(self, request: bytes) -> Response:
        """Send a request once, and return when enough of its answer has arrived.

        Raises as an exchange ends (`ask`). After a cancellation its connection is not reused.
        """
        ended: asyncio.Future[None] = self._loop.create_future()
        exchange = Exchange(request, partial(_resolve, ended))
        self.ask(exchange)
        try:
            await ended
        finally:
            self.cancel(exchange)
        if exchange.error is not None:
            raise exchange.error
        return exchange

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

    # ---- starting an exchange ---------------------------------------------------------------

    def _start(self, exchange: Exchange, now: float) -> None:
        self._free -= 1
        while self._idle:
            # The one used last, which is the least likely to be closed.
            connection, _ = self._idle.popitem()
            if now < connection.idle_until and connection.is_idle and not connection.poll(0):
                exchange.holder = connection
                connection.send(exchange)
                return
            connection.close()
        exchange.holder = self._loop.create_task(self._connect_for(exchange))

    def _schedule(self) -> None:
        """Have those that wait started together, at the end of this iteration of the loop.

        Each request wakes the process that it is sent to; one that still runs with the request
        before need not be woken, and sending costs half as much.
        """
        self._scheduled = True
        self._loop.call_soon(self._start_waiting)

    def _start_waiting(self) -> None:
        self._scheduled = False
        now = self._loop.time()
        while self._waiting and self._free > 0:
            exchange = self._waiting.popleft()
            if exchange not in self._under_way:
                continue
            try:
                self._start(exchange, now)
            except Exception as error:  # noqa: BLE001 - whatever it is, its end is waited for
                self._fail(exchange, error)

    async def _connect_for(self, exchange: Exchange) -> None:
        try:
            connection = await self._connect()
            exchange.holder = connection
            connection.send(exchange)
        except asyncio.CancelledError:
            # By `cancel`, which leaves nothing to end, or with all tasks of the loop.
            self._fail(exchange, Closed("connecting was cancelled"))
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, its end is waited for
            self._fail(exchange, error)

    async def _connect(self) -> Connection:
        tls = self._tls
        try:
            opened = await dial(self._name)
            _, connection = await self._loop.create_connection(
                self._new,
                sock=opened if tls is None else LastWords.of(opened),
                ssl=tls,
                server_hostname=self._server_name,
                ssl_shutdown_timeout=_SHUTDOWN_TIMEOUT if tls else None,
            )
        except (OSError, ValueError) as error:
            raise CannotConnect(str(error)) from error
        if not connection.closed.done():
            self._connections.add(connection)
        return connection

    # ---- ending an exchange -----------------------------------------------------------------

    def _on_ended(self, connection: Connection, exchange: Exchange) -> None:
        if connection.is_idle:
            seconds = self._idle_for
            if "keep-alive" in exchange.fields:
                seconds = keep_for(exchange.fields["keep-alive"], seconds)
            if self._closed or seconds <= 0:
                connection.close()
            else:
                connection.idle_until = self._loop.time() + seconds
                self._idle[connection] = None
                if self._sweep_at is None:
                    self._sweep_at = self._loop.call_later(self._idle_for, self._sweep)
        self._end(exchange)

    def _end(self, exchange: Exchange) -> None:
        """End one that has a connection, or a task that connects; others are not started yet."""
        if exchange not in self._under_way:
            return
        del self._under_way[exchange]
        exchange.holder = None
        self._free += 1
        if self._waiting and not self._scheduled:
            self._schedule()
        exchange.ended()

    def _fail(self, exchange: Exchange, error: Exception) -> None:
        """End one with this error, unless it has ended."""
        if exchange in self._under_way:
            exchange.error = error
            self._end(exchange)

    def _end_overdue(self) -> None:
        """End what is due. One timer serves all: it runs again when the next one will be due."""
        now = self._loop.time()
        overdue = list(takewhile(lambda each: each.due <= now, self._under_way))
        # Those that wait first: the end of another one would start them.
        for exchange in reversed(overdue):
            self._end_by_timeout(exchange)
        # Only now: what follows from the end of one is due later than those under way.
        self._due_at = None
        following = next(iter(self._under_way), None)
        if following is not None:
            self._due_at = self._loop.call_at(following.due, self._end_overdue)

    def _end_by_timeout(self, exchange: Exchange) -> None:
        if isinstance(exchange.holder, Connection):
            exchange.holder.fail(TimeoutError())
        elif exchange in self._under_way:
            self.cancel(exchange)
            exchange.error = TimeoutError()
            exchange.ended()

    def _end_early(self, exchange: Exchange) -> None:
        if exchange in self._under_way:
            self._end_by_timeout(exchange)

    # ---- idle connections -------------------------------------------------------------------

    def _sweep(self) -> None:
        """Close connections that were idle for too long. One timer serves all of them."""
        now = self._loop.time()
        for connection in [each for each in self._idle if each.idle_until <= now]:
            del self._idle[connection]
            connection.close()
        soonest = min((each.idle_until for each in self._idle), default=None)
        self._sweep_at = None if soonest is None else self._loop.call_at(soonest, self._sweep)

    def _forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._idle.pop(connection, None)


def _resolve(ended: asyncio.Future[None], _: Exchange) -> None:
    if not ended.done():
        ended.set_result(None)


def keep_for(fields: Sequence[str], idle: float) -> float:
    """Return for how many seconds a connection may be kept; not at all when that is 0 or less.

    fields: the Keep-Alive fields of the answer; the peer's timeout is undercut.
    """
    found = _TIMEOUT.search(", ".join(fields)) if fields else None
    return idle if found is None else min(idle, int(found[1]) - _MARGIN)
