"""What the other tests look with sees what is wrong, where something is."""

import pytest

from tests.browser.accessibility import violations
from tests.browser.chromium import Chromium
from tests.browser.scene import Scene
from tests.harness.clock import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

_SPOILT = """() => {
    document.querySelector("main").innerHTML =
        '<p style="color:red">x</p><img src="http://127.0.0.1:9/x"><input><button></button>';
    alert("hello");
    setTimeout(() => { throw new Error("oops") }, 0);
}"""


async def test_what_is_wrong_with_a_page_is_seen(chromium: Chromium, scene: Scene) -> None:
    visitor = await chromium.visitor(scene.url)
    await visitor.go("/login")
    assert visitor.complaints == []
    await visitor.page.evaluate(_SPOILT)
    for expected in ("dialog: hello", "CSP style-src-attr inline", "CSP img-src", "oops"):
        seen = await wait_until(lambda: expected in "\n".join(visitor.complaints), 5)  # noqa: B023
        assert seen, visitor.complaints


@pytest.mark.npm
async def test_axe_sees_what_keeps_people_out(axe: str, chromium: Chromium, scene: Scene) -> None:
    visitor = await chromium.visitor(scene.url)
    await visitor.go("/login")
    await visitor.page.evaluate(_SPOILT)
    found = "\n".join(await violations(visitor.page, axe))
    for rule in ("image-alt", "label", "button-name"):
        assert f"{rule} (critical)" in found
