"""Whatever the id of an order holds, a page shows it as text, and nothing else happens."""

from typing import Final

import pytest

from tests.browser.chromium import Visitor
from tests.browser.hostile_texts import hostile_texts
from tests.browser.scene import Scene
from tests.browser.tour import asked
from tests.harness.deliveries import midtrans_body

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

#: What our templates never have, what runs by itself, and characters that hide or reorder others.
_FOREIGN: Final = r"""() => {
    const foreign = [
        "img, iframe, object, embed, base, style, math, video, audio, script:not([src])",
        "link[rel=stylesheet]:not([href^='/static/']), meta[http-equiv], svg:not(.day)",
        "form:not([action^='/']):not([method=dialog]), a[href^='javascript']",
    ].join();
    const odd = [...document.querySelectorAll("*")].filter((each) => each.matches(foreign) ||
        [...each.attributes].some((one) => one.name.startsWith("on") || one.name === "style"));
    const unseen = /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\u034f\u2800\u3164]/u;
    const text = document.title + document.body.innerText;
    return [
        ...odd.map((each) => each.outerHTML.slice(0, 200)),
        ...(unseen.exec(text) ?? []).map((each) => "U+" + each.codePointAt(0).toString(16)),
        ...(document.documentElement.scrollWidth > innerWidth ? ["wider than the screen"] : []),
    ];
}"""


async def test_a_hostile_order_id_stays_text_on_every_page(scene: Scene, visitor: Visitor) -> None:
    texts = list(hostile_texts())
    assert len(set(texts)) >= 300
    statuses = [await scene.send(midtrans_body(order_id=each)) for each in texts]
    # What is no order id is refused, and kept, and shown as well.
    assert set(statuses) <= {200, 400, 401}
    assert statuses.count(200) >= 100
    events = (await asked(scene, "/api/v1/events?limit=1000"))["events"]
    assert len(events) == statuses.count(200)
    refusals = (await asked(scene, "/api/v1/refusals?limit=1000"))["refusals"]
    found: dict[str, list[str]] = {}
    for path in [
        *("/events", "/refusals", "/"),
        *(f"/events/{each['id']}" for each in events),
        *(f"/refusals/{each['id']}" for each in refusals),
    ]:
        assert await visitor.go(path) == 200, path
        if foreign := await visitor.page.evaluate(_FOREIGN):
            found[path] = foreign
    assert found == {}


async def test_what_is_searched_for_stays_text(visitor: Visitor) -> None:
    found = {}
    for text in list(hostile_texts())[::5]:
        if len(text) > 1000 or "\x00" in text:
            continue
        await visitor.page.get_by_role("searchbox").fill(text)
        async with visitor.page.expect_navigation():
            await visitor.page.get_by_role("searchbox").press("Enter")
        if foreign := await visitor.page.evaluate(_FOREIGN):
            found[text] = foreign
    assert found == {}
