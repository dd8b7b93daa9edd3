"""The events page shows history a page at a time, and one event whole."""

import io
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from relay.admin.audit import AuditTrail
from relay.admin.auth import Authenticator
from relay.admin.pages import Pages
from relay.core.clock import SystemClock
from relay.core.secret import Secret
from relay.spool.sqlite import SqliteSpool, open_spool
from relay.telemetry import Telemetry
from relay.telemetry.log import Log, LogWriter
from tests.harness.deliveries import verified

BEARER = {"Authorization": "Bearer the-token"}
Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[SqliteSpool]:
    spool = await open_spool(tmp_path / "relay.db", SystemClock())
    yield spool
    await spool.close()


@pytest.fixture
async def client(spool: SqliteSpool) -> AsyncIterator[Client]:
    application = web.Application()
    clock = SystemClock()
    trail = AuditTrail(spool, Telemetry(Log(LogWriter(io.BytesIO()), clock)), clock)
    pages = Pages(spool, Authenticator(Secret("the-token"), clock), trail)
    application.add_routes(pages.routes())
    async with TestClient(TestServer(application), headers=BEARER) as client:
        yield client


async def text(client: Client, path: str) -> str:
    async with client.get(path) as response:
        assert response.status == 200
        return await response.text()


async def test_older_events_are_behind_a_link(client: Client, spool: SqliteSpool) -> None:
    for number in range(101):
        await spool.put(verified(key=f"key-{number}", body=b"%d" % number))
    first = await text(client, "/")
    assert "key-100<" in first
    assert "key-0<" not in first
    link = first.partition('<a href="/?')[2].partition('"')[0]
    assert "key-0<" in await text(client, "/?" + link.replace("&amp;", "&"))


async def test_filters_stay_in_the_form(client: Client, spool: SqliteSpool) -> None:
    await spool.put(verified(key="wanted"))
    await spool.put(verified(key="other"))
    page = await text(client, "/?status=pending&key=wanted")
    assert '<td class="key">wanted</td>' in page
    assert '<td class="key">other</td>' not in page
    assert 'value="pending" selected' in page
    assert "No events match" in await text(client, "/?status=dead")


async def test_one_event_is_shown_with_its_body(client: Client, spool: SqliteSpool) -> None:
    event = verified(body=b'{"a": "b"}')
    await spool.put(event)
    page = await text(client, f"/events/{event.event_id}")
    assert "{&#34;a&#34;: &#34;b&#34;}" in page
    async with client.get("/events/none") as response:
        assert response.status == 404


async def test_a_damaged_event_is_shown_as_such_and_not_as_removed(
    client: Client, spool: SqliteSpool, tmp_path: Path
) -> None:
    event = verified()
    await spool.put(event)
    with closing(apsw.Connection(str(tmp_path / "relay.db"))) as file:
        file.execute("UPDATE events SET body = x'00'")
    page = await text(client, f"/events/{event.event_id}")
    assert "next copy replaces it" in page
    assert "has been removed" not in page
    with closing(apsw.Connection(str(tmp_path / "relay.db"))) as file:
        file.execute("UPDATE events SET body = NULL")
        file.execute("UPDATE settled SET outcome = 'rejected 500'")
    page = await text(client, f"/events/{event.event_id}")
    assert "has been removed" in page
    assert "next copy replaces it" not in page
