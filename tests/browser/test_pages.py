"""Each page by itself: read by everybody, on any screen, with nothing to complain of."""

from pathlib import Path

import pytest

from tests.browser import tour
from tests.browser.accessibility import violations
from tests.browser.chromium import NARROW, SCHEMES, WIDE, Chromium, Scheme
from tests.browser.scene import TOKEN, Scene

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


@pytest.fixture
def scene_of_a_day(tmp_path: Path) -> Scene:
    return Scene(tmp_path, events=200)


@pytest.mark.npm
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
async def test_axe_finds_nothing_serious_on_any_page(
    size: tuple[int, int], scheme: Scheme, axe: str, chromium: Chromium, scene_of_a_day: Scene
) -> None:
    async with scene_of_a_day as scene:
        visitor = await chromium.visitor(scene.url, size, scheme)
        found = {}
        for name, path in tour.OPEN.items():
            await visitor.go(path)
            found[name] = await violations(visitor.page, axe)
        await visitor.log_in(TOKEN)
        for name, path in (await tour.paths(scene)).items():
            await visitor.go(path)
            found[name] = await violations(visitor.page, axe)
        assert {name: each for name, each in found.items() if each} == {}
        assert visitor.complaints == []


async def test_no_page_is_wider_than_a_narrow_screen(
    chromium: Chromium, scene_of_a_day: Scene
) -> None:
    async with scene_of_a_day as scene:
        visitor = await chromium.visitor(scene.url, NARROW)
        await visitor.log_in(TOKEN)
        wider = {}
        for name, path in {**tour.OPEN, **await tour.paths(scene)}.items():
            await visitor.go(path)
            # The narrower is a wide one at four times its size.
            for width in (NARROW[0], 320):
                await visitor.page.set_viewport_size({"width": width, "height": NARROW[1]})
                taken = await visitor.page.evaluate("document.documentElement.scrollWidth")
                if taken > width:
                    wider[f"{name} at {width}"] = taken
        assert wider == {}
