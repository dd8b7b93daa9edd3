"""What makes pages good to read: local times, addresses to share, copies; and no need of script."""

import re

import pytest
from playwright.async_api import expect

from tests.browser.chromium import Chromium, Visitor
from tests.browser.scene import TOKEN, Scene
from tests.browser.tour import asked
from tests.harness.deliveries import midtrans_body

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


async def test_times_are_local_and_say_their_offset(scene: Scene, visitor: Visitor) -> None:
    assert await scene.send(midtrans_body(order_id="TIME-1")) == 200
    [event] = (await asked(scene, "/api/v1/events"))["events"]
    await visitor.go(f"/events/{event['id']}")
    time = visitor.page.locator(f"time[datetime='{event['received_at']}']").first
    # The browser is in Jakarta.
    await expect(time).to_have_text(re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+07:00$"))
    hour = (int(event["received_at"][11:13]) + 7) % 24
    assert f" {hour:02d}:" in await time.inner_text()


async def test_an_id_is_copied_as_it_is(scene: Scene, visitor: Visitor) -> None:
    assert await scene.send(midtrans_body(order_id="COPY-1")) == 200
    [event] = (await asked(scene, "/api/v1/events"))["events"]
    page = visitor.page
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await visitor.go(f"/events/{event['id']}")
    await page.get_by_role("button", name="Copy the id").click()
    await expect(page.locator("#notice")).to_contain_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == event["id"]


async def test_filters_live_in_the_address(scene: Scene, visitor: Visitor) -> None:
    assert await scene.send(midtrans_body(order_id="FILTER-1")) == 200
    await scene.upstream.has_received(1)
    page = visitor.page
    await visitor.go("/events")
    await expect(page.locator("tr[data-row]")).to_have_count(1)
    await page.get_by_role("combobox", name="Status").select_option("dead")
    await page.wait_for_url("**/events?status=dead")
    await expect(page.locator("#results")).to_contain_text("No events match")
    await page.reload()
    await expect(page.get_by_role("combobox", name="Status")).to_have_value("dead")
    await page.go_back()
    await page.wait_for_url("**/events")
    await expect(page.locator("tr[data-row]")).to_have_count(1)


async def test_the_overview_follows_what_comes(scene: Scene, visitor: Visitor) -> None:
    await visitor.go("/")
    row = visitor.page.locator("#endpoints tbody tr", has_text="midtrans").first
    await expect(row).to_contain_text("never")
    assert await scene.send(midtrans_body(order_id="OVERVIEW-1")) == 200
    await expect(row).not_to_contain_text("never")


async def test_all_works_without_script(scene: Scene, chromium: Chromium) -> None:
    assert await scene.send(midtrans_body(order_id="PLAIN-1")) == 200
    await scene.upstream.has_received(1)
    visitor = await chromium.visitor(scene.url, script=False)
    await visitor.log_in(TOKEN)
    page = visitor.page
    await visitor.go("/upstreams")
    await page.get_by_role("link", name="Pause… billing").click()
    await page.get_by_role("button", name="Pause").click()
    await expect(page.locator("main")).to_contain_text("paused")
    await page.get_by_role("button", name="Resume billing").click()
    await expect(page.get_by_role("button", name="Resume billing")).to_have_count(0)
    await visitor.go("/events")
    await page.locator("a[data-open]").click()
    await page.get_by_role("link", name="Requeue").click()
    await page.get_by_role("button", name="Requeue").click()
    await scene.upstream.has_received(2)
    assert visitor.complaints == []
