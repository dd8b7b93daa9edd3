"""One HTTP connection: its limits and deadlines, and our answers to what is not a request.

aiohttp parses what `Framing` lets pass. This subclass adds what it leaves open: deadlines for
headers and for writing an answer, limits on connections and on the bytes drained of an unread
body, answers to a sender that has half-closed its side, and our own answers in place of aiohttp's
error pages.
"""

import asyncio
from typing import Any, Final, cast

from aiohttp.streams import StreamReader
from aiohttp.web import BaseRequest, Server, StreamResponse

from relay.core.concurrency import READ_SIZE
from relay.core.errors import Reason, Refusal
from relay.core.request import Ack
from relay.edge.answers import closing_bytes
from relay.edge.connections import (
    NEVER,
    ConnectionErrors,
    Connections,
    PeerInfo,
    Sweep,
    peer_info_of,
)
from relay.edge.error_answers import AnsweredErrors, RejectingParser
from relay.edge.fast_lane import FastLane, LaneRequest
from relay.edge.framing import Framing, begins_request

_BODY_LATE: Final = Refusal(Reason.BODY_TIMEOUT)

#: Bytes that are held behind a request in the fast lane before no more are read.
_MAX_HELD: Final = 64 * 1024


class EdgeProtocol(AnsweredErrors):
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
        "_held",
        "_in_lane",
        "_lane",
        "_lane_due",
        "_lane_open",
        "_rejected",
        "_rejecting",
        "_stopping",
        "_sweep",
        "_wire",
        "_write_due",
        "due",
        "earned",
        "peer",
        "peer_info",
    )

    def __init__(
        self,
        server: Server,
        *,
        connections: Connections,
        errors: ConnectionErrors,
        sweep: Sweep,
        lane: FastLane | None,
        header_timeout: float,
        drain_limit: int,
        peer_info: PeerInfo | None = None,
        **options: Any,  # noqa: ANN401 - aiohttp's own
    ) -> None:
        """Take the parts.

        sweep: keeps the deadlines of the connection.
        lane: takes whole requests; None for aiohttp alone.
        header_timeout: seconds for a head, and for the sender to read an answer.
        drain_limit: bytes that are drained of bodies whose requests have been answered.
        peer_info: the peer by a PROXY header; None for the socket's.
        """
        super().__init__(server, **options)
        self.peer_info = peer_info
        self._connections = connections
        self._errors = errors
        self._sweep = sweep
        self._lane = lane
        # Open: nothing is under way by our own counts, what comes next begins a request.
        self._lane_open = False
        self._in_lane: LaneRequest | None = None
        self._held = b""
        self._stopping = False
        self._header_timeout = header_timeout
        self._drain_limit = drain_limit
        self._framing = Framing()
        # What the sweep looks at: `due` is the earliest of the others.
        self.due = self._head_due = self._write_due = self._body_due = self._lane_due = NEVER
        self._body_late = _BODY_LATE
        self._counted = False
        # A delivery over this connection was not refused.
        self.earned = False
        # aiohttp forgets the transport once it closes it, and TLS may take its time for that.
        self._wire: asyncio.Transport | None = None
        self._early_data = b""
        self._answered = 0
        self._eof = self._rejecting = self._rejected = self._draining = False
        self._body: StreamReader | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self.peer_info is None:
            self.peer_info = peer_info_of(transport)
        self.peer = self.peer_info.address
        super().connection_made(transport)
        transport.max_size = READ_SIZE  # type: ignore[attr-defined] # not documented
        # So that an answer counts as given when the system has taken all of it. Not 0: asyncio's
        # TLS takes an empty buffer for a full one then, at every other look.
        self._wire = cast("asyncio.Transport", transport)
        self._wire.set_write_buffer_limits(high=1)
        self._counted = True
        self._sweep.add(self)
        if self._connections.add(self.peer, self):
            self._start_header_deadline()
            self._lane_open = self._lane is not None
        else:
            self._refuse_connection(Refusal(Reason.TOO_MANY_CONNECTIONS))
        if self._early_data:
            early, self._early_data = self._early_data, b""
            self.data_received(early)
            self._close_if_over()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._sweep.remove(self)
        self._fail_body(Refusal(Reason.BODY_MALFORMED, "the connection ended inside the body"))
        # It knows this connection, and would keep it until garbage is collected.
        self._body = None
        self._held = b""
        self._wire = None
        self._uncount()
        super().connection_lost(exc)

    def _uncount(self) -> None:
        """Stop counting the connection. Idempotent."""
        if self._counted:
            self._counted = False
            self._connections.remove(self.peer, self)

    def data_received(self, data: bytes) -> None:
        waiter = self._waiter
        if (
            self._lane_open
            # aiohttp waits for a message: after an answer that closes it ends the connection, an
            # iteration later. And the answers so far have been taken.
            and waiter is not None
            and not (waiter.done() or self._messages or self._paused)
            and not (self._close or self._force_close)
        ):
            if self._lane.take(self, data):  # type: ignore[union-attr] # it is open
                return
        elif self._in_lane is not None:
            # Its sender is held up when it sends much more before it has the answer.
            self._held += data
            if len(self._held) > _MAX_HELD:
                self._pause_transport_reading()
            return
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
        """Keep the connection open while answers are owed to a sender that has half-closed it."""
        self._eof = True
        self._stop_header_deadline()
        self._reject_half_body()
        return self._answers_owed > 0 or bool(self._early_data)

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
        self._lane_open = self._lane is not None and self._is_idle and not self._draining
        self._update_due()
        return finished

    @property
    def _answers_owed(self) -> int:
        """Answers not yet written: one for each head, and one for a framing error."""
        count = self._framing.heads - self._answered
        if self._in_lane is not None:
            count += 1
        return count + 1 if self._rejecting else count

    def _receive(self, data: bytes) -> None:
        """Parse what the framing lets pass, and keep the deadlines and limits by what it found."""
        framing, heads = self._framing, self._framing.heads
        self._lane_open = self._lane_open and not data
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
        if self._rejected:
            return
        super().data_received(data)
        if self._messages:
            self._body = self._messages[-1][1]
            if self._framing.problem is not None:
                self._fail_body(self._framing.problem)
        if self._rejecting and self._request_count == self._framing.heads:
            # The parser holds no request back, of which there may have been many at once.
            self._rejected = True
            self._parser = RejectingParser(self._framing.problem)  # type: ignore[assignment, arg-type] # all that is asked of it
            super().data_received(b"")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_due = self._sweep.now() + self._header_timeout
        self._update_due()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._write_due = NEVER
        self._update_due()

    # ---- the fast lane ----------------------------------------------------------------------

    def enter_lane(self, request: LaneRequest, due: float) -> None:
        """Note that a request is under way in the fast lane; the lane expires it at `due`."""
        self._lane_open, self._in_lane = False, request
        self._head_due = NEVER
        self._lane_due = self.due = due

    def leave_lane(self, ack: Ack | None, *, keep: bool) -> None:
        """Write the answer of a request in the fast lane, and go on with what came meanwhile."""
        self._in_lane = None
        self._lane_due = self._head_due = NEVER
        if self.transport is None:
            return
        assert self._lane is not None  # noqa: S101 - the request was in it
        keep = keep and ack is not None and not self._stopping
        if keep and self._eof:
            keep = begins_request(self._held)
        self.due = self._sweep.idle_due
        if ack is not None:
            self.transport.write(self._lane.rendered.render(ack, keep=keep))
        if not keep:
            self.force_close()
            return
        self._lane_open = True
        if self._held:
            self._resume_held()

    def _resume_held(self) -> None:
        held, self._held = self._held, b""
        self._resume_transport_reading()
        self.data_received(held)
        self._close_if_over()

    def _close_if_over(self) -> None:
        """Close if the sender has ended its side and is owed nothing."""
        if self._eof:
            self._reject_half_body()
            if not self._answers_owed:
                self.force_close()

    def close(self) -> None:
        """Close when the answers under way are written, as aiohttp does."""
        if self._in_lane is not None:
            self._stopping = True
        else:
            super().close()

    # ---- strangers --------------------------------------------------------------------------

    def may_stay(self) -> bool:
        """Return whether the connection is kept after a refusal or a health check.

        A stranger's is not, unless a delivery over it was not refused.
        """
        return self.earned or self._connections.knows(self.peer)

    @property
    def idle_since(self) -> float:
        if self.transport is None:
            # It is being closed, which is up to its peer.
            return -NEVER
        if self._framing.in_body or self._answers_owed or self._draining or self._paused:
            return NEVER
        if self._head_due != NEVER:
            return self._head_due - self._header_timeout
        return self.due - self._sweep.keepalive

    def give_way(self) -> None:
        """Close at once and without an answer (`Evictable`)."""
        self._uncount()
        if self._wire is not None:
            # Not in order: TLS would wait for its peer.
            self._wire.abort()

    # ---- deadlines --------------------------------------------------------------------------

    def now(self) -> float:
        """Return the monotonic time that deadlines of this connection are counted in."""
        return self._sweep.now()

    def set_body_deadline(self, due: float, late: Refusal) -> None:
        """Make the read of the body raise `late` unless this is called again before `due`."""
        self._body_due, self._body_late = due, late
        self._update_due()

    def expire(self, now: float) -> None:
        """Act on deadlines that have passed: for a head, a body, an answer, or being idle."""
        if self._write_due <= now:
            self._write_late()
        elif self._body_due <= now:
            self._body_due = NEVER
            self._fail_body(self._body_late)
        elif self._lane_due <= now:
            self._lane_due = NEVER
            self._lane.expire(self._in_lane)  # type: ignore[union-attr, arg-type] # there are both
        elif self._head_due <= now:
            self._headers_late(now)
        elif self._is_idle:
            self.force_close()
        self._update_due()

    @property
    def _is_idle(self) -> bool:
        framing = self._framing
        begun = framing.in_head or framing.in_body or framing.problem is not None
        return not (begun or self._answers_owed)

    def _update_due(self) -> None:
        """Set `due` by the deadlines there are; a connection that has none may be idle."""
        self.due = min(self._head_due, self._write_due, self._body_due, self._lane_due)
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
        self._write_due = NEVER
        refusal = Refusal(Reason.BODY_TIMEOUT, "the answer was not taken in time")
        self._errors.refuse(self.peer, refusal)
        if self._wire is not None:
            self._wire.abort()

    # ---- refusing ---------------------------------------------------------------------------

    def _reject_half_body(self) -> None:
        """Refuse a body that the sender's end of the stream has cut off."""
        if self._framing.in_body and self._framing.problem is None:
            ended = Refusal(Reason.BODY_MALFORMED, "the sender ended inside the body")
            self._framing.stop(ended)
            self._reject(ended)

    def _reject(self, problem: Refusal) -> None:
        """Answer a framing error; nothing is read from this connection any more."""
        if self._framing.in_body:
            self._lingering_time = 0.0
            self._fail_body(problem)
        else:
            self._rejecting = True
            self._parse(b"")

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
