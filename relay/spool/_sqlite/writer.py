"""The one thread that writes: it gathers what waits, commits once, and only then answers.

When the disk is full it takes nothing in, and goes on writing down what came of what it has: for
that the ballast is let go. Once there is room for the ballast again, it takes in again.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final, TypeVar

import apsw

from relay.errors import RelayError, SpoolUnavailable
from relay.spool import SpoolFull, SpoolOverloaded
from relay.spool._sqlite.ballast import Ballast
from relay.spool._sqlite.connections import leave_log
from relay.spool._sqlite.faults import Soundness, no_room

T = TypeVar("T")

Work = Callable[[apsw.Connection], T]

# A commit costs about as much as ten writes do. When so many came together the last time, more
# are on their way, and waiting this many seconds for them pays.
_COMPANY: Final = 4
_GATHER: Final = 0.005
# Past this the disk is not keeping up, and a sender is better told so while it still listens.
_WAITING: Final = 10_000
_TOGETHER: Final = 512
# Answers in one turn of the event loop.
_AT_ONCE: Final = 16
# Pages of write-ahead log, 16 MiB; fewer, longer checkpoints write a busy page less often.
_CHECKPOINT: Final = 4000
_PAGE: Final = 4096
# Seconds between attempts to have room again.
_AGAIN: Final = 1.0


#: Is told in the event loop what came of work, even when nobody waits for it any more; None when
#: nothing did.
Then = Callable[[T | None], None]


class _Job:
    """Work that somebody waits for, and what came of it."""

    __slots__ = ("error", "future", "intake", "result", "then", "work")

    def __init__(
        self,
        work: Work[Any],
        future: asyncio.Future[Any],
        *,
        intake: bool,
        then: Then[Any] | None,
    ) -> None:
        self.work = work
        self.future = future
        self.intake = intake
        self.then = then
        self.result: Any = None
        self.error: Exception | None = None

    def answer(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell who waits; nobody may be waiting any more."""
        self._tell()
        if self.then is not None:
            # In its turn: who waits goes first, and has answered its sender by then.
            loop.call_soon(self.then, self.result if self.error is None else None)

    def _tell(self) -> None:
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
        ballast: Ballast,
        *,
        waiting: int = _WAITING,
    ) -> None:
        self._connection = connection
        self._soundness = soundness
        self._still_there = still_there
        self._ballast = ballast
        self._tried = -_AGAIN
        self._together = 0
        self._waiting = waiting
        self._jobs: deque[_Job] = deque()
        self._awake = threading.Condition()
        self._closing = False
        self._ending = threading.Event()
        self._log_pages = 0
        # Its own checkpoints would hide a failed sync; see _checkpoint.
        connection.set_wal_hook(self._logged)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._serve, name="spool-writer", daemon=True)
        self._thread.start()

    def submit(
        self, work: Work[T], *, intake: bool = False, then: Then[T] | None = None
    ) -> asyncio.Future[T]:
        """Hand work in; its future ends when the commit has been synced.

        A future that is cancelled, or given an end, before its turn comes takes its work with it.

        intake: it brings something new, and is refused while the disk is full.

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
            self._jobs.append(_Job(work, future, intake=intake, then=then))
            self._awake.notify()
        return future

    async def run(self, work: Work[T], *, intake: bool = False, then: Then[T] | None = None) -> T:
        """Return what the work returns, once it has been synced.

        Raises:
            SpoolUnavailable: nothing of it has been stored.
        """
        return await self.submit(work, intake=intake, then=then)

    async def close(self) -> None:
        """Take no more work, finish what was handed in, close the connection."""
        with self._awake:
            self._closing = True
            self._ending.set()
            self._awake.notify()
        await asyncio.to_thread(self._thread.join)

    def _serve(self) -> None:
        while jobs := self._take():
            self._work(jobs)
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(_answer, jobs, self._loop)
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
        if self._together >= _COMPANY:
            self._ending.wait(_GATHER)
        with self._awake:
            jobs = [self._jobs.popleft() for _ in range(min(len(self._jobs), _TOGETHER))]
        self._together = len(jobs)
        return jobs

    def _work(self, jobs: list[_Job]) -> None:
        """Do these; each has its result or its error afterwards."""
        if self._has_room() and self._commit(jobs):
            return
        settling = [job for job in jobs if not job.intake]
        self._fail([job for job in jobs if job.intake], SpoolFull("the disk is full"))
        if settling:
            self._ballast.release()
            if not self._commit(settling):
                self._fail(settling, SpoolFull("the disk is full, and the ballast is used up"))

    def _has_room(self) -> bool:
        """Return whether anything new may be taken in; now and then, try to have room again."""
        if not self._ballast.spent:
            return True
        now = monotonic()
        if now - self._tried < _AGAIN:
            return False
        self._tried = now
        return self._ballast.hold()

    def _commit(self, jobs: list[_Job]) -> bool:
        """Do these in one transaction; return False, and nothing is done, when the disk is full."""
        try:
            self._check()
            self._connection.execute("BEGIN IMMEDIATE")
            for job in jobs:
                self._do(job)
            self._connection.execute("COMMIT")
        except apsw.Error as error:
            if no_room(error, self._connection.system_errno):
                return False
            self._fail(jobs, self._soundness.judge(error, self._connection))
        except RelayError as error:
            self._fail(jobs, error)
        except Exception as error:  # noqa: BLE001 - whoever waits must be told, whatever it is
            self._fail(jobs, self._soundness.condemn(f"the writer failed: {error!r}"))
        finally:
            self._end()
        return True

    def _check(self) -> None:
        self._soundness.check()
        if not self._still_there():
            raise self._soundness.condemn("its file was removed or replaced")

    def _do(self, job: _Job) -> None:
        """Run one job; raise only what concerns the whole transaction."""
        job.error = None
        if job.future.done():
            # Whoever wanted it has gone, or has run out of time.
            return
        try:
            job.result = job.work(self._connection)
        except apsw.Error as error:
            if no_room(error, self._connection.system_errno):
                raise
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
        # The ballast has to hold a log that is full and the database that takes it in.
        enough = min(_CHECKPOINT, self._ballast.size // (2 * _PAGE))
        if self._log_pages < enough or self._soundness.broken:
            return
        self._log_pages = 0
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:
            self._soundness.judge(error, self._connection)


def _answer(jobs: Sequence[_Job], loop: asyncio.AbstractEventLoop) -> None:
    """Tell who waits, a few in each turn of the loop: what they do next would hold it up."""
    for job in jobs[:_AT_ONCE]:
        job.answer(loop)
    if jobs[_AT_ONCE:]:
        loop.call_soon(_answer, jobs[_AT_ONCE:], loop)
