"""What keeps refusals is bound as the configuration says."""

import io
from pathlib import Path

import pytest

from relay.app import standalone
from relay.app.spools import open_spool
from relay.config import load
from relay.core.clock import SystemClock
from relay.core.errors import Reason, Refusal, RelayError
from relay.core.ids import refusal_ids
from relay.ingest.refusals import RefusalRecorder
from relay.spool.refusals import RefusalLimits, RefusalQuery
from relay.telemetry import Telemetry
from relay.telemetry.log import Log, LogWriter
from tests.cli.conftest import CONFIGURATION
from tests.harness.deliveries import verified
from tests.ingest.endpoints import endpoint

ENVIRON = {"MIDTRANS_SERVER_KEY": "SB-Mid-server-x", "VIPPS_SECRET": "a-secret"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "relay.yaml"
    path.write_text(CONFIGURATION)
    return path


async def test_a_kept_refusal_has_an_id_of_its_own_kind(config: Path) -> None:
    writer = LogWriter(io.BytesIO())
    spool = await open_spool(load(config, ENVIRON))
    clock = SystemClock()
    recorder = RefusalRecorder(
        spool.refusals,
        clock=clock,
        telemetry=Telemetry(Log(writer, clock)),
        new_id=refusal_ids(),
        bounds=RefusalLimits(),
    )
    recorder.note(endpoint(), verified().delivery, Refusal(Reason.BODY_MALFORMED))
    await recorder.flush()
    (kept,) = (await spool.refusals.page(RefusalQuery())).kept
    assert kept.refused.id.startswith("ref_")
    assert len(kept.refused.id) == len("ref_") + 32
    await spool.close()
    writer.close()


async def test_a_visitor_needs_to_know_what_dns_said(config: Path) -> None:
    settings = load(config, ENVIRON)
    spool = await open_spool(settings)
    assert await standalone.releaser(settings, spool).release("ref_9") is None
    (config.parent / "dns.json").write_text("{")
    with pytest.raises(RelayError, match=r"dns\.json"):
        standalone.releaser(settings, spool)
    await spool.close()
