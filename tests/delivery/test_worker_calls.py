"""How many function calls one delivery takes on its way out: a bound that no clock disturbs."""

import asyncio
import cProfile
import gc
import math
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import cast

import pytest

from relay.core.clock import SystemClock
from relay.core.errors import SpoolUnavailable
from relay.core.event import (
    AttemptRecord,
    Delivered,
    Lease,
    ProxiedDelivery,
    ProxyResponse,
    event_of,
)
from relay.core.request import Ack
from relay.core.secret import Secret
from relay.delivery.attempt import Upstream
from relay.delivery.credentials import Credentials
from relay.delivery.http.connection import Connection
from relay.delivery.oauth2 import Token
from relay.delivery.proxy import ProxiedHistory, ProxyForwarder, ProxyUpstream
from relay.delivery.retry import RetryPolicy
from relay.delivery.sender import HttpSender
from relay.delivery.worker import StartLimiter, UpstreamWorker
from relay.spool import ProxiedRow, Settlement, Spool
from relay.telemetry import Telemetry
from relay.telemetry.log import Line, Log, LogWriter
from tests.harness.deliveries import lease_of, verified
from tests.harness.spying_spool import RecordingObserver

#: Calls of Python functions and of built-in ones, at most, from the hand-over of an event to the
#: report of its attempt. Reading sockets and writing the spool is not among them.
MAX_PYTHON, MAX_BUILTIN = 36, 40

#: The same from a delivery in proxy mode to the answer for its sender.
MAX_PYTHON_PROXIED, MAX_BUILTIN_PROXIED = 27, 31

TOGETHER = 64
TIMEOUT = timedelta(seconds=10)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Wire:
    """A transport that takes everything and says nothing."""

    def __init__(self, stack: ExitStack) -> None:
        self._ends = [stack.enter_context(end) for end in socket.socketpair()]
        self.written: list[bytes] = []

    def get_extra_info(self, _: str) -> socket.socket:
        return self._ends[0]

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def set_write_buffer_limits(self, high: int) -> None:
        """There is no buffer."""

    def close(self) -> None:
        """There is nothing to close."""


class Bench:
    """A worker whose sender has idle connections, and whose spool settles at once."""

    def __init__(self, sender: HttpSender, stack: ExitStack) -> None:
        self.observer = Counting()
        self.wires = [Wire(stack) for _ in range(TOGETHER)]
        self.sender, self.pool = sender, sender._pool
        self.connections = [self._idle_connection(wire) for wire in self.wires]
        policy = RetryPolicy((timedelta(seconds=5),), timedelta(hours=72))
        self._clock = SystemClock()
        self.worker = UpstreamWorker(
            cast("Spool", Settling()),
            Upstream("billing", sender, TIMEOUT, TOGETHER, policy),
            start_limiter=StartLimiter(TOGETHER),
            clock=self._clock,
            dice=Random(1),
            observer=self.observer,
        )
        self.worker._caught_up = True

    def _idle_connection(self, wire: Wire) -> Connection:
        connection = self.pool._new()
        connection.connection_made(cast("asyncio.Transport", wire))
        connection.is_idle, connection.idle_until = True, math.inf
        self.pool._idle[connection] = None
        return connection

    def leases(self) -> list[Lease]:
        until = self._clock.steady() + timedelta(minutes=1)
        events = [
            event_of(verified(event_id=f"evt_{number}", key=f"{number}:settlement:200"))
            for number in range(TOGETHER)
        ]
        return [replace(lease_of(event), attempt=1, until=until) for event in events]

    async def deliver(self, leases: Sequence[Lease]) -> None:
        """Hand over these events, and answer each request."""
        for lease in leases:
            assert self.worker.offer(lease)
        # Requests are sent at the end of an iteration.
        await asyncio.sleep(0)
        for connection in self.connections:
            connection.data_received(OK)
        await asyncio.sleep(0)


class Counting(RecordingObserver):
    """An observer that does nothing but keep records."""

    def attempted(self, attempted: AttemptRecord, at: datetime) -> None:
        self.attempts.append(attempted)


class Lines:
    """Takes the lines of a log."""

    def write(self, line: Line) -> None:
        """Drop it."""


class Settling:
    """What a worker needs of a spool here."""

    def settle_all(
        self,
        settlements: Sequence[Settlement],
        done: Callable[[Sequence[bool] | SpoolUnavailable], None],
    ) -> None:
        done([True] * len(settlements))

    def proxied_row(self, proxied: ProxiedDelivery) -> ProxiedRow:
        delivery = proxied.delivery
        return (delivery.delivery.endpoint, delivery.event_id, 1)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    sender = HttpSender(
        "http://127.0.0.1:9/", timeout=TIMEOUT, concurrency=TOGETHER, clock=SystemClock()
    )
    with ExitStack() as stack:
        yield Bench(sender, stack)
        await sender.close()


