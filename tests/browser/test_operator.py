"""What an operator does: find, open, requeue, pause, release, by mouse and by keys, live."""

import json
import re
import signal
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.chromium import Chromium, Visitor
from tests.browser.scene import TOKEN, Scene
from tests.browser.tour import all_refusals, asked
from tests.harness.deliveries import ENVIRON, STRANGER, midtrans_body

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


async def test_an_order_among_ten_thousand_is_found_requeued_and_arrives(
    tmp_path: Path, chromium: Chromium
) -> None:
    async with Scene(tmp_path, events=10_000) as scene:
        [dead, *_] = (await asked(scene, "/api/v1/events?status=dead"))["events"]
        order = dict(dead["references"])["order_id"]
        visitor = await chromium.visitor(scene.url)
        await visitor.log_in(TOKEN)
        page = visitor.page
        await page.keyboard.press("/")
        await page.keyboard.type(order[:7])
        await page.keyboard.press("Enter")
        await expect(page.locator("tr[data-row]")).to_have_count(1)
        await expect(page.locator("tr[data-row]")).to_contain_text(order)
        await page.keyboard.press("Escape")
        await page.keyboard.press("j")
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"**/events/{dead['id']}")
        await expect(page.locator("#destinations h2")).to_contain_text("dead")
        await page.keyboard.press("r")
        await expect(page.get_by_role("dialog")).to_contain_text("Requeue")
        await page.keyboard.press("Enter")
        await scene.upstream.has_received(1)
        assert json.loads(scene.upstream.received[0].body)["order_id"] == order
        # Nobody has loaded the page anew.
        await expect(page.locator("#destinations h2")).to_contain_text("delivered")
        assert visitor.complaints == []
        acts = [act["act"] for act in (await asked(scene, "/api/v1/audit"))["audit"]]
        assert acts[:2] == ["requeue", "login"]


async def test_what_arrives_is_in_the_list_at_once(scene: Scene, visitor: Visitor) -> None:
    await visitor.go("/events")
    page = visitor.page
    await expect(page.locator("#results")).to_contain_text("No events yet")
    await expect(page.locator("#connection")).to_be_empty()
    assert await scene.send(midtrans_body(order_id="ARRIVES-1")) == 200
    await expect(page.locator("tr[data-row]")).to_contain_text("ARRIVES-1")
    await expect(page.locator("tr[data-row]")).to_contain_text("delivered")


async def test_an_upstream_is_paused_and_resumed(scene: Scene, visitor: Visitor) -> None:
    page = visitor.page
    await visitor.go("/upstreams")
    row = page.locator("tbody tr", has_text="billing")
    await row.get_by_role("link", name="Pause").click()
    await page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    await expect(row).to_contain_text("paused")
    await expect(page.get_by_role("navigation", name="Pages")).to_contain_text("1 paused")
    assert await scene.send(midtrans_body(order_id="WAITS-1")) == 200
    await visitor.go("/events?status=pending")
    await expect(page.locator("tr[data-row]")).to_contain_text("WAITS-1")
    await expect(page.get_by_role("navigation", name="Pages")).to_contain_text("1 paused")
    assert scene.upstream.received == []
    await visitor.go("/upstreams")
    await row.get_by_role("button", name="Resume").click()
    await expect(row).not_to_contain_text("paused")
    await expect(page.get_by_role("navigation", name="Pages")).not_to_contain_text("paused")
    await scene.upstream.has_received(1)


async def test_a_refusal_of_a_wrong_key_is_released(tmp_path: Path, chromium: Chromium) -> None:
    async with Scene(tmp_path, key="SB-Mid-server-of-another-account") as scene:
        assert await scene.send(midtrans_body(order_id="REFUSED-1")) == 401
        [refused] = await all_refusals(scene, 1)
        visitor = await chromium.visitor(scene.url)
        await visitor.log_in(TOKEN)
        page = visitor.page
        await visitor.go("/refusals")
        await page.get_by_role("link", name=refused["id"]).click()
        await expect(page.locator("main")).to_contain_text("It would be refused again")
        scene.write()
        scene.node.send(signal.SIGHUP)
        await scene.node.wait_for(event="reloaded")
        await page.reload()
        await expect(page.locator("main")).to_contain_text("It would be accepted now")
        await page.get_by_role("link", name="Release").click()
        await page.get_by_role("dialog").get_by_role("button", name="Release").click()
        await page.wait_for_url("**/events/evt_*")
        await scene.upstream.has_received(1)
        await expect(page.locator("#destinations h2")).to_contain_text("delivered")
        assert visitor.complaints == []


async def test_a_page_says_that_relay_restarts_and_comes_back(
    scene: Scene, visitor: Visitor
) -> None:
    await visitor.go("/events")
    page = visitor.page
    await expect(page.locator("#connection")).to_be_empty()
    await scene.node.end()
    await expect(page.locator("#connection")).to_contain_text("restarting")
    await scene.start_again()
    await expect(page.locator("#connection")).to_be_empty()
    assert await scene.send(midtrans_body(order_id="LATER-1")) == 200
    await expect(page.locator("#results")).to_contain_text("LATER-1")
    # What the browser itself says of a connection that was refused.
    assert all("ERR_" in each for each in visitor.complaints), visitor.complaints
    visitor.forgive()


