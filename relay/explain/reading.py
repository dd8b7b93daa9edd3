"""Reading a captured request as the edge does: its very reader, on a connection of its own.

The connection is a pair of sockets within this process. Nothing else could agree with the edge on
every malformed request.
"""

import asyncio
import socket
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from aiohttp.web import BaseRequest, StreamResponse

from relay.answers import plain_answer
from relay.edge.body import BodyLimits
from relay.edge.connections import Connections
from relay.edge.origin import Origin
from relay.edge.protocol import EdgeServer
from relay.edge.request import headers_of
from relay.edge.response import to_response
from relay.errors import Refusal
from relay.explain.opening import NOBODY
from relay.model import Ack, Address, Headers, Ruling, Verdict

#: Nobody waits here: all is there at once, and behind it is the end.
_WITHIN: Final = timedelta(seconds=10)

_NOTHING: Final = plain_answer(Ruling(Verdict.UNAVAILABLE))


@dataclass(frozen=True, slots=True)
class Reading:
    """A request whose head could be read. `body` is None where `problem` says why."""

    method: str
    target: str
    headers: Headers
    body: bytes | None = field(repr=False)
    problem: Refusal | None = None


async def read(raw: bytes, *, most: int) -> Reading:
    """Return what the edge makes of these bytes, when they are all that comes.

    most: bytes of a body.

    Raises:
        Refusal: the head cannot be read; no endpoint ever sees the request.
    """
    loop = asyncio.get_running_loop()
    reader = _Reader(BodyLimits(size=most, within=_WITHIN), loop.create_future())
    server = EdgeServer(
        reader.handle,
        connections=Connections(total=1, per_address=1, shares_address=lambda _: False),
        complaints=reader,
        header_timeout=_WITHIN.total_seconds(),
        swallows=0,
        keepalive=0.0,
        linger=0.0,
    )
    sender, receiver = socket.socketpair()
    sender.setblocking(False)
    with sender:
        await loop.connect_accepted_socket(lambda: server(Origin(NOBODY)), receiver)
        sending = loop.create_task(_send(sender, raw, reader))
        try:
            found = await reader.found
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await server.shutdown(0)
    if isinstance(found, Refusal):
        raise found
    return found


async def _send(sender: socket.socket, raw: bytes, reader: "_Reader") -> None:
    await asyncio.get_running_loop().sock_sendall(sender, raw)
    # An end that comes before the head was taken would leave nothing to tell.
    await reader.begun.wait()
    sender.shutdown(socket.SHUT_WR)


class _Reader:
    """Stands where the edge has what it serves (`Complaints`), and keeps what it hears first."""

    def __init__(self, body: BodyLimits, found: asyncio.Future[Reading | Refusal]) -> None:
        self.begun = asyncio.Event()
        self.found = found
        self._body = body

    async def handle(self, request: BaseRequest) -> StreamResponse:
        self.begun.set()
        body, problem = None, None
        try:
            body = await self._body.read(request)
        except Refusal as refusal:
            problem = refusal
        told = Reading(request.method, request.raw_path, headers_of(request), body, problem)
        self._tell(told)
        return to_response(_NOTHING)

    def refuse(self, _: Address, refusal: Refusal) -> Ack:
        self._tell(refusal)
        return _NOTHING

    def fault(self, _: Address, error: BaseException | None) -> Ack:
        if not self.found.done():
            self.found.set_exception(error or RuntimeError("the edge failed, and does not say why"))
        return _NOTHING

    def _tell(self, found: Reading | Refusal) -> None:
        self.begun.set()
        if not self.found.done():
            self.found.set_result(found)
