"""An upstream of changing moods, and senders that never give up: a day in fast motion.

Both are bare protocols: a day is hundreds of thousands of exchanges.
"""

import asyncio
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from random import Random
from types import TracebackType
from typing import Final, Self

# ---- the upstream ---------------------------------------------------------------------------

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_ID: Final = re.compile(rb"\r\nwebhook-id: *([^\r]+)\r\n", re.IGNORECASE)
_ATTEMPT: Final = re.compile(rb"\r\nrelay-attempt: *(\d+)\r\n", re.IGNORECASE)

_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_SICK: Final = (
    b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 503 Later\r\nContent-Length: 4\r\n\r\nsick",
    b"HTTP/1.1 502 Oh\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
)


class Mood(Enum):
    """What the upstream does with a request."""

    WELL = "well"
    SICK = "sick"
    SLOW = "slow"
    ODD = "odd"
    DEAD = "dead"


#: How often it falls into each mood, and for how many seconds at most.
_MOODS: Final = {
    Mood.WELL: (6, 4.0),
    Mood.SICK: (1, 1.0),
    Mood.SLOW: (2, 1.5),
    Mood.ODD: (2, 1.5),
    Mood.DEAD: (1, 1.0),
}
_SLOWEST: Final = 0.2


@dataclass(slots=True)
class Told:
    """What the upstream knows of one event.

    attempts: the number of each request about it. delivered: the lives (the last word of the path)
    that were answered 200, in order. bodies: all that came under this id.
    """

    attempts: list[int] = field(default_factory=list)
    delivered: list[int] = field(default_factory=list)
    bodies: set[bytes] = field(default_factory=set)


class MoodyUpstream:
    """A server on a port of its own that fails, slows and dies at random while `swing` runs.

    told: by event id. arrived: the id of each request, in order. moods: requests by what was done
    with them.
    """

    def __init__(self, dice: Random) -> None:
        self.told: dict[str, Told] = {}
        self.arrived: list[str] = []
        self.moods: Counter[Mood] = Counter()
        self.mood = Mood.WELL
        self.connections: set[_Connection] = set()
        self.dice = dice
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._die()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def swing(self, pace: float) -> None:
        """Change the mood until cancelled, so many times as fast; it is well afterwards."""
        moods = [mood for mood, (often, _) in _MOODS.items() for _ in range(often)]
        try:
            for turn in count():
                if turn % len(moods) == 0:
                    self.dice.shuffle(moods)
                self.mood = moods[turn % len(moods)]
                _, most = _MOODS[self.mood]
                if self.mood is Mood.DEAD:
                    self._die()
                await asyncio.sleep(self.dice.uniform(0.05, most) / pace)
                if self._server is None:
                    await self._listen()
        finally:
            self.mood = Mood.WELL
            if self._server is None:
                await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self), "127.0.0.1", self.port
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def _die(self) -> None:
        """Close the port and every connection; what is unanswered never is."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in tuple(self.connections):
            connection.die()


class _Connection(asyncio.Protocol):
    """One connection of relay's: one request at a time."""

    def __init__(self, upstream: MoodyUpstream) -> None:
        self._upstream = upstream
        self._held = b""
        self._later: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._upstream.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._upstream.connections.discard(self)
        if self._later is not None:
            self._later.cancel()

    def data_received(self, data: bytes) -> None:
        self._held += data
        head, end, rest = self._held.partition(b"\r\n\r\n")
        if end and (length := _LENGTH.search(head + b"\r\n")) and len(rest) >= int(length[1]):
            self._held = b""
            self._treat(head + b"\r\n", rest)

    def die(self) -> None:
        # An answer that was given is read to the end: a reset comes only where one is owed.
        if self._later is None:
            self._transport.close()
        else:
            self._transport.abort()

    def _treat(self, head: bytes, body: bytes) -> None:
        upstream, dice = self._upstream, self._upstream.dice
        name, attempt = _ID.search(head), _ATTEMPT.search(head)
        assert name is not None
        assert attempt is not None
        event_id = name[1].decode()
        told = upstream.told.setdefault(event_id, Told())
        upstream.arrived.append(event_id)
        told.attempts.append(int(attempt[1]))
        told.bodies.add(body)
        life = int(head.split(b" ", 2)[1].rpartition(b"/")[2])
        upstream.moods[upstream.mood] += 1
        mood = upstream.mood
        if mood is Mood.ODD:
            mood = dice.choice((Mood.WELL, Mood.SICK, Mood.SLOW, Mood.DEAD))
        match mood:
            case Mood.WELL:
                self._deliver(told, life)
            case Mood.SICK:
                self._transport.write(dice.choice(_SICK))
            case Mood.DEAD:
                self._transport.abort()
            case _:
                self._later = asyncio.get_running_loop().call_later(
                    dice.uniform(0, _SLOWEST), self._deliver, told, life
                )

    def _deliver(self, told: Told, life: int) -> None:
        self._later = None
        told.delivered.append(life)
        self._transport.write(_OK)


