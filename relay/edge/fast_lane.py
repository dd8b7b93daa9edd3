"""The fast lane: a request that came whole is taken through the steps of ingest in one call.

It stands in front of aiohttp's connection and takes what arrives on an idle one as exactly one
plain request. It never refuses bytes: what it does not take goes to `Framing` and aiohttp,
unchanged. It does not wait either, but for the event to be stored or forwarded: where admission has
to knock, the other lane asks again.
"""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from relay.core.clock import Clock
from relay.core.errors import Refusal
from relay.core.request import Ack, RequestHead, VerifiedDelivery
from relay.edge.answers import ReadyAnswers
from relay.edge.connections import SWEEP_INTERVAL, ConnectionErrors, PeerInfo
from relay.edge.heads import HEALTH, Head, read_head
from relay.edge.slow_path import BodyReader
from relay.ingest.admission import Admission, Standing
from relay.ingest.pipeline import Ingest


class LaneConnection(Protocol):
    """What the fast lane asks of a connection."""

    @property
    def peer_info(self) -> PeerInfo | None: ...

    def enter_lane(self, request: "LaneRequest") -> None:
        """Note that a request is under way; bytes that come before its answer are held."""

    def set_lane_deadline(self, due: float) -> None:
        """Have `FastLane.expire` called with the request unless it has its answer by then."""

    def leave_lane(self, ack: Ack | None, *, keep: bool) -> None:
        """Write the answer, unless the connection is gone. None: there is none, and it closes.

        The deadline is over.

        keep: whether sender and relay want the connection kept.
        """


@dataclass(slots=True, eq=False)
class LaneRequest:
    """A request under way. task: what waits for a spool that must hurry."""

    ingest: Ingest
    connection: LaneConnection
    admission: Admission
    keep: bool
    task: asyncio.Task[None] | None = None


class FastLane:
    """Takes whole requests of all connections.

    stopping: every answer closes its connection.
    """

    def __init__(
        self, *, ingest: Ingest, body: BodyReader, clock: Clock, errors: ConnectionErrors
    ) -> None:
        self.answers = ReadyAnswers()
        self.stopping = False
        self._clock = clock
        self._errors = errors
        self._under_way: set[LaneRequest] = set()
        self._drained: asyncio.Future[None] | None = None
        self.reconfigure(ingest=ingest, body=body)

    def reconfigure(self, *, ingest: Ingest, body: BodyReader) -> None:
        """Use these from the next request on."""
        self._ingest = ingest
        self._body = body

    def take(self, connection: LaneConnection, data: bytes) -> bool:
        """Take these bytes if they are one plain request; else return False, and nothing is done.

        The answer is written before this returns, or once the event is stored or forwarded.
        """
        end = data.find(b"\r\n\r\n")
        head = None if end < 0 else read_head(data[:end])
        if head is None or head.length != len(data) - end - 4:
            return False
        if head.target == HEALTH:
            return False
        peer = connection.peer_info
        assert peer is not None  # noqa: S101 - bytes come over a connection that was made
        ingest = self._ingest
        admission = ingest.admit(
            RequestHead(
                head.method,
                head.target,
                head.headers,
                peer.address,
                self._clock.now(),
                peer.via,
                peer.forwards,
            )
        )
        if admission.standing is Standing.KNOCK_FIRST:
            # Nothing was counted for good: the other lane admits it again, and waits.
            ingest.finish(admission)
            return False
        request = LaneRequest(ingest, connection, admission, head.keep)
        connection.enter_lane(request)
        try:
            event = None
            if admission.ack is None:
                event = self._accept(request, head, data[end + 4 :])
        except Exception as error:  # noqa: BLE001 - the sender must be answered all the same
            self._end(request, error)
            return True
        if event is None:
            self._end(request, None)
        else:
            self._start(request, event)
        return True

    def expire(self, request: LaneRequest) -> None:
        """Answer a request whose event was not stored in time."""
        request.ingest.give_up(request.admission, partial(self._end, request))

    async def drain(self, seconds: float) -> None:
        """Return when no request is under way, at most after so many seconds; end the rest."""
        if self._under_way and seconds > 0:
            self._drained = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._drained], timeout=seconds)
        tasks = [request.task for request in self._under_way if request.task is not None]
        for request in [each for each in self._under_way if each.task is None]:
            request.ingest.cancel(request.admission)
            self._end(request, None)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _accept(self, request: LaneRequest, head: Head, body: bytes) -> VerifiedDelivery | None:
        try:
            self._body.check(encoded=head.encoded, length=head.length)
        except Refusal as refusal:
            request.ingest.refuse(request.admission, refusal)
            return None
        return request.ingest.accept(request.admission, body)

    def _start(self, request: LaneRequest, event: VerifiedDelivery) -> None:
        """Have the event stored or forwarded; the request is ended with its answer."""
        self._under_way.add(request)
        admission, ingest = request.admission, request.ingest
        seconds = ingest.store_time(admission, event)
        if seconds is None:
            ingest.forward(admission, event, partial(self._end, request))
            return
        if seconds < 2 * SWEEP_INTERVAL:
            # Less time than a sweep can keep.
            completing = self._complete(request, event)
            request.task = asyncio.get_running_loop().create_task(completing)
            return
        # A sweep comes late by its interval at most, and the answer may not.
        request.connection.set_lane_deadline(admission.read_at + seconds - SWEEP_INTERVAL)
        ingest.store(admission, event, partial(self._end, request))

    async def _complete(self, request: LaneRequest, event: VerifiedDelivery) -> None:
        try:
            await request.ingest.complete(request.admission, event)
        except asyncio.CancelledError:
            self._end(request, None)
            raise
        except Exception as error:  # noqa: BLE001 - as in `take`
            self._end(request, error)
        else:
            self._end(request, None)

    def _end(self, request: LaneRequest, error: Exception | None) -> None:
        """Count, log and answer a request; what went wrong in answering as a mistake of ours."""
        admission, keep = request.admission, request.keep and not self.stopping
        self._under_way.discard(request)
        if error is not None:
            admission.ack = None
        request.ingest.finish(admission)
        ack = admission.ack
        if error is not None:
            # As the other lane does: it closes.
            ack, keep = self._errors.fault(admission.head.peer, error), False
        request.connection.leave_lane(ack, keep=keep)
        if self._drained is not None and not self._under_way and not self._drained.done():
            self._drained.set_result(None)