async def test_a_delivery_takes_few_calls(bench: Bench) -> None:
    await bench.deliver(bench.leases())
    leases = bench.leases()
    profile = cProfile.Profile()
    profile.enable()
    await bench.deliver(leases)
    profile.disable()
    python, builtin = calls(profile)
    assert len(bench.observer.delivered()) == 2 * TOGETHER
    assert [len(wire.written) for wire in bench.wires] == [2] * TOGETHER
    assert python / TOGETHER <= MAX_PYTHON
    assert builtin / TOGETHER <= MAX_BUILTIN


class GoodToken:
    """Passes as `relay.delivery.credentials.Tokens`; nothing ends here."""

    def __init__(self) -> None:
        self._token = Token.of("abc", SystemClock().steady().timestamp(), 3600)

    def good(self) -> Token:
        return self._token

    async def newer(self, within: float, than: Token | None = None) -> None:
        return None

    def may_renew(self, refused: Token) -> bool:
        return False

    def secrets(self) -> tuple[Secret, ...]:
        return ()


@pytest.mark.parametrize(
    ("credentials", "more_python", "more_builtin"),
    [
        # They are written once, when the upstream is made.
        (Credentials({"X-Api-Key": Secret("k")}, bearer=Secret("b")), 0, 0),
        (Credentials(tokens=GoodToken()), 5, 3),
    ],
    ids=["static", "oauth2"],
)
async def test_credentials_cost_few_calls(
    credentials: Credentials, more_python: int, more_builtin: int
) -> None:
    sender = HttpSender(
        "http://127.0.0.1:9/",
        timeout=TIMEOUT,
        concurrency=TOGETHER,
        clock=SystemClock(),
        credentials=credentials,
    )
    with ExitStack() as stack:
        bench = Bench(sender, stack)
        await bench.deliver(bench.leases())
        leases = bench.leases()
        profile = cProfile.Profile()
        profile.enable()
        await bench.deliver(leases)
        profile.disable()
        await sender.close()
    python, builtin = calls(profile)
    assert len(bench.observer.delivered()) == 2 * TOGETHER
    assert b"\r\nAuthorization: Bearer " in bench.wires[0].written[1]
    assert python / TOGETHER <= MAX_PYTHON + more_python
    assert builtin / TOGETHER <= MAX_BUILTIN + more_builtin


async def test_a_proxied_delivery_takes_few_calls(bench: Bench) -> None:
    telemetry = Telemetry(Log(cast("LogWriter", Lines()), SystemClock()))
    spool = cast("Spool", Settling())
    history = ProxiedHistory(spool, clock=SystemClock(), telemetry=telemetry)
    proxy_forwarder = ProxyForwarder(
        proxy_upstreams={"billing": ProxyUpstream(bench.sender, TOGETHER)},
        clock=SystemClock(),
        observer=telemetry,
        note=history.note,
    )
    answered: list[ProxyResponse] = []

    async def forward() -> None:
        for delivery in deliveries:
            proxy_forwarder.start(delivery, answered.append)
        await asyncio.sleep(0)
        for connection in bench.connections:
            connection.data_received(OK)

    deliveries = [verified() for _ in range(TOGETHER)]
    await forward()
    profile = cProfile.Profile()
    profile.enable()
    await forward()
    profile.disable()
    python, builtin = calls(profile)
    assert answered == [ProxyResponse(Delivered(200), Ack(200, b"{}", "application/json"))] * 128
    assert [len(wire.written) for wire in bench.wires] == [2] * TOGETHER
    assert python / TOGETHER <= MAX_PYTHON_PROXIED
    assert builtin / TOGETHER <= MAX_BUILTIN_PROXIED


def calls(profile: cProfile.Profile) -> tuple[int, int]:
    """Return how many calls of Python functions and of built-in ones were made."""
    python = builtin = 0
    for entry in profile.getstats():
        if isinstance(entry.code, str):
            builtin += entry.callcount
        else:
            python += entry.callcount
    return python, builtin


async def test_a_delivery_makes_no_task_and_no_timer(bench: Bench) -> None:
    await bench.deliver(bench.leases())
    tasks, timer = asyncio.all_tasks(), bench.pool._due_at
    await bench.deliver(bench.leases())
    assert asyncio.all_tasks() == tasks
    assert bench.pool._due_at is timer


async def test_a_delivery_leaves_no_cycles_behind(bench: Bench) -> None:
    await bench.deliver(bench.leases())
    leases = bench.leases()
    gc.collect()
    gc.disable()
    try:
        await bench.deliver(leases)
        assert gc.collect() == 0
    finally:
        gc.enable()