# ---- the senders ----------------------------------------------------------------------------


class Senders:
    """Bring every message until it is acknowledged, over connections that are kept.

    messages: numbers of what is to be brought. request: makes one of them. A connection has up to
    `depth` requests under way; when it breaks, what was not answered comes again.
    """

    def __init__(self, messages: Iterator[int], request: Callable[[int], bytes]) -> None:
        self.acknowledged = 0
        self.statuses: Counter[int] = Counter()
        self.came_again = 0
        self._messages = messages
        self._request = request
        self._address = ("", 0)
        self._serving = asyncio.Event()

    def serve(self, address: tuple[str, int] | None) -> None:
        """Send there from now on; None: nobody listens."""
        if address is None:
            self._serving.clear()
        else:
            self._address = address
            self._serving.set()

    async def run(self, depth: int) -> None:
        """Send over one connection after the other until all is acknowledged."""
        left: deque[int] = deque()
        while left or self._take(left):
            await self._serving.wait()
            line = _Line(self, left, depth)
            with suppress(OSError):
                await asyncio.get_running_loop().create_connection(line.itself, *self._address)
                await line.over
            self.came_again += len(line.owed)
            left.extendleft(reversed(line.owed))

    def next(self, left: deque[int]) -> tuple[int, bytes] | None:
        """Return the next message, and the request that brings it."""
        if not left and not self._take(left):
            return None
        number = left.popleft()
        return number, self._request(number)

    def _take(self, left: deque[int]) -> bool:
        for number in self._messages:
            left.append(number)
            return True
        return False


class _Line(asyncio.Protocol):
    """One connection. `over` is done when it has ended; `owed` is what was not answered 200."""

    def __init__(self, senders: Senders, left: deque[int], depth: int) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.owed: deque[int] = deque()
        self._senders = senders
        self._left = left
        self._depth = depth
        self._held = b""

    def itself(self) -> Self:
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._fill()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._held += data
        while True:
            head, end, rest = self._held.partition(b"\r\n\r\n")
            if not end:
                break
            length = _LENGTH.search(head + b"\r\n")
            size = int(length[1]) if length else 0
            if len(rest) < size:
                break
            self._held = rest[size:]
            self._answered(int(head.split(b" ", 2)[1]))
        self._fill()

    def _answered(self, status: int) -> None:
        self._senders.statuses[status] += 1
        number = self.owed.popleft()
        if status == 200:
            self._senders.acknowledged += 1
        else:
            self._left.append(number)

    def _fill(self) -> None:
        """Send until so many are under way; a pipeline is one write."""
        if self._transport.is_closing() or len(self.owed) > self._depth // 2:
            return
        raw = []
        while len(self.owed) < self._depth and (found := self._senders.next(self._left)):
            self.owed.append(found[0])
            raw.append(found[1])
        if raw:
            self._transport.write(b"".join(raw))
        elif not self.owed:
            self._transport.close()
