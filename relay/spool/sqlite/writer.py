"""Group commit: one thread gathers what waits, commits once, and only then answers.

When the disk is full it takes nothing in, and goes on writing down what came of what it has: for
that the ballast is let go. Once there is room for the ballast again, it takes in again.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, Final, TypeVar

import apsw

from relay.core.errors import SpoolUnavailable
from relay.spool import SpoolFull, SpoolOverloaded
from relay.spool.sqlite.database import StoreHealth, leave_log, no_room
from relay.spool.sqlite.disk import Ballast

T = TypeVar("T")

# ---- the queue of write requests ------------------------------------------------------------

Work = Callable[[apsw.Connection], T]

#: Is told in the event loop what came of work, even when nobody waits for it any more; None when
#: nothing did.
Then = Callable[[T | None], None]

#: At most so many in one transaction.
BATCH_SIZE: Final = 512

# A commit costs about as much as ten writes do. When so many came together the last time, more
# are on their way, and waiting this many seconds for them pays.
_GROUP_MIN: Final = 4
_BATCH_WINDOW: Final = 0.005
# So long, in seconds, work may wait for other work that nobody is asked to wait for.
_DEFER_TIMEOUT: Final = 0.005


class WriteRequest:
    """Work that somebody waits for, and what came of it.

    deferrable: it may wait a moment, for a request that is not, or for a few of its kind.
    on_commit: called on the event loop with the result, or None where the write failed.
    """

    __slots__ = ("deferrable", "error", "future", "is_intake", "on_commit", "result", "work")

    def __init__(
        self,
        work: Work[Any],
        future: asyncio.Future[Any],
        *,
        is_intake: bool = False,
        deferrable: bool = False,
        on_commit: Then[Any] | None = None,
    ) -> None:
        self.work = work
        self.future = future
        self.is_intake = is_intake
        self.deferrable = deferrable
        self.on_commit = on_commit
        self.result: Any = None
        self.error: Exception | None = None

    def answer(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell who waits; nobody may be waiting any more."""
        self._tell()
        if self.on_commit is not None:
            # In its turn: who waits goes first, and has answered its sender by then.
            loop.call_soon(self.on_commit, self.result if self.error is None else None)

    def _tell(self) -> None:
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class WriteQueue:
    """Jobs in the order given: the event loop puts them in, and one thread takes them out."""

    def __init__(self, most: int) -> None:
        """Begin with none. `most`: how many may wait. Made inside a running event loop."""
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[WriteRequest] = deque()
        self._due = False
        self._awake = threading.Condition()
        self._closed = threading.Event()
        self._patience: asyncio.TimerHandle | None = None
        self._together = 0

    def put(self, request: WriteRequest) -> None:
        """Let it wait for its turn.

        Raises:
            SpoolUnavailable: nothing more is taken, or too much is waiting.
        """
        with self._awake:
            if self._closed.is_set():
                raise SpoolUnavailable("the spool is closed")
            if len(self._waiting) >= self._most:
                raise SpoolOverloaded(f"{self._most} writes are waiting for the disk")
            self._waiting.append(request)
            if not request.deferrable or len(self._waiting) >= _GROUP_MIN:
                self._due = True
                self._awake.notify()
        if request.deferrable and self._patience is None:
            self._patience = self._loop.call_later(_DEFER_TIMEOUT, self._has_waited)

    def take(self) -> list[WriteRequest]:
        """Wait for some whose turn has come; return nothing when there will be no more."""
        with self._awake:
            while not self._due and not self._closed.is_set():
                self._awake.wait()
        if self._together >= _GROUP_MIN:
            self._closed.wait(_BATCH_WINDOW)
        with self._awake:
            taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_SIZE))]
            self._due = bool(self._waiting)
        # What is in no hurry says nothing of those that are: waiting for more would hold these up.
        self._together = sum(not request.deferrable for request in taken)
        return taken

    def close(self) -> None:
        """Take nothing more in. What waits is due."""
        with self._awake:
            self._closed.set()
            self._awake.notify()

    def _has_waited(self) -> None:
        self._patience = None
        with self._awake:
            if self._waiting:
                self._due = True
                self._awake.notify()


# ---- the writing thread ---------------------------------------------------------------------

# Past this the disk is not keeping up, and a sender is better told so while it still listens.
_MAX_WAITING: Final = 10_000
# Answers in one turn of the event loop.
_CALLBACKS_PER_STEP: Final = 16
# Pages of write-ahead log, 16 MiB; fewer, longer checkpoints write a busy page less often.
_CHECKPOINT: Final = 4000
_PAGE: Final = 4096
# Seconds between attempts to have room again.
_RETRY_INTERVAL: Final = 1.0


