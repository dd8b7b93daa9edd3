from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from relay.app import builder, standalone
from relay.core.clock import SystemClock
from relay.ingest.reconcile import ReconcileResult, Result
from relay.spool.sqlite import open_spool
from tests.config.files import GOOD, VIPPS, good
from tests.harness.statusapi import NOT_FOUND, StatusApi, says


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ("production", "https://api.midtrans.com/v2"),
        ("sandbox", "https://api.sandbox.midtrans.com/v2"),
    ],
)
async def test_the_api_is_the_one_of_the_environment(environment: str, url: str) -> None:
    text = GOOD.replace("environment: production", f"environment: {environment}")
    async with AsyncExitStack() as stack:
        client = builder.status_client(good(text).endpoints[0], SystemClock(), stack)
        assert client.base == url


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
        spool = await open_spool(tmp_path / "relay.db", SystemClock())
        stack.push_async_callback(spool.close)
        [endpoint] = good(GOOD + f'    confirm: {{url: "{api.url}"}}\n').endpoints
        reconciler = standalone.reconciler(endpoint, spool, SystemClock(), stack)
        assert await reconciler.reconcile("1") == ReconcileResult("1", Result.NOT_FOUND)
