"""The overview says what needs a person, each with a way there, and what each hour brought."""

import re
from typing import Any

import pytest

from relay.admin.attention import Kind
from relay.admin.pages.overview import sparkline
from tests.admin.pages.browsing import page, sign_in
from tests.admin.test_server import Bench, bench

__all__ = ["bench"]


def endpoint(name: str, hours: list[int], **verdicts: int) -> dict[str, Any]:
    return {
        "name": name,
        "provider": "midtrans",
        "last_delivery_at": None,
        "verdicts_24h": verdicts,
        "hours": hours,
        "allowlist": {"addresses": 1234, "age_seconds": 7300},
    }


def matter(kind: str, detail: str = "it is so") -> dict[str, Any]:
    return {"kind": kind, "number": 1, "detail": detail, "since": "2026-01-05T12:00:00.000Z"}


async def test_where_there_is_nothing_each_part_says_so(bench: Bench) -> None:
    await sign_in(bench)
    text = await page(bench, "/")
    assert "Nothing. Everything that came is delivered or on its way." in text
    assert "No endpoint is configured" in text
    assert "No upstream is configured" in text


async def test_each_endpoint_is_shown_with_its_day(bench: Bench) -> None:
    await sign_in(bench)
    bench.status["endpoints"] = [
        endpoint("shop<b>", [0] * 22 + [5, 10], accepted=12345, refused=7, conflict=0),
        endpoint("silent", [0] * 24),
    ]
    text = await page(bench, "/")
    assert "shop&lt;b&gt;" in text
    assert "12,345" in text
    assert '<a href="/refusals?endpoint=shop%3Cb%3E">7</a>' in text
    assert "15 deliveries in 24 hours, 10 in the busiest" in text
    assert "no delivery in 24 hours" in text
    assert "never" in text
    assert "1,234" in text
    assert "2 h ago" in text
    assert "Conflict<" not in text
    bench.status["endpoints"] = [endpoint("shop", [0] * 24, conflict=1)]
    assert "Conflict<" in await page(bench, "/")


async def test_of_many_endpoints_the_busiest_are_shown(bench: Bench) -> None:
    await sign_in(bench)
    bench.status["endpoints"] = [
        endpoint(f"shop-{each:03}", [0] * 24, accepted=each) for each in range(53)
    ]
    text = await page(bench, "/")
    assert "shop-052" in text
    assert "shop-002" not in text
    assert "and 3 are not" in text


@pytest.mark.parametrize("kind", Kind)
async def test_each_matter_leads_to_where_it_is_looked_into(kind: Kind, bench: Bench) -> None:
    await sign_in(bench)
    bench.status["attention"] = [matter(kind, "host <b> is silent")]
    text = await page(bench, "/")
    [told] = re.findall(r'<ul class="matters">.*?</ul>', text, re.DOTALL)
    assert "Host &lt;b&gt; is silent." in told
    assert "2026-01-05 12:00:00 UTC" in told
    links = re.findall(r'href="([^"]*)"', told)
    about_relay_itself = {
        *(Kind.SPOOL_UNAVAILABLE, Kind.DISK_LOW, Kind.CLOCK_OFF, Kind.CERTIFICATE_ENDS),
        Kind.RELOAD_REFUSED,
    }
    assert bool(links) == (kind not in about_relay_itself)
    for link in links:
        await page(bench, link)


async def test_what_is_paused_stands_on_every_page(bench: Bench) -> None:
    form_token = await sign_in(bench)
    for path in ("/", "/events", "/refusals", "/allowlist", "/upstreams"):
        assert "1 paused" not in await page(bench, path)
    status, _ = await bench.post("/upstreams/billing/pause", data={"form_token": form_token})
    assert status == 303
    for path in ("/", "/events", "/refusals", "/allowlist", "/upstreams"):
        assert "1 paused" in await page(bench, path)


def test_an_hour_with_anything_in_it_is_never_empty() -> None:
    assert sparkline([0, 1, 1000]).bars == "M5 24v-2h4V24zM10 24v-24h4V24z"
    assert sparkline([]).bars == ""
