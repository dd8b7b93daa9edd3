"""Poll for what cannot be awaited: a file that changes, a count that grows."""

import asyncio
from collections.abc import Callable

_LOOK = 0.05


async def wait_until(happened: Callable[[], bool], within: float) -> bool:
    """Return True as soon as it has happened, False when it has not within these seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    while not happened():
        if loop.time() >= end:
            return False
        await asyncio.sleep(_LOOK)
    return True


async def run_loop_until(condition: Callable[[], bool]) -> None:
    """Return when this holds; what is asked has no bell of its own."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a turn of the loop is what it waits for
            await asyncio.sleep(0)
