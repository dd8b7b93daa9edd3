"""What axe-core finds wrong with a page as it stands in the browser."""

from typing import Any, Final

from playwright.async_api import Page

#: What keeps people out. The others are advice.
_SERIOUS: Final = frozenset({"serious", "critical"})


async def violations(page: Page, axe: str) -> list[str]:
    """Return the serious violations, each with the elements that it is about.

    axe: its source. It is evaluated as from the browser's own console: no policy of the page is
    asked, and none has to be loosened.
    """
    await page.evaluate(axe)
    found: dict[str, Any] = await page.evaluate("axe.run({resultTypes: ['violations']})")
    return [
        f"{each['id']} ({each['impact']}): {node['html'][:200]} {node['failureSummary']}"
        for each in found["violations"]
        if each["impact"] in _SERIOUS
        for node in each["nodes"]
    ]
