"""Commands work on what is configured and was last known, without a running relay."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from relay.allowlist import Mode
from relay.app import standalone
from relay.app.spools import open_spool
from relay.config import load
from relay.core.clock import SystemClock
from relay.core.errors import RelayError
from relay.ingest.reconcile import ReconcileResult, Result
from relay.spool.sqlite import open_spool as open_sqlite
from tests.cli.conftest import CONFIGURATION
from tests.config.files import GOOD, VIPPS, good
from tests.harness.deliveries import MIDTRANS
from tests.harness.upstream import NOT_FOUND, StatusApi, says

ENVIRON = {"MIDTRANS_SERVER_KEY": "SB-Mid-server-x", "VIPPS_SECRET": "a-secret"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "relay.yaml"
    path.write_text(CONFIGURATION)
    return path


async def test_a_visitor_needs_to_know_what_dns_said(config: Path) -> None:
    settings = load(config, ENVIRON)
    spool = await open_spool(settings)
    assert await standalone.releaser(settings, spool).release("ref_9") is None
    (config.parent / "dns.json").write_text("{")
    with pytest.raises(RelayError, match=r"dns\.json"):
        standalone.releaser(settings, spool)
    await spool.close()


def test_allowlists_are_known_without_running(config: Path) -> None:
    known = standalone.known_allowlists(load(config, ENVIRON))
    assert known["midtrans"][0] is Mode.ENFORCE
    assert f"{MIDTRANS}/32" in {str(each.network) for each in known["midtrans"][1].entries()}


def test_a_broken_state_file_is_said_and_not_guessed_around(config: Path) -> None:
    (config.parent / "dns.json").write_text("{")
    with pytest.raises(RelayError, match=r"dns\.json"):
        standalone.known_allowlists(load(config, ENVIRON))


def test_who_cannot_be_reconciled() -> None:
    midtrans, vipps = good(GOOD + VIPPS).endpoints
    assert standalone.unanswerable(midtrans) is None
    assert standalone.unanswerable(vipps) == "vipps cannot be asked for a status"
    [proxied] = good(GOOD + "    mode: proxy\n").endpoints
    assert "mode: proxy" in str(standalone.unanswerable(proxied))
    unsigned = GOOD.replace('["${env:KEY}"]', "[]") + "    unsigned: accept\n"
    assert "no secrets" in str(standalone.unanswerable(good(unsigned).endpoints[0]))


async def test_a_reconciler_asks_where_the_endpoint_does(tmp_path: Path) -> None:
    async with StatusApi(says(NOT_FOUND)) as api, AsyncExitStack() as stack:
        spool = await open_sqlite(tmp_path / "relay.db", SystemClock())
        stack.push_async_callback(spool.close)
        [endpoint] = good(GOOD + f'    confirm: {{url: "{api.url}"}}\n').endpoints
        reconciler = standalone.reconciler(endpoint, spool, SystemClock(), stack)
        assert await reconciler.reconcile("1") == ReconcileResult("1", Result.NOT_FOUND)
