"""An event that is delivered at one upstream, dead at another one and held at a third."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.async_api import Locator, expect

from tests.browser.accessibility import violations
from tests.browser.chromium import NARROW, SCHEMES, WIDE, Chromium, Scheme
from tests.browser.filling import fill_destinations
from tests.browser.scene import TOKEN, Scene
from tests.browser.tour import asked

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


class SceneOfThree(Scene):
    """A relay with one more upstream, and one event that has gone to all three."""

    def write(self, key: str | None = None) -> None:
        super().write(key)
        text = self.config.read_text()
        archive = f'  archive:\n    url: "{self.ledger.url}/archive"\n'
        self.config.write_text(text.replace("endpoints:\n", f"{archive}endpoints:\n", 1))
        if not (self.config.parent / "relay.db").exists():
            self.event = fill_in_thread(self.config)


def fill_in_thread(config: Path) -> str:
    """Fill the spool from within a running loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(fill_destinations, config).result()


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[SceneOfThree]:
    async with SceneOfThree(tmp_path) as scene:
        yield scene


def row(destinations: Locator, upstream: str) -> Locator:
    return destinations.get_by_role("row").filter(has_text=upstream)


async def test_each_destination_is_shown_and_put_back_by_itself(
    chromium: Chromium, three: SceneOfThree
) -> None:
    visitor = await chromium.visitor(three.url, NARROW)
    await visitor.log_in(TOKEN)
    page = visitor.page
    await visitor.go(f"/events/{three.event}")
    destinations = page.locator("#destinations")
    for upstream, status in (("billing", "delivered"), ("ledger", "dead"), ("archive", "held")):
        await expect(row(destinations, upstream)).to_contain_text(status)
    await page.get_by_role("link", name="Requeue to ledger").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("to ledger?")
    await expect(dialog).to_contain_text("At ledger it is dead now, after one attempt.")
    await dialog.get_by_role("button", name="Requeue").click()
    # Nobody has loaded the page anew, and the others stay as they are.
    await expect(row(destinations, "ledger")).to_contain_text("delivered")
    await expect(row(destinations, "archive")).to_contain_text("held")
    await three.ledger.has_received(1)
    assert [each.target for each in three.ledger.received] == ["/entries"]
    assert three.upstream.received == []
    found = await asked(three, f"/api/v1/events/{three.event}")
    assert {each["upstream"]: each["attempts"] for each in found["destinations"]} == {
        "billing": 1,
        "ledger": 2,
        "archive": 1,
    }
    [act, *_] = (await asked(three, "/api/v1/audit"))["audit"]
    assert act["detail"] == {"events": [three.event], "upstream": "ledger"}
    await visitor.go("/events")
    await expect(page.locator("tr[data-row]")).to_contain_text("archive held")
    # The last outcome is that of the destination that most needs a person.
    await expect(page.locator("tr[data-row]")).to_contain_text("unconfirmed not_found")
    assert visitor.complaints == []


@pytest.mark.parametrize("width", [NARROW[0], 320])
async def test_it_fits_a_narrow_screen(width: int, chromium: Chromium, three: SceneOfThree) -> None:
    visitor = await chromium.visitor(three.url, (width, NARROW[1]))
    await visitor.log_in(TOKEN)
    for path in paths(three):
        await visitor.go(path)
        taken = await visitor.page.evaluate("document.documentElement.scrollWidth")
        assert taken <= width, path
    assert visitor.complaints == []


@pytest.mark.npm
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
async def test_axe_finds_nothing_serious(
    size: tuple[int, int], scheme: Scheme, axe: str, chromium: Chromium, three: SceneOfThree
) -> None:
    visitor = await chromium.visitor(three.url, size, scheme)
    await visitor.log_in(TOKEN)
    for path in paths(three):
        await visitor.go(path)
        assert await violations(visitor.page, axe) == [], path


def paths(scene: SceneOfThree) -> tuple[str, ...]:
    event = f"/events/{scene.event}"
    return (event, f"{event}/requeue", f"{event}/requeue?upstream=archive", "/events")
