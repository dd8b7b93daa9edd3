"""The one thread that reads, so that a long look at the history holds up nobody."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import apsw

from relay.errors import SpoolUnavailable
from relay.spool._sqlite.faults import Soundness

T = TypeVar("T")


class Reader:
    """Runs work on a connection that cannot write, one after the other."""

    def __init__(self, connection: apsw.Connection, soundness: Soundness) -> None:
        self._connection = connection
        self._soundness = soundness
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool-reader")
        self._closed = False

    async def run(self, work: Callable[[apsw.Connection], T]) -> T:
        """Return what the work returns.

        Raises:
            SpoolUnavailable: closed, broken, or not possible now.
        """
        self._soundness.check()
        if self._closed:
            raise SpoolUnavailable("the spool is closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._do, work)

    async def close(self) -> None:
        """Finish what was begun and close the connection."""
        if not self._closed:
            self._closed = True
            self._thread.submit(self._connection.close)
        await asyncio.to_thread(self._thread.shutdown)

    def _do(self, work: Callable[[apsw.Connection], T]) -> T:
        try:
            return work(self._connection)
        except apsw.Error as error:
            raise self._soundness.judge(error, self._connection) from error
