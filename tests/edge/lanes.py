"""The same bytes over the fast lane and over aiohttp alone: what each answers, stores and logs."""

import asyncio
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha256
from ipaddress import ip_address
from typing import Any

import orjson

from relay.allowlist import Allowlist, Mode, StaticSource
from relay.core.clock import Clock
from relay.core.errors import SpoolUnavailable
from relay.core.request import Address, ForwardedHeader, VerifiedDelivery, Via
from relay.edge.connections import Connections, PeerInfo
from relay.edge.listener import Edge, EdgeServer
from relay.edge.protocol import EdgeProtocol
from relay.edge.slow_path import BodyReader
from relay.ingest.admission import Endpoint
from relay.ingest.client_address import ClientLocator, Clients
from relay.ingest.endpoint_paths import EndpointPaths
from relay.ingest.pipeline import Forward, Ingest
from relay.providers import EndpointOptions, Inspector
from relay.providers.builtin import provider_named
from relay.spool import Duplicate, PendingPut, PutResult, Stored
from relay.telemetry import Telemetry
from relay.telemetry.log import Log, LogWriter
from tests.harness.clock import ManualClock
from tests.harness.edge import SECRET, nothing_passes

PEER = ip_address("192.0.2.1")
MAX_BODY = 4096

#: Fields of log lines that depend on when, or by which functions, it came about.
_VARYING = {"time", "duration_ms", "exception"}


class End(asyncio.Transport):
    """The other end of a connection: keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False
        self.protocol: EdgeProtocol | None = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Do nothing: everything is taken at once."""

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        """Do nothing: the test goes on sending."""

    resume_reading = pause_reading

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            assert self.protocol is not None
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close


class _Pending:
    def withdraw(self) -> None:
        """Do nothing: what is stored late is stored."""


class HeldSpool:
    """Takes what is put, and is told when to answer."""

    def __init__(self) -> None:
        self.held: list[Callable[[PutResult | SpoolUnavailable], None]] = []
        self.withdrawn = 0

    def put_nowait(
        self, event: VerifiedDelivery, done: Callable[[PutResult | SpoolUnavailable], None]
    ) -> PendingPut:
        self.held.append(done)
        return self

    def withdraw(self) -> None:
        self.withdrawn += 1


class InstantSpool(_Pending):
    """Has stored what is put when `put_nowait` returns."""

    def put_nowait(
        self, event: VerifiedDelivery, done: Callable[[PutResult | SpoolUnavailable], None]
    ) -> PendingPut:
        done(Stored(event.event_id))
        return self


@dataclass
class MemorySpool:
    """Stores in memory; how long that takes, and whether it fails, is in the body.

    fails: it does so now and then.
    """

    fails: bool
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    known: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def put_nowait(
        self, event: VerifiedDelivery, done: Callable[[PutResult | SpoolUnavailable], None]
    ) -> PendingPut:
        asyncio.get_running_loop().create_task(self._put(event, done))
        return _Pending()

    async def _put(
        self, event: VerifiedDelivery, done: Callable[[PutResult | SpoolUnavailable], None]
    ) -> None:
        try:
            done(await self.put(event))
        except SpoolUnavailable as error:
            done(error)

    async def put(self, event: VerifiedDelivery, within: float | None = None) -> PutResult:
        dice = sha256(event.delivery.body).digest()
        for _ in range(dice[0] % 5):
            await asyncio.sleep(0)
        if self.fails and dice[1] < 8:
            raise SpoolUnavailable("the disk is full")
        found, delivery = event.verification, event.delivery
        key = (delivery.endpoint, found.key)
        if self.known.setdefault(key, found.content) == found.content and key in self.seen():
            return Duplicate("evt_known")
        head = delivery.head
        row = (
            head.method,
            head.target,
            head.headers,
            head.received_at,
            delivery.client,
            found.content,
        )
        self.rows.append((key, *row, delivery.remainder, delivery.body, event.headers, found))
        return Stored(event.event_id)

    def seen(self) -> set[tuple[str, str]]:
        return {row[0] for row in self.rows}


@dataclass
class Outcome:
    """What came of one connection. closed: the relay has ended it before the sender did."""

    answers: bytes
    closed: bool
    rows: list[tuple[Any, ...]]
    lines: list[dict[str, Any]]


