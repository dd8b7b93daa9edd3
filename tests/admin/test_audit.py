"""An act that was done is told, also where the spool cannot keep it."""

import io
from pathlib import Path

import orjson

from relay.admin.audit import AuditTrail
from relay.spool.audit import Act, Actor
from relay.spool.sqlite import open_spool
from relay.telemetry import Telemetry
from relay.telemetry.log import Log, LogWriter
from tests.harness.clock import ManualClock


async def test_an_act_is_kept_and_told_and_a_closed_spool_stops_nothing(tmp_path: Path) -> None:
    clock, stream = ManualClock(), io.BytesIO()
    writer = LogWriter(stream)
    spool = await open_spool(tmp_path / "relay.db", clock)
    trail = AuditTrail(spool, Telemetry(Log(writer, clock)), clock)
    await trail.record("requeue", Actor.TOKEN, "192.0.2.1", events=["evt_1"])
    expected = Act(clock.now(), Actor.TOKEN, "192.0.2.1", "requeue", {"events": ["evt_1"]})
    assert await spool.audit.newest(10) == (expected,)
    await spool.close()
    await trail.record("login", Actor.READ_TOKEN, "192.0.2.2")
    writer.close()
    lines = [orjson.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["event"], line["act"], line["level"]) for line in lines] == [
        ("audit", "requeue", "info"),
        ("audit", "login", "info"),
        ("audit_lost", "login", "error"),
    ]
