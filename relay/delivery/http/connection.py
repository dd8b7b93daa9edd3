"""One connection to an origin: resolve its name, dial its addresses, make one exchange."""

import asyncio
import math
import select
import socket
import ssl
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from itertools import chain, zip_longest
from typing import cast

from relay.core.concurrency import READ_SIZE, run_in_daemon_thread
from relay.core.egress import IPNetwork, may_dial
from relay.delivery.http.client_tls import refusal
from relay.delivery.http.messages import (
    Closed,
    ExchangeFailed,
    KnownHeads,
    Response,
    ResponseParser,
)

# ---- one exchange ---------------------------------------------------------------------------


class Exchange(Response):
    """One request and its answer.

    request: empty once it is sent.
    error: what kept the answer from arriving whole; None without.
    due: the time of the loop at which it fails with a `TimeoutError`; set by its pool.
    holder: the connection that it is on, or the task that connects for it.
    """

    request = b""
    error: Exception | None = None
    due = math.inf
    holder: "Connection | asyncio.Task[None] | None" = None

    def __init__(
        self,
        request: bytes,
        done: Callable[["Exchange"], None],
        wants_body: Callable[[int], bool] = lambda _: True,
        *,
        to_head: bool = False,
    ) -> None:
        """Take the request. `wants_body` and `to_head` are those of its answer.

        done: called at its end, with this exchange.
        """
        # What `Response` would set; one call less for each request.
        self._wants_body = wants_body
        self.to_head = to_head
        self.request = request
        self.done = done

    def ended(self) -> None:
        """Enough of the answer has arrived, or an error has ended it.

        Called once, on the event loop; not for one that is cancelled. It must not raise.
        """
        self.done(self)