class Lane:
    """An edge without listeners, with the fast lane or without it."""

    def __init__(
        self,
        clock: Clock,
        *,
        fast_lane: bool = True,
        fails: bool = False,
        spool: HeldSpool | InstantSpool | None = None,
        forward: Forward = nothing_passes,
        writer: LogWriter | None = None,
    ) -> None:
        self._forward = forward
        self._clock = clock
        self._log = io.BytesIO()
        self._telemetry = Telemetry(Log(writer or _Direct(self._log), clock))
        self._locator = ClientLocator([], ForwardedHeader.X_FORWARDED_FOR)
        self._body = BodyReader(size=MAX_BODY, timeout=timedelta(seconds=5))
        self._memory = MemorySpool(fails)
        self._spool = spool or self._memory
        self._connections = Connections(
            total=10,
            per_address=10,
            shares_address=self._locator.trusts,
            now=clock.monotonic,
            is_sender=lambda address: endpoint().allowlist.match(address) is not None,
        )
        self._edge = Edge(
            ingest=self._ingest([endpoint()]),
            telemetry=self._telemetry,
            clock=clock,
            connections=self._connections,
            body=self._body,
            header_timeout=timedelta(seconds=5),
            trusts=self._locator.trusts,
            fast_lane=fast_lane,
        )
        self.taken = 0

    async def start(self) -> None:
        await self._edge.start([])

    async def stop(self, grace: timedelta = timedelta()) -> None:
        await self._edge.stop(grace)

    async def connect(self, peer: Address = PEER) -> tuple[EdgeProtocol, End]:
        """Open a connection; return both its ends."""
        server = self._edge._server
        assert isinstance(server, EdgeServer)
        end = End()
        end.protocol = protocol = server(PeerInfo(peer, Via.PEER))
        protocol.connection_made(end)
        await asyncio.sleep(0)
        return protocol, end

    async def pass_time(self, seconds: float) -> None:
        """Let so much time pass for everything here."""
        assert isinstance(self._clock, ManualClock)
        await self._clock.advance(seconds)
        await settle()

    def lines(self) -> list[dict[str, Any]]:
        """Return the log lines since the last `send`."""
        return _timeless([orjson.loads(line) for line in self._log.getvalue().splitlines()])

    def serve(self, endpoints: Sequence[Endpoint]) -> None:
        """Serve these endpoints from now on."""
        self._edge.reconfigure(
            ingest=self._ingest(endpoints), body=self._body, header_timeout=timedelta(seconds=5)
        )

    async def send(
        self, pieces: Iterable[tuple[bytes, int]], peer: Address = PEER, *, hurry: bool = False
    ) -> Outcome:
        """Send pieces over a new connection, each with so many iterations of the loop behind it.

        hurry: the end of the stream comes right behind them, and not after the answers.
        """
        self._memory.rows.clear()
        self._memory.known.clear()
        self._log.seek(0)
        self._log.truncate()
        protocol, end = await self.connect(peer)
        for piece, iterations in pieces:
            if end.closed:
                break
            protocol.data_received(piece)
            for _ in range(iterations):
                await asyncio.sleep(0)
        if not hurry:
            await settle()
        closed = end.closed
        if not end.closed and not protocol.eof_received():
            end.close()
        await settle()
        if not end.closed:
            # It drains what it did not want.
            end.close()
        await settle()
        assert len(self._connections) == 0
        return Outcome(_undated(end.written), closed, [*self._memory.rows], self.lines())

    def _ingest(self, endpoints: Sequence[Endpoint]) -> Ingest:
        return Ingest(
            paths=EndpointPaths(endpoints),
            clients=Clients(self._locator, 10),
            spool=self._spool,  # type: ignore[arg-type] # all that ingest asks of it
            forward=self._forward,
            telemetry=self._telemetry,
            clock=self._clock,
            new_id=lambda _: "evt_new",
            answer_within=timedelta(seconds=4),
            on_spool_broken=lambda _: None,
        )


class _Direct(LogWriter):
    """Writes each line at once, without a thread."""

    def __init__(self, stream: io.BytesIO) -> None:
        self._direct = stream

    def write(self, line: Any) -> None:
        self._direct.write(line[0](line).encode())


def endpoint(inspector: Inspector | None = None, **changes: Any) -> Endpoint:
    """Return a Midtrans endpoint at /hook that takes from 192.0.2.0/24, with these changes."""
    provider = provider_named("midtrans")
    usual = Endpoint(
        name="midtrans",
        path="/hook",
        methods=("POST",),
        shapes=(),
        provider="midtrans",
        environment="sandbox",
        upstreams=("billing",),
        inspector=inspector or provider.bind(EndpointOptions(secrets=(SECRET,))),
        headers=(),
        allowlist=Allowlist([StaticSource("midtrans", [("192.0.2.0/24", "test")])]),
        mode=Mode.ENFORCE,
        knock=None,
    )
    return replace(usual, **changes)


async def settle() -> None:
    """Let everything run that can run without another event."""
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined] # asyncio's own
    await asyncio.sleep(0)
    while ready:  # noqa: ASYNC110 - an iteration of the loop is what it waits for
        await asyncio.sleep(0)


def _undated(answers: bytes) -> bytes:
    return re.sub(rb"\r\nDate: [^\r]*", b"", answers)


def _timeless(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key not in _VARYING} for line in lines]
