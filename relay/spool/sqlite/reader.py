"""The reading thread, and the low-priority integrity check of the whole file."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Final, TypeVar

import apsw

from relay.core.errors import SpoolUnavailable
from relay.spool.sqlite.database import StoreHealth

T = TypeVar("T")

# ---- the reading thread ---------------------------------------------------------------------


class Reader:
    """Runs work on a read-only connection, in a thread of its own, one after the other."""

    def __init__(self, connection: apsw.Connection, health: StoreHealth) -> None:
        self._connection = connection
        self._health = health
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool-reader")
        self._closed = False

    async def run(self, work: Callable[[apsw.Connection], T]) -> T:
        """Return what the work returns.

        Raises:
            SpoolUnavailable: closed, broken, or not possible now.
        """
        self._check()
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._execute, work)

    async def run_apart(
        self, connect: Callable[[], apsw.Connection], work: Callable[[apsw.Connection], T]
    ) -> T:
        """Do as `run` on a connection of its own: no other work waits for this, that takes long.

        Raises:
            SpoolUnavailable: as `run`.
        """

        def execute() -> T:
            with closing(connect()) as connection:
                return self._execute(work, connection)

        self._check()
        return await asyncio.to_thread(execute)

    def _check(self) -> None:
        self._health.check()
        if self._closed:
            raise SpoolUnavailable("the spool is closed")

    async def close(self) -> None:
        """Finish the work that was submitted, and close the connection."""
        if not self._closed:
            self._closed = True
            self._thread.submit(self._connection.close)
        await asyncio.to_thread(self._thread.shutdown)

    def _execute(
        self, work: Callable[[apsw.Connection], T], connection: apsw.Connection | None = None
    ) -> T:
        connection = connection or self._connection
        try:
            return work(connection)
        except apsw.Error as error:
            raise self._health.classify(error, connection) from error


# ---- low-priority work on the file ----------------------------------------------------------
# While it reads, SQLite's log cannot be reset. On a machine without idle time that would go on for
# as long as the load does, so work that holds the log up for too long is restarted at normal
# priority.

#: The niceness of work without a deadline.
LOWEST_PRIORITY: Final = 19

# Seconds between checks whether it has held the log up for too long.
_POLL_INTERVAL: Final = 0.25


async def run_at_low_priority(
    connect: Callable[[], apsw.Connection],
    work: Callable[[apsw.Connection], T],
    *,
    too_long: Callable[[], bool],
) -> T:
    """Return what the work returns, or raise what it raises. Cancelling interrupts the work.

    work: is called in a thread of its own, and ends early when its connection is interrupted.
    too_long: whether to interrupt it and restart it at normal priority.
    """
    connection = await asyncio.to_thread(connect)
    try:
        try:
            return await _run_in_thread(connection, work, _lower_priority, too_long)
        except _TooLong:
            return await _run_in_thread(connection, work, _keep_priority, _never)
    finally:
        connection.close()


class _TooLong(Exception):
    """The work was interrupted."""


async def _run_in_thread(
    connection: apsw.Connection,
    work: Callable[[apsw.Connection], T],
    set_priority: Callable[[], None],
    too_long: Callable[[], bool],
) -> T:
    # A thread each time: a low priority cannot be taken back.
    thread = ThreadPoolExecutor(1, "spool-aside", initializer=set_priority)
    working = asyncio.get_running_loop().run_in_executor(thread, work, connection)
    try:
        while not working.done():
            await asyncio.wait([working], timeout=_POLL_INTERVAL)
            if not working.done() and too_long():
                raise _TooLong
        return working.result()
    finally:
        # An interrupt that comes before the statement has started is lost.
        while not working.done():
            connection.interrupt()
            await asyncio.wait([working], timeout=_POLL_INTERVAL)
        if not working.cancelled():
            working.exception()
        thread.shutdown(wait=False)


def _lower_priority() -> None:
    """Give this thread the lowest priority, where a thread can have its own (Linux).

    A sandbox may forbid it; then the work goes on at the priority of the process.
    """
    if sys.platform == "linux":
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)


def _keep_priority() -> None:
    """Run at the priority of the process."""


def _never() -> bool:
    return False
