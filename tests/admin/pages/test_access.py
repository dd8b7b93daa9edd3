"""Without a session the way leads to the login; forms need their token, and the right to act."""

from html import unescape

import pytest

from relay.admin.pages import COOKIE
from relay.admin.pages.access import local_path
from tests.admin.pages.browsing import HTML, page, sign_in
from tests.admin.test_server import READ_TOKEN, Bench, bench

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


@pytest.mark.parametrize(
    ("path", "fields", "question"),
    [
        ("/events/evt_1/requeue", {"to": "ledger"}, "/events/evt_1/requeue?to=ledger"),
        (
            "/events/requeue",
            {"status": "dead", "find": "A&B", "rate": "20/s", "to": ""},
            "/events/requeue?status=dead&find=A%26B&rate=20%2Fs",
        ),
        ("/refusals/ref_1/release", {}, "/refusals/ref_1/release"),
        ("/upstreams/billing/pause", {}, "/upstreams/billing/pause"),
        ("/upstreams/billing/resume", {}, "/upstreams"),
    ],
)
async def test_a_form_whose_session_has_ended_comes_back_behind_the_login(
    path: str, fields: dict[str, str], question: str, bench: Bench
) -> None:
    token = await sign_in(bench)
    bench.client.cookie_jar.clear()
    data = {"form_token": token, **fields}
    async with bench.client.post(path, data=data, headers=HTML, allow_redirects=False) as answer:
        assert answer.status == 303
        login = answer.headers["Location"]
    text = await page(bench, login)
    assert "Your session has ended, and nothing was changed." in text
    shown = text.partition('name="next" value="')[2].partition('"')[0]
    assert unescape(shown) == question


async def test_a_page_whose_session_has_ended_says_so_at_the_login(bench: Bench) -> None:
    assert "has ended" not in await page(bench, "/login")
    cookies = {COOKIE: "1.x.y"}
    text = (await bench.get("/login?next=/events", headers=HTML, cookies=cookies))[1]
    assert "Your session has ended. Sign in to go on." in text


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded; charset=nonsense", b"form_token=a"),
        ("application/x-www-form-urlencoded", b"form_token=\xff"),
        ("multipart/form-data; boundary=b", b"x"),
        ("multipart/form-data", b"x"),
    ],
)
async def test_a_form_that_cannot_be_read_is_told_and_is_no_fault(
    content_type: str, body: bytes, bench: Bench
) -> None:
    await sign_in(bench)
    headers = {**HTML, "Content-Type": content_type}
    for path in ("/events/evt_1/requeue", "/login", "/logout"):
        status, text = await bench.post(path, data=body, headers=headers)
        assert (status, "This form cannot be read." in text) == (400, True), path
    assert "admin_fault" not in {line["event"] for line in bench.log()}


async def test_what_may_only_be_read_is_not_asked_about(bench: Bench) -> None:
    await sign_in(bench, READ_TOKEN)
    for path in ("/upstreams/billing/pause", "/refusals/ref_1/release", "/events/evt_1/requeue"):
        assert "You may read, and not act" in await page(bench, path, 403)
