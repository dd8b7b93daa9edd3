import io
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from relay import asking
from relay.clock import SystemClock
from relay.logs import Log, LogWriter
from relay.model import Unconfirmed
from relay.reconcile.reconciler import Learnt, Result
from relay.spool.sqlite import open_spool
from relay.telemetry import Telemetry
from tests.config.files import GOOD, VIPPS, good
from tests.harness.leases import EVENT
from tests.harness.statusapi import NOT_FOUND, StatusApi, says

BODY = (
    b'{"order_id": "1", "status_code": "200", "gross_amount": "1.00", "transaction_status": "deny"}'
)


async def test_only_the_endpoint_that_says_so_is_asked_about() -> None:
    writer = LogWriter(io.BytesIO())
    telemetry = Telemetry(Log(writer, SystemClock()))
    async with StatusApi(says(NOT_FOUND)) as api, AsyncExitStack() as stack:
        settings = good(GOOD + f'    confirm: {{url: "{api.url}"}}\n' + VIPPS)
        confirmer = asking.confirmer(settings.endpoints, SystemClock(), telemetry, stack)
        event = replace(EVENT, body=BODY)
        assert await confirmer.confirm(event) == Unconfirmed("not found")
        assert await confirmer.confirm(replace(event, endpoint="vipps")) is None
        assert (confirmer.strict(event), len(api.asked)) == (True, 1)
    writer.close()


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
        client = asking.status_client(good(text).endpoints[0], SystemClock(), stack)
        assert client.base == url


def test_who_cannot_be_reconciled() -> None:
    midtrans, vipps = good(GOOD + VIPPS).endpoints
    assert asking.unanswerable(midtrans) is None
    assert asking.unanswerable(vipps) == "vipps cannot be asked for a status"
    [proxied] = good(GOOD + "    mode: proxy\n").endpoints
    assert "mode: proxy" in str(asking.unanswerable(proxied))
    unsigned = GOOD.replace('["${env:KEY}"]', "[]") + "    unsigned: accept\n"
    assert "no secrets" in str(asking.unanswerable(good(unsigned).endpoints[0]))


async def test_a_reconciler_asks_where_the_endpoint_does(tmp_path: Path) -> None:
    async with StatusApi(says(NOT_FOUND)) as api, AsyncExitStack() as stack:
        spool = await open_spool(tmp_path / "relay.db", SystemClock())
        stack.push_async_callback(spool.close)
        [endpoint] = good(GOOD + f'    confirm: {{url: "{api.url}"}}\n').endpoints
        reconciler = asking.reconciler(endpoint, spool, SystemClock(), stack)
        assert await reconciler.learn("1") == Learnt("1", Result.NOT_FOUND)
