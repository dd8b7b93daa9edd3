"""Work that may never end, because a disk or a name server does not answer.

The threads that asyncio has are few, everybody shares them, and the end of the process waits for
them. Such work gets a thread of its own.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

T = TypeVar("T")


async def apart(work: Callable[[], T], name: str = "relay-files") -> T:
    """Return what `work` returns, or raise what it raises, from a thread of its own.

    Neither the event loop nor the end of the process waits for it: work that is cancelled is left
    to itself. `name` is the thread's.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(end: Callable[[], None]) -> None:
        if not done.done():
            end()

    def run() -> None:
        try:
            end = partial(done.set_result, work())
        except BaseException as raised:  # noqa: BLE001 - it is raised where it is awaited
            end = partial(done.set_exception, raised)
        # Whoever asked may have gone, and the loop with them.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, end)

    # A daemon: the default threads of asyncio would be waited for.
    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