class Connection(asyncio.Protocol):
    """Carries one exchange at a time, and closes unless it can be reused afterwards.

    is_idle: whether another request may be sent, as far as is known.
    poll: lists, when called with 0, that the socket holds something unread, such as the peer's
        close: the loop may not have read it yet.
    closed: done once the transport is closed.
    idle_until: the time of the loop until which its pool may use it again.
    """

    def __init__(
        self,
        *,
        longest_body: int,
        known_heads: KnownHeads,
        ended: Callable[["Connection", Exchange], None],
        lost: Callable[["Connection"], None],
    ) -> None:
        """Wait for a transport.

        known_heads: shared by the connections to one origin.
        ended: called with each exchange at its end; the connection is `is_idle` or closing then.
        lost: called once when the connection is closed, by either side.
        """
        self._known_heads = known_heads
        self._ended = ended
        self._lost = lost
        self._parser = ResponseParser(longest_body)
        self._exchange: Exchange | None = None
        # Whether the parser has some of the answer to the exchange under way.
        self._parsing = False
        # Whether a request is not wholly sent, as far as the transport has said.
        self._unsent = False
        self._closing = False
        self.is_idle = False
        self.idle_until = 0.0
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def send(self, exchange: Exchange) -> None:
        """Send the request of an exchange; its answer is what arrives next.

        The request is in memory already, so the transport may buffer what the socket does not take,
        and its flow control is not needed. The exchange ends with one of these errors, or none:

            Closed: the peer ended the connection before the end of its answer.
            Malformed, TooLong: the answer cannot be read.
            OSError: the connection broke.
        """
        if self._closing:
            raise Closed("the connection is closed")
        self._exchange = exchange
        self._parsing = self.is_idle = False
        request, exchange.request = exchange.request, b""
        self._transport.write(request)

    def cancel(self) -> None:
        """Drop the exchange under way, and close at once."""
        self._exchange = None
        self.abort()

    @property
    def is_busy(self) -> bool:
        """Whether an exchange is under way."""
        return self._exchange is not None

    def close(self) -> None:
        """Close gracefully; over TLS that waits for the peer's close_notify."""
        if not self._closing:
            self._closing, self.is_idle = True, False
            self._transport.close()

    def abort(self) -> None:
        """Close at once, and drop what is not sent yet."""
        self._closing, self.is_idle = True, False
        self._transport.abort()

    def fail(self, error: Exception) -> None:
        """End the exchange under way, if there is one, with this error."""
        if self._exchange is not None:
            self._exchange.error = error
            self._finish(self._exchange, reusable=False)

    def _finish(self, exchange: Exchange, *, reusable: bool) -> None:
        self._exchange = None
        if self._unsent or not exchange.complete:
            # `close` would wait for a peer that may never read the rest.
            self.abort()
        elif not reusable:
            self.close()
        else:
            self.is_idle = not self._closing
        self._ended(self, exchange)

    # ---- called by the transport ------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        transport.max_size = READ_SIZE  # type: ignore[attr-defined] # not documented
        # It says at once when a byte waits in its buffer, and so need not be asked each time. Of
        # TLS the limit itself is too much, of TCP what is above it.
        is_tls = transport.get_extra_info("sslcontext") is not None
        self._transport.set_write_buffer_limits(high=1 if is_tls else 0)
        unread = select.poll()
        unread.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self.poll = unread.poll

    def pause_writing(self) -> None:
        self._unsent = True

    def resume_writing(self) -> None:
        self._unsent = False

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            # Unsolicited: it must never be taken for the answer to the next request.
            self.abort()
        elif not self._parsing and self._known_heads.read(data, exchange):
            if self._unsent or self._closing:
                self._finish(exchange, reusable=True)
            else:
                self._exchange, self.is_idle = None, True
                self._ended(self, exchange)
        else:
            self._parse(data, exchange)

    def _parse(self, data: bytes, exchange: Exchange) -> None:
        first, self._parsing = not self._parsing, True
        if first:
            self._parser.expect(exchange)
        try:
            enough = self._parser.feed(data)
        except ExchangeFailed as error:
            self.fail(error)
            return
        if enough:
            if first and self._parser.reusable:
                self._known_heads.add(data, exchange)
            self._parser.release()
            self._finish(exchange, reusable=self._parser.reusable)

    def eof_received(self) -> None:
        # Returning nothing makes the transport close itself.
        self._closing, self.is_idle = True, False
        exchange = self._exchange
        if exchange is None:
            return
        if not self._parsing:
            self._parser.expect(exchange)
        try:
            self._parser.end()
        except Closed as error:
            self.fail(error)
        else:
            self._finish(exchange, reusable=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing, self.is_idle = True, False
        if isinstance(exc, ssl.SSLError):
            context = self._transport.get_extra_info("sslcontext")
            exc = refusal(exc, shown=getattr(context, "shows_certificate", False))
        self.fail(exc or Closed("the connection is lost"))
        self._lost(self)
        if not self.closed.done():
            self.closed.set_result(None)


# ---- resolving ------------------------------------------------------------------------------
# The name server of one upstream must not be able to delay anything else. So the system resolver
# runs in a thread that serves this name alone, once for all look-ups that overlap.

Found = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]


class AddressNotAllowed(OSError):
    """Every address of a host is one that nothing is sent to (`relay.core.egress`)."""


