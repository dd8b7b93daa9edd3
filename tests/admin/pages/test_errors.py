"""An error is a page with a way back for a browser, and JSON for everything else."""

from urllib.parse import urlencode

import orjson
import pytest

from tests.admin.pages.browsing import HTML, page, sign_in
from tests.admin.test_server import BEARER, WRONG, Bench, bench

__all__ = ["bench"]


async def test_an_unknown_event_is_a_page_with_a_way_back(bench: Bench) -> None:
    await sign_in(bench)
    text = await page(bench, "/events/evt_%3Cb%3E", 404)
    assert "There is no event evt_&lt;b&gt;" in text
    assert '<a href="/events">All events</a>' in text


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/events?status=lost", 400, "No status &#34;lost&#34;; there are: pending"),
        ("/events?after=x", 400, ""),
        ("/events?since=soon", 400, "is no time"),
        ("/no/such/page", 404, "There is no page of this name."),
        ("/logout", 405, "cannot be asked for in this way"),
    ],
)
async def test_each_error_says_what_is_wrong(
    path: str, status: int, sentence: str, bench: Bench
) -> None:
    await sign_in(bench)
    text = await page(bench, path, status)
    assert "<h1>" in text
    assert sentence in text
    assert (await bench.get(path, headers=BEARER))[1].startswith('{"error":')


@pytest.mark.parametrize(
    ("path", "back"),
    [
        ("/events/evt_1/nothing", '<a href="/events">All events</a>'),
        ("/events?status=lost", '<a href="/events">All events</a>'),
        ("/refusals?reason=lost", '<a href="/refusals">All refusals</a>'),
        ("/refusals?after=x", '<a href="/refusals">All refusals</a>'),
        ("/refusals/ref_1/x", '<a href="/refusals">All refusals</a>'),
        ("/upstreams/nothing", '<a href="/upstreams">All upstreams</a>'),
        ("/upstreams/nothing/pause", '<a href="/upstreams">All upstreams</a>'),
    ],
)
async def test_the_way_back_is_the_list_it_was_about(path: str, back: str, bench: Bench) -> None:
    await sign_in(bench)
    _, text = await bench.get(path, headers=HTML)
    assert back in text


async def test_what_was_asked_for_is_shown_by_its_beginning(bench: Bench) -> None:
    await sign_in(bench)
    long = "x" * 7000
    for path in (f"/events/{long}", f"/refusals/{long}", f"/upstreams/{long}/pause"):
        assert len(await page(bench, path, 404)) < 6000, path
    assert len(await page(bench, f"/events?status={long}", 400)) < 6000


async def test_a_search_of_what_the_box_takes_is_answered_with_a_page(bench: Bench) -> None:
    await sign_in(bench)
    text = await page(bench, "/events?" + urlencode({"find": "\U0001f600" * 2000}))
    assert "No events match" in text


async def test_a_spool_that_cannot_be_read_is_said(bench: Bench) -> None:
    await sign_in(bench)
    await bench.spool.close()
    text = await page(bench, "/events", 503)
    assert "The spool cannot be read" in text


async def test_an_act_that_cannot_be_written_is_said_with_a_way_to_ask_again(bench: Bench) -> None:
    token = await sign_in(bench)
    await bench.spool.close()
    path = "/upstreams/billing/pause"
    status, text = await bench.post(path, data={"form_token": token}, headers=HTML)
    assert status == 503
    assert "What you asked for was not done" in text
    assert f'<a href="{path}">Back to the question</a>' in text


async def test_a_foreign_name_is_answered_with_a_page(bench: Bench) -> None:
    status, text = await bench.get("/login", headers={**HTML, "Host": "rebind.example"})
    assert status == 421
    assert "admin.hosts" in text
    assert "<h1>" in text
    assert "form_token" not in text


async def test_errors_of_the_api_are_json_for_a_browser_too(bench: Bench) -> None:
    for path, headers in (("/api/v1/events", HTML), ("/api/v1/nothing", {**HTML, **BEARER})):
        _, text = await bench.get(path, headers=headers)
        assert orjson.loads(text)["error"]
    assert orjson.loads((await bench.get("/events", headers=WRONG))[1])["error"]
