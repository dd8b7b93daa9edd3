"""One HTTP connection: its limits and deadlines, and our answers to what is not a request.

aiohttp parses what `Framing` lets pass. This subclass adds what it leaves open: deadlines for
headers and for writing an answer, limits on connections and on the bytes drained of an unread
body, answers to a sender that has half-closed its side, and our own answers in place of aiohttp's
error pages.
"""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any, Final, NoReturn, Protocol, cast

from aiohttp import http_exceptions
from aiohttp.streams import StreamReader
from aiohttp.web import BaseRequest, Server, StreamResponse
from aiohttp.web_protocol import RequestHandler

from relay.core.clock import Clock
from relay.core.errors import Reason, Refusal
from relay.core.request import Ack, Address
from relay.edge.answers import closing_bytes, to_response
from relay.edge.connections import Connections, PeerInfo, peer_info_of
from relay.edge.framing import MAX_FIELDS, MAX_LINE, Framing
from relay.edge.sweep import NEVER, Sweep

# ---- parse errors ---------------------------------------------------------------------------


class FramingError(http_exceptions.BadHttpMessage):
    """A refusal of `Framing` as an error of aiohttp's parser."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__("")
        self.refusal = refusal


class RejectingParser:
    """A parser of aiohttp's interface that raises `FramingError` whatever it is fed.

    It replaces a connection's parser once the framing is broken. What `Framing` refuses is never
    fed to the real one, and only an error of the parser makes aiohttp queue an error answer behind
    the answers of the requests before it, and close the connection after that.
    """

    def __init__(self, problem: Refusal) -> None:
        self._problem = problem

    def feed_data(self, _: bytes) -> NoReturn:
        raise FramingError(self._problem)

    def message_consumed(self) -> None:
        """Do nothing: no messages are queued in here."""


def refusal_of(error: BaseException | None) -> Refusal:
    """Return the refusal for an error of the parser, by its class: its text quotes the request.

    `Framing` refuses a head with too many fields before aiohttp, which has no class for that.
    """
    if isinstance(error, FramingError):
        return error.refusal
    if isinstance(error, http_exceptions.LineTooLong):
        return Refusal(Reason.HEADERS_TOO_LARGE)
    return Refusal(Reason.BODY_MALFORMED, f"not HTTP: {type(error).__name__}")


# ---- the connection -------------------------------------------------------------------------

#: aiohttp's parser stops at these sizes, which bound what one request head may cost. Bodies stay
#: as they came, and the log is ours.
_OPTIONS: Final = {
    "max_line_size": MAX_LINE,
    "max_field_size": MAX_LINE,
    "max_headers": MAX_FIELDS,
    "auto_decompress": False,
    "access_log": None,
}

#: Seconds until aiohttp would close an idle connection: longer than any lives. The sweep does.
_NO_KEEPALIVE_TIMER: Final = 10 * 365 * 86_400.0


class ConnectionErrors(Protocol):
    """Records errors of connections that became no delivery, and returns their answers."""

    def refuse(self, peer: Address, refusal: Refusal) -> Ack:
        """Record a refusal and return its answer."""

    def fault(self, peer: Address, error: BaseException | None) -> Ack:
        """Log the error if there is one, record a fault of ours and return its answer."""


class EdgeProtocol(RequestHandler):
    """aiohttp's connection with strict framing, limits and deadlines.

    Received bytes go through `Framing` into aiohttp's parser; aiohttp calls the server's handler
    with each request, one after the other, and writes the responses.
    """

    __slots__ = (
        "_answered",
        "_body",
        "_body_due",
        "_body_late",
        "_connections",
        "_counted",
        "_drain_limit",
        "_draining",
        "_early_data",
        "_eof",
        "_errors",
        "_framing",
        "_head_due",
        "_header_timeout",
        "_rejecting",
        "_sweep",
        "_write_due",
        "due",
        "peer",
        "peer_info",
    )

    def __init__(
        self,
        server: "EdgeServer",
        *,
        connections: Connections,
        errors: ConnectionErrors,
        sweep: Sweep,
        header_timeout: float,
        drain_limit: int,
        peer_info: PeerInfo | None = None,
        **options: Any,  # noqa: ANN401 - aiohttp's own
    ) -> None:
        """Take the parts.

        sweep: keeps the deadlines of the connection.
        header_timeout: seconds for a head, and for the sender to read an answer.
        drain_limit: bytes that are drained of bodies whose requests have been answered.
        peer_info: the peer by a PROXY header; None for the socket's.
        """
        super().__init__(server, **options)
        self.peer_info = peer_info
        self._connections = connections
        self._errors = errors
        self._sweep = sweep
        self._header_timeout = header_timeout
        self._drain_limit = drain_limit
        self._framing = Framing()
        # What the sweep looks at: `due` is the earliest of the others.
        self.due = self._head_due = self._write_due = self._body_due = NEVER
        self._body_late = Refusal(Reason.BODY_TIMEOUT)
        self._counted = False
        self._early_data = b""
        self._answered = 0
        self._eof = False
        self._rejecting = False
        self._draining = False
        self._body: StreamReader | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self.peer_info is None:
            self.peer_info = peer_info_of(transport)
        self.peer = self.peer_info.address
        super().connection_made(transport)
        # So that an answer counts as given when the system has taken all of it. Not 0: asyncio's
        # TLS takes an empty buffer for a full one then, at every other look.
        cast("asyncio.Transport", transport).set_write_buffer_limits(high=1)
        self._counted = True
        self._sweep.add(self)
        if self._connections.add(self.peer):
            self._start_header_deadline()
        else:
            self._refuse_connection(Refusal(Reason.TOO_MANY_CONNECTIONS))
        if self._early_data:
            early, self._early_data = self._early_data, b""
            self.data_received(early)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._sweep.remove(self)
        self._fail_body(Refusal(Reason.BODY_MALFORMED, "the connection ended inside the body"))
        # It knows this connection, and would keep it until garbage is collected.
        self._body = None
        if self._counted:
            self._counted = False
            self._connections.remove(self.peer)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._counted and self.transport is None:
            # asyncio hands over what came with the end of a TLS handshake before it says so.
            self._early_data += data
            return
        if self._framing.problem is None:
            self._receive(data)
        elif not data:
            # aiohttp goes on with requests that it held back, for there were many at once.
            self._parse(b"")

    def eof_received(self) -> bool:  # type: ignore[override] # asyncio asks for it
        """Keep the connection open while answers are owed to a sender that has half-closed it.

        asyncio cannot half-close TLS: there, the connection is over.
        """
        self._eof = True
        self._stop_header_deadline()
        if self._framing.in_body and self._framing.problem is None:
            ended = Refusal(Reason.BODY_MALFORMED, "the sender ended inside the body")
            self._framing.stop(ended)
            self._reject(ended)
        plaintext = self.transport is not None and self.ssl_context is None
        return plaintext and self._answers_owed > 0

    async def finish_response(
        self, request: BaseRequest, resp: StreamResponse, start_time: float | None
    ) -> tuple[StreamResponse, bool]:
        if self._eof and self._answers_owed == 1:
            resp.force_close()
        finished = await super().finish_response(request, resp, start_time)
        self._answered += 1
        if self._eof and not self._answers_owed:
            self.close()
        # aiohttp drains the rest of the body for a while, so that a sender that has to send it
        # all before it reads finds the answer. `_receive` sees to it that it is not too much.
        self._draining = not request.content.is_eof()
        self._update_due()
        return finished

    @property
    def _answers_owed(self) -> int:
        """Answers not yet written: one for each head, and one for a framing error."""
        count = self._framing.heads - self._answered
        return count + 1 if self._rejecting else count

    def _receive(self, data: bytes) -> None:
        """Parse what the framing lets pass, and keep the deadlines and limits by what it found."""
        framing, heads = self._framing, self._framing.heads
        if self._draining:
            self._drain_limit -= len(data)
            if self._drain_limit < 0:
                self._fail_body(Refusal(Reason.BODY_TOO_LARGE, "it was not wanted"))
                self.force_close()
                return
        self._parse(framing.feed(data))
        if framing.heads != heads or framing.problem is not None:
            self._stop_header_deadline()
        if framing.problem is not None:
            self._reject(framing.problem)
        elif framing.in_head and self._head_due == NEVER:
            # The first bytes of another request on a connection that was kept alive.
            self._start_header_deadline()

    def _parse(self, data: bytes) -> None:
        """Feed aiohttp's parser, which queues whole heads as requests; note the newest body."""
        super().data_received(data)
        if self._messages:
            self._body = self._messages[-1][1]
            if self._framing.problem is not None:
                self._fail_body(self._framing.problem)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_due = self._sweep.now() + self._header_timeout
        self._update_due()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._write_due = NEVER
        self._update_due()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's own text is not shown
    ) -> StreamResponse:
        """Answer what could not be parsed (400) and what we failed at (500, 504)."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun; the connection can only be closed")
        if status == 400:  # noqa: PLR2004 - aiohttp's mark for a request it cannot parse
            ack = self._errors.refuse(self.peer, refusal_of(exc))
        else:
            ack = self._errors.fault(self.peer, exc)
        response = to_response(ack)
        response.force_close()
        # Said, because aiohttp answers what it could not parse in HTTP/1.0, where it goes unsaid.
        response.headers["Connection"] = "close"
        return response

    def log_exception(self, *_: Any, **kwargs: Any) -> None:  # noqa: ANN401 - aiohttp's own
        error = kwargs.get("exc_info")
        # The rest of a body that nobody wanted was malformed: its request has been answered.
        if not isinstance(error, Refusal):
            self._errors.fault(self.peer, error)

    # ---- deadlines --------------------------------------------------------------------------

    def now(self) -> float:
        """Return the monotonic time that deadlines of this connection are counted in."""
        return self._sweep.now()

    def set_body_deadline(self, due: float, late: Refusal) -> None:
        """Make the read of the body raise `late` unless this is called again before `due`.

        It is over with `clear_body_deadline`.
        """
        self._body_due, self._body_late = due, late
        self._update_due()

    def clear_body_deadline(self) -> None:
        """Set no deadline for a body any more."""
        self._body_due = NEVER
        self._update_due()

    def expire(self, now: float) -> None:
        """Act on deadlines that have passed: for a head, a body, an answer, or being idle."""
        if self._write_due <= now:
            self._write_due = NEVER
            self._write_late()
        elif self._body_due <= now:
            self._body_due = NEVER
            self._fail_body(self._body_late)
        elif self._head_due <= now:
            self._headers_late(now)
        elif self._is_idle:
            self.force_close()
        self._update_due()

    @property
    def _is_idle(self) -> bool:
        return not (self._answers_owed or self._framing.in_head or self._framing.in_body)

    def _update_due(self) -> None:
        """Set `due` by the deadlines there are; a connection that has none may be idle."""
        self.due = min(self._head_due, self._write_due, self._body_due)
        if self.due == NEVER and self._is_idle:
            self.due = self._sweep.idle_due

    def _start_header_deadline(self) -> None:
        self._head_due = self._sweep.now() + self._header_timeout
        self._update_due()

    def _stop_header_deadline(self) -> None:
        self._head_due = NEVER
        self._update_due()

    def _headers_late(self, now: float) -> None:
        if self._answers_owed:
            # An earlier request on this connection has not been answered yet.
            self._head_due = now + self._header_timeout
        else:
            self._head_due = NEVER
            self._refuse_connection(Refusal(Reason.HEADER_TIMEOUT))

    def _write_late(self) -> None:
        refusal = Refusal(Reason.BODY_TIMEOUT, "the answer was not taken in time")
        self._errors.refuse(self.peer, refusal)
        if self.transport is not None:
            self.transport.abort()

    # ---- refusing ---------------------------------------------------------------------------

    def _reject(self, problem: Refusal) -> None:
        """Answer a framing error; nothing is read from this connection any more."""
        if self._framing.in_body:
            self._lingering_time = 0.0
            self._fail_body(problem)
        else:
            self._rejecting = True
            self._parser = RejectingParser(problem)  # type: ignore[assignment] # all that is asked of it
            super().data_received(b"")

    def _fail_body(self, problem: Refusal) -> None:
        """Make a read of the rest of the body raise `problem`."""
        if self._body is not None and not self._body.is_eof():
            self._body.set_exception(problem)

    def _refuse_connection(self, refusal: Refusal) -> None:
        """Answer without a request, and close."""
        ack = self._errors.refuse(self.peer, refusal)
        if self.transport is not None:
            self.transport.write(closing_bytes(ack))
        self.force_close()


class EdgeServer(Server):
    """aiohttp's low-level server as a factory of `EdgeProtocol`."""

    def __init__(
        self,
        handler: Any,  # noqa: ANN401 - aiohttp keeps the type private
        *,
        connections: Connections,
        errors: ConnectionErrors,
        clock: Clock,
        header_timeout: float,
        drain_limit: int,
        keepalive: float,
        linger: float,
    ) -> None:
        """Take the parts.

        clock: of all deadlines.
        keepalive: for how many seconds an idle connection is kept.
        linger: for how many seconds unread bytes of an answered request are drained.
        """
        options: dict[str, Any] = {
            **_OPTIONS,
            "keepalive_timeout": _NO_KEEPALIVE_TIMER,
            "lingering_time": linger,
        }
        super().__init__(handler, **options)
        self._all_closed: asyncio.Future[None] | None = None
        sweep = Sweep(clock, keepalive)
        self._sweeping = self._loop.create_task(sweep.run())
        self._protocol = partial(
            EdgeProtocol,
            self,
            connections=connections,
            errors=errors,
            sweep=sweep,
            header_timeout=header_timeout,
            drain_limit=drain_limit,
            loop=self._loop,
            **options,
        )

    async def drained(self, seconds: float) -> None:
        """Return when all connections are closed, at most after this many seconds."""
        self._all_closed = self._loop.create_future()
        if not self._connections:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._all_closed

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        if self._all_closed is None or self._all_closed.done():
            return
        # aiohttp forgets a connection when its task has ended, which may be a little later.
        if not self._connections.keys() - {handler}:
            self._all_closed.set_result(None)

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - aiohttp's own
        await super().shutdown(timeout)
        self._sweeping.cancel()

    def reconfigure(self, *, header_timeout: float, drain_limit: int) -> None:
        """Set other limits, for new connections."""
        self._protocol = partial(
            self._protocol, header_timeout=header_timeout, drain_limit=drain_limit
        )

    def __call__(self, peer_info: PeerInfo | None = None) -> EdgeProtocol:
        return self._protocol(peer_info=peer_info)
