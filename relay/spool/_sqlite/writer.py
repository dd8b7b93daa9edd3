"""The one thread that writes: it gathers what waits, commits once, and only then answers."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

import apsw

from relay.errors import RelayError, SpoolUnavailable
from relay.spool import SpoolOverloaded
from relay.spool._sqlite.connections import leave_log
from relay.spool._sqlite.faults import Soundness

T = TypeVar("T")

Work = Callable[[apsw.Connection], T]

# Past this the disk is not keeping up, and a sender is better told so while it still listens.
_WAITING: Final = 10_000
_TOGETHER: Final = 512
# Pages of write-ahead log, 16 MiB; fewer, longer checkpoints write a busy page less often.
_CHECKPOINT: Final = 4000


class _Job:
    """Work that somebody waits for, and what came of it."""

    __slots__ = ("error", "future", "result", "work")

    def __init__(self, work: Work[Any], future: asyncio.Future[Any]) -> None:
        self.work = work
        self.future = future
        self.result: Any = None
        self.error: Exception | None = None

    def answer(self) -> None:
        """Tell who waits; nobody may be waiting any more."""
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class Writer:
    """Runs work on one connection, in the order given, many together in one transaction.

    Work is called inside a transaction and may run several statements only within a savepoint of
    its own (`with connection:`), so that its failure leaves the work beside it alone.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        soundness: Soundness,
        still_there: Callable[[], bool],
        *,
        waiting: int = _WAITING,
    ) -> None:
        self._connection = connection
        self._soundness = soundness
        self._still_there = still_there
        self._waiting = waiting
        self._jobs: deque[_Job] = deque()
        self._awake = threading.Condition()
        self._closing = False
        self._log_pages = 0
        # Its own checkpoints would hide a failed sync; see _checkpoint.
        connection.set_wal_hook(self._logged)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._serve, name="spool-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work[T]) -> asyncio.Future[T]:
        """Hand work in; its future ends when the commit has been synced.

        A future that is cancelled before its turn comes takes its work with it.

        Raises:
            SpoolUnavailable: closed, broken, or too much is waiting.
        """
        self._soundness.check()
        future: asyncio.Future[T] = self._loop.create_future()
        with self._awake:
            if self._closing:
                raise SpoolUnavailable("the spool is closed")
            if len(self._jobs) >= self._waiting:
                raise SpoolOverloaded(f"{self._waiting} writes are waiting for the disk")
            self._jobs.append(_Job(work, future))
            self._awake.notify()
        return future

    async def run(self, work: Work[T]) -> T:
        """Return what the work returns, once it has been synced.

        Raises:
            SpoolUnavailable: nothing of it has been stored.
        """
        return await self.submit(work)

    async def close(self) -> None:
        """Take no more work, finish what was handed in, close the connection."""
        with self._awake:
            self._closing = True
            self._awake.notify()
        await asyncio.to_thread(self._thread.join)

    def _serve(self) -> None:
        while jobs := self._take():
            self._commit(jobs)
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(_answer, jobs)
            self._checkpoint()
        if self._soundness.broken:
            # A checkpoint on closing would sync again what has failed to sync.
            leave_log(self._connection)
        self._connection.close()

    def _take(self) -> list[_Job]:
        """Wait for work; return nothing when there will be no more."""
        with self._awake:
            while not self._jobs and not self._closing:
                self._awake.wait()
            return [self._jobs.popleft() for _ in range(min(len(self._jobs), _TOGETHER))]

    def _commit(self, jobs: list[_Job]) -> None:
        """Do these in one transaction; each has its result or its error afterwards."""
        try:
            self._check()
            self._connection.execute("BEGIN IMMEDIATE")
            for job in jobs:
                self._do(job)
            self._connection.execute("COMMIT")
        except apsw.Error as error:
            self._fail(jobs, self._soundness.judge(error, self._connection))
        except RelayError as error:
            self._fail(jobs, error)
        except Exception as error:  # noqa: BLE001 - whoever waits must be told, whatever it is
            self._fail(jobs, self._soundness.condemn(f"the writer failed: {error!r}"))
        finally:
            self._end()

    def _check(self) -> None:
        self._soundness.check()
        if not self._still_there():
            raise self._soundness.condemn("its file was removed or replaced")

    def _do(self, job: _Job) -> None:
        """Run one job; raise only what concerns the whole transaction."""
        if job.future.cancelled():
            return
        try:
            job.result = job.work(self._connection)
        except apsw.Error as error:
            job.error = self._soundness.judge(error, self._connection)
            if self._soundness.broken or not self._connection.in_transaction:
                raise
        except Exception as error:  # noqa: BLE001 - it belongs to whoever handed the work in
            job.error = error

    def _fail(self, jobs: list[_Job], error: RelayError) -> None:
        for job in jobs:
            # One exception each: raising it writes a traceback into it.
            job.error = type(error)(*error.args)

    def _end(self) -> None:
        """Leave no transaction open."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except apsw.Error as error:
            self._soundness.judge(error, self._connection)

    def _logged(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        """Move the log into the database when it has grown, after the answers have gone out.

        SQLite's own checkpoints ignore a sync that fails; the next one may then succeed with
        pages missing, and drop the log that still had them.
        """
        if self._log_pages < _CHECKPOINT or self._soundness.broken:
            return
        self._log_pages = 0
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:
            self._soundness.judge(error, self._connection)


def _answer(jobs: list[_Job]) -> None:
    for job in jobs:
        job.answer()