class Writer:
    """Runs work on one connection, in the order given, many together in one transaction.

    Work is called inside a transaction and may run several statements only within a savepoint of
    its own (`with connection:`), so that its failure leaves the work beside it alone.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        health: StoreHealth,
        still_there: Callable[[], bool],
        ballast: Ballast,
        *,
        waiting: int = _MAX_WAITING,
    ) -> None:
        self._connection = connection
        self._health = health
        self._still_there = still_there
        self._ballast = ballast
        self._tried = -_RETRY_INTERVAL
        self._queue = WriteQueue(waiting)
        self._log_pages = 0
        # Its own checkpoints would hide a failed sync; see _checkpoint.
        connection.set_wal_hook(self._logged)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._serve, name="spool-writer", daemon=True)
        self._thread.start()

    def submit(
        self,
        work: Work[T],
        *,
        is_intake: bool = False,
        deferrable: bool = False,
        on_commit: Then[T] | None = None,
    ) -> asyncio.Future[T]:
        """Hand work in; its future ends when the commit has been synced.

        A future that is cancelled, or given an end, before its turn comes takes its work with it.

        is_intake: it brings something new, and is refused while the disk is full.
        deferrable: its turn may come a moment later, together with other work.

        Raises:
            SpoolUnavailable: closed, broken, or too much is waiting.
        """
        self._health.check()
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(
            WriteRequest(
                work, future, is_intake=is_intake, deferrable=deferrable, on_commit=on_commit
            )
        )
        return future

    async def run(self, work: Work[T], *, is_intake: bool = False, deferrable: bool = False) -> T:
        """Return what the work returns, once it has been synced.

        Raises:
            SpoolUnavailable: nothing of it has been stored.
        """
        return await self.submit(work, is_intake=is_intake, deferrable=deferrable)

    async def close(self) -> None:
        """Take no more work, finish what was handed in, close the connection."""
        self._queue.close()
        await asyncio.to_thread(self._thread.join)

    def _serve(self) -> None:
        while requests := self._queue.take():
            self._work(requests)
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(_answer, requests, self._loop)
            self._checkpoint()
        if self._health.broken:
            # A checkpoint on closing would sync again what has failed to sync.
            leave_log(self._connection)
        self._connection.close()

    def _work(self, requests: list[WriteRequest]) -> None:
        """Do these; each has its result or its error afterwards."""
        if self._has_room() and self._commit(requests):
            return
        settling = [request for request in requests if not request.is_intake]
        self._fail(
            [request for request in requests if request.is_intake],
            partial(SpoolFull, "the disk is full"),
        )
        if settling:
            self._ballast.release()
            if not self._commit(settling):
                full = partial(SpoolFull, "the disk is full, and the ballast is used up")
                self._fail(settling, full)

    def _has_room(self) -> bool:
        """Return whether anything new may be taken in; now and then, try to have room again."""
        if not self._ballast.spent:
            return True
        now = monotonic()
        if now - self._tried < _RETRY_INTERVAL:
            return False
        self._tried = now
        return self._ballast.hold()

    def _commit(self, requests: list[WriteRequest]) -> bool:
        """Do these in one transaction; return False, and nothing is done, when the disk is full."""
        if not self._health.broken and not self._still_there():
            self._health.mark_broken("its file was removed or replaced")
        if self._health.broken:
            self._fail(requests, self._health.failure)
            return True
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for request in requests:
                self._do(request)
            self._connection.execute("COMMIT")
        except apsw.Error as error:
            if no_room(error, self._connection.system_errno):
                return False
            self._fail(requests, partial(self._health.classify, error, self._connection))
        except Exception as error:  # noqa: BLE001 - whoever waits must be told, whatever it is
            self._health.mark_broken(f"the writer failed: {error!r}")
            self._fail(requests, self._health.failure)
        finally:
            self._end()
        return True

    def _do(self, request: WriteRequest) -> None:
        """Run one job; raise only what concerns the whole transaction."""
        request.error = None
        if request.future.done():
            # Whoever wanted it has gone, or has run out of time.
            return
        try:
            request.result = request.work(self._connection)
        except apsw.Error as error:
            if no_room(error, self._connection.system_errno):
                raise
            request.error = self._health.classify(error, self._connection)
            if self._health.broken or not self._connection.in_transaction:
                raise
        except Exception as error:  # noqa: BLE001 - it belongs to whoever handed the work in
            request.error = error

    @staticmethod
    def _fail(requests: list[WriteRequest], error: Callable[[], SpoolUnavailable]) -> None:
        for request in requests:
            # One exception each: raising it writes a traceback into it.
            request.error = error()

    def _end(self) -> None:
        """Leave no transaction open."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except apsw.Error as error:
            self._health.classify(error, self._connection)

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
        if self._log_pages < enough or self._health.broken:
            return
        self._log_pages = 0
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:
            self._health.classify(error, self._connection)


def _answer(requests: Sequence[WriteRequest], loop: asyncio.AbstractEventLoop) -> None:
    """Tell who waits, a few in each turn of the loop: what they do next would hold it up."""
    for request in requests[:_CALLBACKS_PER_STEP]:
        request.answer(loop)
    if requests[_CALLBACKS_PER_STEP:]:
        loop.call_soon(_answer, requests[_CALLBACKS_PER_STEP:], loop)