class Name:
    """A host, by name or by address, and a port.

    allowed: networks of guarded addresses that it may have (`relay.core.egress`).
    """

    def __init__(self, host: str, port: int, allowed: Iterable[IPNetwork] = ()) -> None:
        self._host = host
        self._port = port
        self._allowed = tuple(allowed)
        self._resolving: asyncio.Task[list[Found]] | None = None
        # A host that is an address, which needs no name server and no thread, once and for all.
        self._numeric = self._as_address()
        self._numeric_allowed = self._without_guarded(self._numeric)

    async def look_up(self) -> list[Found]:
        """Return the addresses, at least one, as `socket.getaddrinfo` does.

        Raises:
            OSError: a `socket.gaierror`: there are none, or they cannot be found out.
            ValueError: DNS has no way to ask for this name.
        """
        if self._numeric:
            return self._numeric
        if self._resolving is None:
            self._resolving = asyncio.ensure_future(
                run_in_daemon_thread(self._resolve, "relay-names")
            )
            self._resolving.add_done_callback(self._on_resolved)
        # A cancelled caller must not cancel the look-up of the others.
        return await asyncio.shield(self._resolving)

    async def allowed(self) -> list[Found]:
        """Return those of the addresses that may be dialled, at least one.

        Raises:
            AddressNotAllowed: there is none among them.
            OSError, ValueError: as `look_up`.
        """
        found = self._numeric_allowed
        if not self._numeric:
            found = self._without_guarded(await self.look_up())
        if not found:
            raise AddressNotAllowed("no address of this host may be dialled")
        return found

    def _without_guarded(self, found: Iterable[Found]) -> list[Found]:
        # A zone follows the address of a link.
        return [
            each
            for each in found
            if may_dial(ip_address(str(each[4][0]).partition("%")[0]), self._allowed)
        ]

    def _on_resolved(self, task: asyncio.Task[list[Found]]) -> None:
        self._resolving = None
        if not task.cancelled():
            # Retrieved, or asyncio would warn when no caller is left.
            task.exception()

    def _as_address(self) -> list[Found]:
        try:
            return self._resolve(socket.AI_NUMERICHOST)
        except (OSError, ValueError):
            return []

    def _resolve(self, flags: int = 0) -> list[Found]:
        kind = socket.SOCK_STREAM
        return list(socket.getaddrinfo(self._host, self._port, type=kind, flags=flags))


# ---- dialling -------------------------------------------------------------------------------
# `asyncio` does the same, but loses a socket that is connected at the very moment of cancellation,
# and attempts are cancelled here whenever their timeout ends.

#: How long the next address waits for the one before it, in seconds (RFC 8305, 5).
HEAD_START = 0.25


async def dial(name: Name, head_start: float = HEAD_START) -> socket.socket:
    """Return a connected, non-blocking socket. Cancelled or failed, it leaves none open.

    What is dialled is what was looked up: a name cannot have another address meanwhile.

    Raises:
        AddressNotAllowed: it has addresses, of which none may be dialled.
        OSError: the first error of all the addresses; `socket.gaierror` when there is none.
        ValueError: DNS has no way to ask for this name.
    """
    addresses = alternating(await name.allowed())
    if len(addresses) == 1:
        return await _connected(addresses[0])
    return await _race(addresses, head_start)


def alternating(found: Iterable[Found]) -> list[Found]:
    """Return the addresses with their families alternating, the preferred family first."""
    families: dict[int, list[Found]] = {}
    for each in found:
        families.setdefault(each[0], []).append(each)
    in_turn = chain.from_iterable(zip_longest(*families.values()))
    return [each for each in in_turn if each is not None]


def addresses_of(found: Iterable[Found]) -> list[str]:
    """Return the addresses as text, each once, in the order in which they are tried."""
    return list(dict.fromkeys(str(place[0]) for *_, place in alternating(found)))


async def _race(addresses: list[Found], head_start: float) -> socket.socket:
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[socket.socket]] = []
    failed: list[BaseException] = []
    winner: asyncio.Task[socket.socket] | None = None
    try:
        running: set[asyncio.Task[socket.socket]] = set()
        while len(tasks) < len(addresses) or running:
            if len(tasks) < len(addresses):
                tasks.append(loop.create_task(_connected(addresses[len(tasks)])))
                running.add(tasks[-1])
            more = len(tasks) < len(addresses)
            done, running = await asyncio.wait(
                running,
                timeout=head_start if more else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                error = task.exception()
                if error is None:
                    winner = task
                    return task.result()
                failed.append(error)
        raise failed[0]
    finally:
        for task in tasks:
            if task is not winner:
                task.cancel()
                task.add_done_callback(_discard)


async def _connected(address: Found) -> socket.socket:
    family, kind, protocol, _, place = address
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setblocking(False)
        await asyncio.get_running_loop().sock_connect(opened, place)
    except BaseException:
        opened.close()
        raise
    return opened


def _discard(task: asyncio.Task[socket.socket]) -> None:
    """Close the socket of an attempt that connected too late."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()
