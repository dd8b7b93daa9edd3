"""Signing in opens a session for what was asked for, here and nowhere else."""

import pytest

from relay.admin.pages import COOKIE
from relay.spool.audit import Actor
from tests.admin.pages.browsing import HTML, page, sign_in
from tests.admin.test_server import READ_TOKEN, TOKEN, Bench, bench

__all__ = ["bench"]


async def location(bench: Bench, wanted: str) -> str:
    """Return where a login leads that came with this `next`."""
    data = {"token": TOKEN, "next": wanted}
    async with bench.client.post("/login", data=data, allow_redirects=False) as answer:
        assert answer.status == 303
        return answer.headers["Location"]


async def test_the_way_leads_to_the_page_that_was_asked_for(bench: Bench) -> None:
    async with bench.client.get("/events?status=dead", allow_redirects=False) as answer:
        assert answer.headers["Location"] == "/login?next=/events?status%3Ddead"
    text = await page(bench, "/login?next=/events%3Fstatus%3Ddead")
    assert '<input type="hidden" name="next" value="/events?status=dead">' in text
    assert await location(bench, "/events?status=dead") == "/events?status=dead"


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        " //evil.example",
        "javascript:alert(1)",
        "evil.example",
        "",
        "/\u202e",
        "/x\r\nSet-Cookie: a=b",
    ],
)
async def test_it_leads_to_no_other_place(wanted: str, bench: Bench) -> None:
    assert await location(bench, wanted) == "/"


async def test_a_form_of_another_site_opens_no_session(bench: Bench) -> None:
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ):
        status, _ = await bench.post("/login", data={"token": TOKEN}, headers={**HTML, **headers})
        assert status == 403
    assert not [*bench.client.cookie_jar]
    assert await bench.spool.audit.newest(10) == ()
    own = {"Origin": str(bench.client._base_url).rstrip("/")}
    assert (await bench.post("/login", data={"token": TOKEN}, headers=own))[0] == 303


async def test_a_wrong_token_is_told_on_the_page(bench: Bench) -> None:
    status, text = await bench.post("/login", data={"token": "wrong"}, headers=HTML)
    assert status == 401
    assert "That is not the token." in text


async def test_the_cookie_is_for_tls_alone_where_the_request_came_by_it(bench: Bench) -> None:
    for headers, secure in (({}, False), ({"X-Forwarded-Proto": "https"}, True)):
        async with bench.client.post(
            "/login", data={"token": TOKEN}, headers=headers, allow_redirects=False
        ) as answer:
            assert bool(answer.cookies[COOKIE]["secure"]) is secure


async def test_signing_out_needs_the_form_of_the_session(bench: Bench) -> None:
    token = await sign_in(bench)
    assert (await bench.post("/logout", headers=HTML))[0] == 403
    assert (await bench.post("/logout", data={"form_token": "x"}, headers=HTML))[0] == 403
    cookie = {each.key: each.value for each in bench.client.cookie_jar}
    await page(bench, "/events")
    assert (await bench.post("/logout", data={"form_token": token}, headers=HTML))[0] == 303
    # The name of the session is of no use any more.
    assert (await bench.get("/events", headers=HTML, cookies=cookie))[0] == 303


async def test_a_session_remembers_which_token_opened_it(bench: Bench) -> None:
    await sign_in(bench, READ_TOKEN)
    await sign_in(bench, TOKEN)
    actors = [act.actor for act in await bench.spool.audit.newest(2)]
    assert actors == [Actor.TOKEN, Actor.READ_TOKEN]
