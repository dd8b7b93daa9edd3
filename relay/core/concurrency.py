"""What asyncio lacks: daemon threads, callbacks awaited, a race of two, short reads, switches."""

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final, TypeVar

# ---- a daemon thread for one call -----------------------------------------------------------
# The default threads of asyncio are few and shared, and the end of the process waits for them. A
# disk or a name server may never answer, so a call that depends on one gets a daemon thread.

T = TypeVar("T")


async def run_in_daemon_thread(work: Callable[[], T], name: str = "relay-files") -> T:
    """Run blocking work in a daemon thread of its own, and return or raise as it does.

    Neither the event loop nor the end of the process waits for the thread: when the caller is
    cancelled, the work goes on and its result is dropped. `name` is the thread's.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(set_end: Callable[[], None]) -> None:
        if not done.done():
            set_end()

    def run() -> None:
        try:
            set_end = partial(done.set_result, work())
        except BaseException as raised:  # noqa: BLE001 - it is raised where it is awaited
            set_end = partial(done.set_exception, raised)
        # The loop may be closed by now.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(finish, set_end)

    # A daemon: the default threads of asyncio would be waited for.
    threading.Thread(target=run, name=name, daemon=True).start()
    return await done


# ---- awaiting a callback --------------------------------------------------------------------

#: Drops what is under way: its callback is not called any more.
Cancel = Callable[[], None]


async def called_back(start: Callable[[Callable[[T], None]], Cancel]) -> T:
    """Start something that calls back once, on the event loop, and return with what.

    Cancelled, it cancels what was started.
    """
    result: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def call_back(value: T) -> None:
        if not result.done():
            result.set_result(value)

    cancel = start(call_back)
    try:
        return await result
    except asyncio.CancelledError:
        # One that has called back has ended, and the task is cancelled before it runs again.
        if result.cancelled():
            cancel()
        raise


# ---- reads of a transport -------------------------------------------------------------------

#: How much a plain transport should read at a time, in its attribute `max_size`. asyncio's own is
#: 256 KiB, which the allocator finds and gives back for each message of a few.
READ_SIZE: Final = 16 * 1024

# ---- the switch interval --------------------------------------------------------------------
# Python lets a thread run for 5 ms before it switches to one that waits, and the loop waits anew
# after each of the system calls that it makes for one request.

_SHORT_INTERVAL: Final = 0.001


class SwitchInterval:
    """The interpreter's switch interval, shortened while a thread computes for long.

    It belongs to the process, so a process makes one object and shares it. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shortened = 0
        self._before = 0.0

    @contextmanager
    def shortened(self) -> Iterator[None]:
        """While this lasts no thread waits longer than 1 ms for another one that computes.

        Blocks may overlap, in one thread or several: the first sets the interval, and the last
        restores the one before. Not for always: each switch costs both threads.
        """
        with self._lock:
            if not self._shortened:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(_SHORT_INTERVAL)
            self._shortened += 1
        try:
            yield
        finally:
            with self._lock:
                self._shortened -= 1
                if not self._shortened:
                    sys.setswitchinterval(self._before)


# ---- a race of two --------------------------------------------------------------------------


async def first_completed(
    first: Coroutine[None, None, object], second: Coroutine[None, None, object]
) -> None:
    """Run both; return when the first has completed and the other is cancelled."""
    async with asyncio.TaskGroup() as group:
        tasks = group.create_task(first), group.create_task(second)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
