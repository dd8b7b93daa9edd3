"""A public listener in the test's own process, in front of a real ingest with a real spool."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
from netaddr import IPNetwork

from relay.allowlist import Allowlist, Mode, StaticSource
from relay.core.clock import Clock, SystemClock
from relay.core.concurrency import Cancel
from relay.core.event import ProxyResponse
from relay.core.ids import event_ids
from relay.core.request import ForwardedHeader, VerifiedDelivery
from relay.core.secret import Secret
from relay.edge.connections import Connections
from relay.edge.listener import Edge, Listener
from relay.edge.slow_path import BodyReader
from relay.ingest.admission import Endpoint
from relay.ingest.client_address import ClientLocator, Clients
from relay.ingest.endpoint_paths import EndpointPaths
from relay.ingest.pipeline import Ingest
from relay.providers import EndpointOptions, Provider, SampleOrder
from relay.providers.builtin import provider_named
from relay.spool import Spool
from relay.spool.sqlite import open_spool
from relay.telemetry import Telemetry
from relay.telemetry.log import Log, LogWriter
from tests.harness.wire import request

_PROVIDER: Provider = provider_named("midtrans")
SECRET = Secret("SB-Mid-server-of-the-tests")


@dataclass
class RunningEdge:
    """`lines` are the log lines of what was answered so far."""

    edge: Edge
    address: tuple[str, int]
    spool: Spool
    connections: Connections
    _log: io.BytesIO
    _writer: LogWriter

    def lines(self) -> list[dict[str, Any]]:
        """Return the log; nothing is logged any more after this."""
        self._writer.close()
        return [orjson.loads(line) for line in self._log.getvalue().splitlines()]


def genuine() -> bytes:
    """Return a fresh signed body."""
    order = SampleOrder("https://relay.test/hook", SECRET, SystemClock().now())
    return _PROVIDER.sample(order).body


def genuine_request() -> bytes:
    """Return a fresh signed message as a whole request."""
    return request("POST", "/hook", [("Content-Type", "application/json")], genuine())


def nothing_passes(delivery: VerifiedDelivery, _: Callable[[ProxyResponse], None]) -> Cancel:
    """Stand where deliveries are passed on, and no endpoint is proxied."""
    raise AssertionError(f"{delivery.event_id} was passed on")


async def run_loop_until(condition: Callable[[], bool]) -> None:
    """Return when this holds; what is asked has no bell of its own."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a turn of the loop is what it waits for
            await asyncio.sleep(0)


@asynccontextmanager
async def running_edge(
    directory: Path,
    *,
    connections: int = 10,
    per_address: int = 10,
    seconds: float = 5.0,
    listener: Listener | None = None,
    trusted: Sequence[str] = (),
    mode: Mode = Mode.ENFORCE,
    clock: Clock | None = None,
) -> AsyncIterator[RunningEdge]:
    """Listen on a free port, or as told.

    seconds: time for headers, for a PROXY header, and for a body. trusted: the trusted proxies.
    """
    log = io.BytesIO()
    clock = clock or SystemClock()
    writer = LogWriter(log)
    telemetry = Telemetry(Log(writer, clock))
    spool = await open_spool(directory / "relay.db", clock)
    endpoint = Endpoint(
        name="midtrans",
        path="/hook",
        methods=("POST",),
        shapes=(),
        provider="midtrans",
        environment="sandbox",
        upstreams=("billing",),
        inspector=_PROVIDER.bind(EndpointOptions(secrets=(SECRET,))),
        headers=(),
        allowlist=Allowlist([StaticSource("midtrans", [("127.0.0.1", "test")])]),
        mode=mode,
        knock=None,
    )
    clients = ClientLocator(map(IPNetwork, trusted), ForwardedHeader.X_FORWARDED_FOR)
    counted = Connections(
        total=connections,
        per_address=per_address,
        shares_address=clients.trusts,
        now=clock.monotonic,
        is_sender=lambda address: endpoint.allowlist.match(address) is not None,
    )
    limit = timedelta(seconds=seconds)
    edge = Edge(
        ingest=Ingest(
            paths=EndpointPaths([endpoint]),
            clients=Clients(clients, per_address),
            spool=spool,
            forward=nothing_passes,
            telemetry=telemetry,
            clock=clock,
            new_id=event_ids(),
            answer_within=timedelta(seconds=4),
            on_spool_broken=lambda _: None,
        ),
        telemetry=telemetry,
        clock=clock,
        connections=counted,
        body=BodyReader(size=4096, timeout=limit),
        header_timeout=limit,
        trusts=clients.trusts,
        proxy_header_timeout=limit,
    )
    (address,) = await edge.start([listener or Listener("127.0.0.1", 0)])
    try:
        yield RunningEdge(edge, address, spool, counted, log, writer)
    finally:
        await edge.stop(timedelta(seconds=1))
        await spool.close()
        writer.close()
