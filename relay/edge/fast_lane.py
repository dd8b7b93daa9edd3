"""The fast lane: a request that came whole is taken through the steps of ingest in one call.

It stands in front of aiohttp's connection and takes what arrives on an idle one as exactly one
plain request. It never refuses bytes: what it does not take goes to `Framing` and aiohttp,
unchanged. It does not wait either, but for the event to be stored or forwarded: where admission has
to knock, the other lane asks again.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from relay.core.clock import Clock
from relay.core.errors import Refusal
from relay.core.request import Ack, RequestHead, VerifiedDelivery
from relay.edge.answers import ReadyAnswers
from relay.edge.connections import ConnectionErrors, PeerInfo
from relay.edge.heads import HEALTH, Head, read_head
from relay.edge.slow_path import BodyReader
from relay.ingest.admission import Admission, Standing
from relay.ingest.pipeline import Ingest


class LaneConnection(Protocol):
    """What the fast lane asks of a connection."""

    @property
    def peer_info(self) -> PeerInfo | None: ...

    def enter_lane(self) -> None:
        """A request is under way; bytes that come before its answer are held."""

    def leave_lane(self, ack: Ack | None, *, keep: bool) -> None:
        """Write the answer, unless the connection is gone. None: there is none, and it closes.

        keep: whether sender and relay want the connection kept.
        """


@dataclass(slots=True, eq=False)
class _Request:
    """A request under way."""

    ingest: Ingest
    connection: LaneConnection
    admission: Admission
    keep: bool


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
        self._under_way: set[asyncio.Task[None]] = set()
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
        connection.enter_lane()
        request = _Request(ingest, connection, admission, head.keep)
        try:
            event = None
            if admission.ack is None:
                event = self._accept(request, head, data[end + 4 :])
        except Exception as error:  # noqa: BLE001 - the sender must be answered all the same
            self._fail(request, error)
            return True
        if event is None:
            self._finish(request)
        else:
            task = asyncio.get_running_loop().create_task(self._complete(request, event))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return True

    async def drain(self, seconds: float) -> None:
        """Return when no request is under way, at most after so many seconds; cancel the rest."""
        if not self._under_way:
            return
        _, late = await asyncio.wait(self._under_way, timeout=seconds)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    def _accept(self, request: _Request, head: Head, body: bytes) -> VerifiedDelivery | None:
        try:
            self._body.check(encoded=head.encoded, length=head.length)
        except Refusal as refusal:
            request.ingest.refuse(request.admission, refusal)
            return None
        return request.ingest.accept(request.admission, body)

    async def _complete(self, request: _Request, event: VerifiedDelivery) -> None:
        """Wait for the event to be stored or forwarded, and answer."""
        try:
            await request.ingest.complete(request.admission, event)
        except Exception as error:  # noqa: BLE001 - as in `take`
            self._fail(request, error)
        except asyncio.CancelledError:
            self._finish(request)
            raise
        else:
            self._finish(request)

    def _fail(self, request: _Request, error: Exception) -> None:
        """Answer a mistake of ours, as the other lane does, and close."""
        admission = request.admission
        admission.ack = None
        request.ingest.finish(admission)
        ack = self._errors.fault(admission.head.peer, error)
        request.connection.leave_lane(ack, keep=False)

    def _finish(self, request: _Request) -> None:
        admission = request.admission
        request.ingest.finish(admission)
        request.connection.leave_lane(admission.ack, keep=request.keep and not self.stopping)
