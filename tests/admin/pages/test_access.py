"""Without a session the way leads to the login; forms need their token, and the right to act."""

import pytest

from relay.admin.pages.access import local_path
from tests.admin.pages.browsing import HTML, page, sign_in
from tests.admin.test_server import Bench, bench

__all__ = ["bench"]


async def test_a_page_without_a_session_leads_to_the_login(bench: Bench) -> None:
    for path in ("/", "/events", "/events/evt_1"):
        assert (await bench.get(path, headers=HTML))[0] == 303


async def test_htmx_is_told_that_the_whole_page_goes_there(bench: Bench) -> None:
    current = f"{bench.client._base_url}/events?status=dead"
    headers = {"HX-Request": "true", "HX-Current-URL": current}
    async with bench.client.get("/events", headers=headers, allow_redirects=False) as answer:
        assert answer.status == 401
        assert answer.headers["HX-Redirect"] == "/login?next=%2Fevents%3Fstatus%3Ddead"


@pytest.mark.parametrize("text", ["/", "/events", "/events?find=a%20b&status=dead", "/a//b"])
def test_a_local_path_stays(text: str) -> None:
    assert local_path(text) == text


async def test_a_page_of_a_session_follows_what_happens(bench: Bench) -> None:
    assert "data-stream" not in await page(bench, "/login")
    await sign_in(bench)
    assert 'data-stream="/api/v1/stream"' in await page(bench, "/events")
    # Its cookie is enough for the stream itself.
    async with bench.client.get("/api/v1/stream") as stream:
        assert (stream.status, stream.content_type) == (200, "text/event-stream")
        assert stream.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert stream.headers["Cache-Control"] == "no-store"
