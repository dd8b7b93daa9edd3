"""What is written behind the answers is written at the end, and runs until then."""

import io
from ipaddress import ip_address
from pathlib import Path

from relay.app.behind_answers import BehindAnswers
from relay.core.clock import SystemClock
from relay.core.request import ClientAddress, Headers, RequestHead, Via
from relay.ingest.endpoint_paths import EndpointPaths
from relay.spool.sqlite import open_spool
from relay.spool.strangers import StrangerQuery
from relay.telemetry import Telemetry
from relay.telemetry.log import Log, LogWriter
from tests.harness.deliveries import RECEIVED


async def test_what_waits_is_written_at_the_end(tmp_path: Path) -> None:
    clock, writer = SystemClock(), LogWriter(io.BytesIO())
    spool = await open_spool(tmp_path / "relay.db", clock)
    behind = BehindAnswers(
        spool,
        clock=clock,
        telemetry=Telemetry(Log(writer, clock)),
        paths=lambda: EndpointPaths([]),
        endpoints=list,
        secrets=list,
    )
    address = ip_address("192.0.2.1")
    head = RequestHead("POST", "/hook", Headers(), address, RECEIVED)
    behind.strangers.count("shop", head, ClientAddress(address, Via.PEER), fits=False)
    assert behind.strangers in behind.running
    await behind.flush()
    [found] = await spool.strangers.find(StrangerQuery())
    assert found.network == "192.0.2.1"
    await spool.close()
    writer.close()
