"""Upstreams are shown with what waits for them; a session pauses and resumes them, on record."""

import pytest

from relay.config.upstream_settings import Upstream
from relay.core.secret import Secret
from relay.spool.audit import Actor
from tests.admin.pages.browsing import page, sign_in
from tests.admin.test_server import READ_TOKEN, Bench, bench
from tests.harness.deliveries import verified

__all__ = ["bench"]


async def test_what_waits_is_shown_with_the_newest_event(bench: Bench) -> None:
    await sign_in(bench)
    await bench.spool.put(verified(key="2", upstream="gone<b>"))
    event = verified(upstream="billing")
    await bench.spool.put(event)
    text = await page(bench, "/upstreams")
    assert "http://billing.example/in?…" in text
    assert "secret" not in text
    assert '<a href="/events?upstream=billing&amp;status=pending">1</a>' in text
    assert f'<a href="/events/{event.event_id}"><bdi>pending</bdi></a>' in text
    assert "gone&lt;b&gt;" in text
    assert "not configured" in text


async def test_it_is_shown_how_it_is_called_and_for_whom(bench: Bench) -> None:
    await sign_in(bench)
    settings = {
        "url": "https://billing.example/?canary",
        "headers": {"X-Api-Key": Secret("canary")},
        "auth": {"basic": {"user": "canary", "password": Secret("canary")}},
    }
    bench.upstreams["billing"] = Upstream.model_validate(settings)
    text = await page(bench, "/upstreams")
    assert "with <bdi>basic, X-Api-Key</bdi>" in text
    assert "no endpoint" in text
    assert "canary" not in text


async def test_one_is_paused_after_a_question_and_resumed(bench: Bench) -> None:
    form_token = await sign_in(bench)
    assert "Pause billing?" in await page(bench, "/upstreams/billing/pause")
    fields = {"form_token": form_token}
    assert (await bench.post("/upstreams/billing/pause", data=fields))[0] == 303
    assert bench.pauses.is_set()
    text = await page(bench, "/upstreams")
    assert "by session" in text
    for path, status in (("/", 200), ("/events", 200), ("/no/such/page", 404)):
        assert "1 paused" in await page(bench, path, status), path
    assert 'action="/upstreams/billing/resume"' in text
    assert (await bench.post("/upstreams/billing/resume", data=fields))[0] == 303
    assert await bench.spool.pauses.all() == {}
    acts = [(act.name, act.actor, act.detail) for act in await bench.spool.audit.newest(2)]
    touched = {"upstream": "billing"}
    assert acts == [("resume", Actor.SESSION, touched), ("pause", Actor.SESSION, touched)]


async def test_what_the_file_pauses_no_click_resumes(bench: Bench) -> None:
    form_token = await sign_in(bench)
    bench.upstreams["billing"] = Upstream(url="http://billing.example/", paused=True)
    text = await page(bench, "/upstreams")
    assert "by the configuration file" in text
    assert "Resume" not in text
    status, text = await bench.post(
        "/upstreams/billing/resume",
        data={"form_token": form_token},
        headers={"Accept": "text/html"},
    )
    assert status == 409
    assert "billing stays paused" in text


async def test_an_unknown_one_is_a_page_with_a_way_back(bench: Bench) -> None:
    form_token = await sign_in(bench)
    assert 'href="/upstreams"' in await page(bench, "/upstreams/biling/pause", 404)
    for act in ("pause", "resume"):
        status, text = await bench.post(
            f"/upstreams/biling/{act}",
            data={"form_token": form_token},
            headers={"Accept": "text/html"},
        )
        assert status == 404
        assert "did you mean" in text


@pytest.mark.parametrize("act", ["pause", "resume"])
async def test_who_may_only_read_pauses_nothing(act: str, bench: Bench) -> None:
    form_token = await sign_in(bench, READ_TOKEN)
    text = await page(bench, "/upstreams")
    assert "Pause…" not in text
    assert (await bench.post(f"/upstreams/billing/{act}", data={}))[0] == 403
    fields = {"form_token": form_token}
    assert (await bench.post(f"/upstreams/billing/{act}", data=fields))[0] == 403
    assert await bench.spool.pauses.all() == {}
    assert (await bench.post(f"/upstreams/billing/{act}", data=fields, cookies={}))[0] == 403
