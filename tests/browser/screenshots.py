"""Pictures of every page, at two widths, light and dark: `python -m tests.browser.screenshots DIR`.

Each is named for its page, width and scheme, as `events-1440-light.png`.
"""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.browser import tour
from tests.browser.chromium import NARROW, SCHEMES, WIDE, Chromium, Visitor
from tests.browser.scene import TOKEN, Scene

#: Events of a busy day, as they are filled in.
_EVENTS: Final = 4000


async def take(folder: Path, only: set[str]) -> None:
    """Write the pictures of these pages into a folder; of all where there are none."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        async with Scene(Path(directory), events=_EVENTS) as scene, Chromium() as chromium:
            pages = {**tour.OPEN, **await tour.paths(scene)}
            wanted = {name: path for name, path in pages.items() if not only or name in only}
            for size in (WIDE, NARROW):
                for scheme in SCHEMES:
                    visitor = await chromium.visitor(scene.url, size, scheme)
                    await _take(visitor, wanted, folder, f"{size[0]}-{scheme}")


async def _take(visitor: Visitor, pages: dict[str, str], folder: Path, how: str) -> None:
    # Those that need no session come first.
    logged_in = False
    for name, path in pages.items():
        if name not in tour.OPEN and not logged_in:
            await visitor.log_in(TOKEN)
            logged_in = True
        await visitor.go(path)
        file = folder / f"{name}-{how}.png"
        await visitor.page.screenshot(path=file, full_page=True)
        sys.stdout.write(f"{file}\n")
    await visitor.page.context.close()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m tests.browser.screenshots FOLDER [PAGE ...]")
    asyncio.run(take(Path(sys.argv[1]), set(sys.argv[2:])))
