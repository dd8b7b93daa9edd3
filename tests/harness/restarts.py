"""One relay after another on the same spool, and senders that keep on sending meanwhile."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from random import Random
from typing import Self

from tests.harness.spool_audit import SpoolAudit, audit_stopped
from tests.harness.traced_node import RELAY, WrappedNode
from tests.harness.upstream import Received
from tests.harness.wire import Reply, read_reply

# ---- lives ----------------------------------------------------------------------------------


class Life(WrappedNode):
    """A relay that is not waited for while it starts: it may be killed before it has.

    start: how many seconds it took until it served; None before.
    """

    start: float | None = None

    async def __aenter__(self) -> Self:
        await self.launch()
        await self.ready()
        return self

    async def launch(self) -> None:
        self._launched = asyncio.get_running_loop().time()
        await super().launch()

    async def ready(self) -> None:
        """Return when it serves."""
        started = await self.wait_for(event="started")
        self.start = asyncio.get_running_loop().time() - self._launched
        self.listens(started)


class Restarts:
    """Starts relays with the same spool. `number` is that of the last one, from 1.

    configuration: returns the text for the life of this number. What it appends to the path of an
    upstream tells which life a request came from (`life_of`).
    """

    def __init__(
        self, directory: Path, environ: dict[str, str], configuration: Callable[[int], str]
    ) -> None:
        self.number = 0
        self.config = directory / "relay.yaml"
        self.spool = directory / "relay.db"
        self.environ = environ
        self._configuration = configuration
        self._lives: list[Life] = []

    @property
    def longest_start(self) -> float:
        """Return the seconds that the slowest start took."""
        return max((life.start for life in self._lives if life.start), default=0.0)

    def next(self, *prefix: str, role: str = "all", program: Sequence[str] = RELAY) -> Life:
        """Return a relay that has not been started yet; `prefix` is a program around it."""
        self.number += 1
        self.config.write_text(self._configuration(self.number))
        life = Life(self.config, self.environ, role, prefix=prefix, program=program)
        self._lives.append(life)
        return life

    def left_behind(self) -> SpoolAudit:
        """Read what the last relay has left, while none runs."""
        return audit_stopped(self.spool)


def path_of(life: int) -> str:
    """Return the path that requests of this life go to."""
    return f"/lives/{life}"


def life_of(request: Received) -> int:
    """Return the number of the life that this request came from."""
    return int(request.target.rsplit("/", 1)[1])


# ---- load -----------------------------------------------------------------------------------

_NO_ANSWER = 0


class Kind(Enum):
    """What a sender sends next."""

    FRESH = "fresh"
    COPY = "copy"
    FORGED = "forged"


_MIX = (Kind.FRESH,) * 6 + (Kind.COPY,) * 2 + (Kind.FORGED,) * 2


@dataclass(frozen=True, slots=True)
class Messages:
    """How messages are made: bodies, and requests that carry them.

    fresh: returns a genuine body that was never sent before.
    forged: returns a body and the request that brings it; it must be refused.
    """

    fresh: Callable[[], bytes]
    forged: Callable[[Random], tuple[bytes, bytes]]
    request: Callable[[bytes], bytes]


class Load:
    """What was sent so far, and what came of it.

    genuine: the bodies that were sent, in order; more than once when a sender came again.
    acknowledged: those that were answered with 200.
    answers: how many there were of each kind and status; status 0 is a connection that closed.
    """

    def __init__(self, messages: Messages, dice: Random) -> None:
        self.genuine: list[bytes] = []
        self.acknowledged: set[bytes] = set()
        self.forged: set[bytes] = set()
        self.answers: Counter[tuple[Kind, int]] = Counter()
        self._messages = messages
        self._dice = dice

    async def run(self, address: tuple[str, int], senders: int = 6) -> None:
        """Send without a pause until the other side is gone.

        Raises:
            TimeoutError: in a group; a sender has neither got an answer nor a closed connection.
        """
        async with asyncio.TaskGroup() as group:
            for _ in range(senders):
                group.create_task(self._sender(address))

    async def come_again(self, address: tuple[str, int]) -> int:
        """Send what was never acknowledged, as a provider does; return how many those were.

        Raises:
            AssertionError: one is not acknowledged now.
        """
        left = [body for body in dict.fromkeys(self.genuine) if body not in self.acknowledged]
        reader, writer = await asyncio.open_connection(*address)
        try:
            for body in left:
                writer.write(self._messages.request(body))
                status = (await read_reply(reader)).status
                assert status == 200, f"a message that came again was answered {status}"
                self.acknowledged.add(body)
        finally:
            writer.close()
        return len(left)

    def check(self) -> None:
        """Raise AssertionError when an answer was of the wrong kind."""
        wrong = {
            (kind.value, status): number
            for (kind, status), number in self.answers.items()
            if status not in ({400, 401, 403, 0} if kind is Kind.FORGED else {200, 502, 0})
        }
        assert wrong == {}, f"answers that nobody should get: {wrong}"

    async def _sender(self, address: tuple[str, int]) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection(*address)
            except ConnectionError:
                return
            try:
                while await self._send_one(reader, writer):
                    pass
            finally:
                writer.close()

    async def _send_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Return whether the connection can be used again."""
        kind = self._dice.choice(_MIX)
        body, raw = self._next(kind)
        try:
            writer.write(raw)
            reply = await read_reply(reader)
        except (ConnectionError, asyncio.IncompleteReadError):
            reply = Reply(_NO_ANSWER, "", b"")
        self.answers[kind, reply.status] += 1
        if reply.status == 200:
            self.acknowledged.add(body)
        return reply.status != _NO_ANSWER and reply.value("Connection") != "close"

    def _next(self, kind: Kind) -> tuple[bytes, bytes]:
        if kind is Kind.FORGED:
            body, raw = self._messages.forged(self._dice)
            self.forged.add(body)
            return body, raw
        if kind is Kind.COPY and self.genuine:
            body = self._dice.choice(self.genuine[-50:])
        else:
            body = self._messages.fresh()
            self.genuine.append(body)
        return body, self._messages.request(body)