async def test_keys_move_open_and_ask(scene: Scene, visitor: Visitor) -> None:
    for number in range(3):
        assert await scene.send(midtrans_body(order_id=f"KEYS-{number}")) == 200
    await scene.upstream.has_received(3)
    await visitor.go("/events")
    page = visitor.page
    selected = page.locator("tr.selected")
    for key, order in [("j", "KEYS-2"), ("j", "KEYS-1"), ("j", "KEYS-0"), ("k", "KEYS-1")]:
        await page.keyboard.press(key)
        await expect(selected).to_contain_text(order)
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.keyboard.press("r")
    await expect(page.get_by_role("dialog", name="Confirm")).to_contain_text("Requeue")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/events/evt_*")
    await expect(page.locator("main")).to_contain_text("KEYS-1")
    await page.keyboard.press("/")
    await expect(page.get_by_role("searchbox")).to_be_focused()


async def test_a_form_is_kept_while_relay_is_away(scene: Scene, visitor: Visitor) -> None:
    assert await scene.send(midtrans_body(order_id="AWAY-1")) == 200
    await scene.upstream.has_received(1)
    [event] = (await asked(scene, "/api/v1/events"))["events"]
    await visitor.go(f"/events/{event['id']}")
    page = visitor.page
    await expect(page.locator("#destinations h2")).to_contain_text("delivered")
    await page.get_by_role("link", name="Requeue").click()
    button = page.get_by_role("dialog").get_by_role("button", name="Requeue")
    await expect(button).to_be_visible()
    await scene.node.end()
    await expect(page.locator("#connection")).to_contain_text("restarting")
    await button.click()
    await expect(page.locator("#notice")).to_contain_text("Nothing was sent")
    await scene.start_again()
    await expect(page.locator("#connection")).to_be_empty()
    await button.click()
    await expect(page.locator("main")).to_contain_text("It is requeued")
    await scene.upstream.has_received(2)
    assert all("ERR_" in each for each in visitor.complaints), visitor.complaints
    visitor.forgive()


async def test_a_link_from_elsewhere_opens_in_the_session(scene: Scene, visitor: Visitor) -> None:
    page = visitor.page
    there = f'<a href="{scene.url}/events?status=dead">dead</a>'
    await page.context.route(
        "http://chat.example/", lambda route: route.fulfill(body=there, content_type="text/html")
    )
    await page.goto("http://chat.example/")
    await page.get_by_role("link").click()
    await page.wait_for_url("**/events?status=dead")
    await expect(page.get_by_role("heading", name="Events")).to_be_visible()
    visitor.forgive()


async def test_what_is_found_opens_with_the_next_enter(scene: Scene, visitor: Visitor) -> None:
    assert await scene.send(midtrans_body(order_id="ENTER-1")) == 200
    await scene.upstream.has_received(1)
    page = visitor.page
    await page.keyboard.press("/")
    await page.keyboard.type("ENTER-")
    await page.keyboard.press("Enter")
    await expect(page.locator("tr.selected")).to_contain_text("ENTER-1")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/events/evt_*")
    await expect(page).to_have_title(re.compile("^ENTER-1 · evt_"))
    await page.keyboard.press("r")
    await page.get_by_role("dialog", name="Confirm").get_by_role("button", name="Requeue").click()
    await expect(page.locator("main")).to_contain_text("It is requeued")
    await scene.upstream.has_received(2)
    # It is told once.
    await page.reload()
    await expect(page.locator("#destinations h2")).to_contain_text("delivered")
    await expect(page.locator("main")).not_to_contain_text("It is requeued")


@pytest.mark.parametrize("path", ["/events/evt_0000", "/refusals/ref_0000", "/nothing/here"])
async def test_what_is_not_there_is_a_page_with_a_way_back(path: str, visitor: Visitor) -> None:
    assert await visitor.go(path) == 404
    await visitor.page.locator("main").get_by_role("link").click()
    await visitor.page.wait_for_url(lambda url: url.endswith(("/events", "/refusals")))


async def test_a_session_that_has_ended_leads_to_the_form_and_back(
    scene: Scene, visitor: Visitor
) -> None:
    # What a page asks for while it opens would be refused, and the console would say so.
    await visitor.go("/events")
    await expect(visitor.page.locator(".live.on")).to_be_visible()
    await visitor.page.context.clear_cookies()
    await visitor.go(f"/allowlist?address={STRANGER}")
    await visitor.page.get_by_label("Token").fill(ENVIRON["RELAY_ADMIN_TOKEN"])
    await visitor.page.keyboard.press("Enter")
    await visitor.page.wait_for_url(f"**/allowlist?address={STRANGER}")
    await expect(visitor.page.locator("#answer")).to_contain_text("refused")


async def test_a_wrong_token_is_told_to_be_wrong(scene: Scene, chromium: Chromium) -> None:
    visitor = await chromium.visitor(scene.url)
    await visitor.go("/login")
    await visitor.page.get_by_label("Token").fill("wrong")
    await visitor.page.keyboard.press("Enter")
    await expect(visitor.page.get_by_role("alert")).to_contain_text("not the token")
    await expect(visitor.page.get_by_label("Token")).to_be_focused()
