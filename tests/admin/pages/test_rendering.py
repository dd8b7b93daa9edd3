"""No page holds script or style of its own, or what the policy would forbid."""

import re

from aiohttp.test_utils import make_mocked_request

from relay.admin.pages.rendering import Renderer
from relay.admin.pages.static_files import StaticFiles
from tests.admin.pages.browsing import page, sign_in
from tests.admin.test_server import Bench, bench
from tests.harness.deliveries import verified

__all__ = ["bench"]

#: Handlers, styles and scripts that stand in the page itself, and addresses elsewhere.
INLINE = re.compile(
    r"<[^>]*\s(on\w+|style)=|<style|<script(?! src=\"/static/)|javascript:|https?://"
)


async def test_no_page_needs_more_than_the_policy_allows(bench: Bench) -> None:
    event = verified()
    await bench.spool.put(event)
    pages = [await page(bench, "/login")]
    await sign_in(bench)
    paths = ("/events", "/events?status=dead", f"/events/{event.event_id}")
    pages += [await page(bench, path) for path in paths]
    pages.append(await page(bench, "/events/none", 404))
    for text in pages:
        assert INLINE.search(text) is None
        assert text.startswith("<!doctype html>")
        assert '<html lang="en">' in text
        assert text.count("<h1") == 1
        assert '<a class="skip" href="#main">' in text
    async with bench.client.get("/events") as answer:
        policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert answer.headers["Cache-Control"] == "no-store"


async def test_what_is_inserted_is_visible_and_escaped() -> None:
    request = make_mocked_request("GET", "/login?find=%22%3E%3Cb%3E")
    hostile = '"><b>\u202e\x9b'
    shown = Renderer(StaticFiles()).page(
        request, None, "login.html", closed=False, wrong=False, ended=None, next=hostile
    )
    assert shown.text is not None
    assert 'value="&#34;&gt;&lt;b&gt;&#8238;&#155;"' in shown.text
    assert not set(shown.text) & set("\u202e\x9b")
    assert "<b>" not in shown.text
