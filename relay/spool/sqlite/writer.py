"""Group commit: one thread takes all waiting writes, commits them once, then resolves them.

On a full disk, new events are refused and outcomes of stored ones are still written: the ballast is
released for that (reserved space, `disk`). Once there is space for the ballast again, new events
are accepted again.
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
from relay.spool.sqlite.database import StoreHealth, is_disk_full, keep_log_on_close
from relay.spool.sqlite.disk import Ballast

T = TypeVar("T")

# ---- the queue of write requests ------------------------------------------------------------

Work = Callable[[apsw.Connection], T]

#: Called on the event loop with the result of work, also where its future has ended before; with
#: None where the work failed.
OnCommit = Callable[[T | None], None]

#: The most requests in one transaction.
BATCH_SIZE: Final = 512

# A commit costs about as much as ten writes do. When so many came together the last time, more
# are on their way, and waiting this many seconds for them pays.
_GROUP_MIN: Final = 4
_BATCH_WINDOW: Final = 0.005
# Seconds that deferrable work may wait for other work.
_DEFER_TIMEOUT: Final = 0.005


class WriteRequest:
    """One piece of work, its future, and its result or error.

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
        on_commit: OnCommit[Any] | None = None,
    ) -> None:
        self.work = work
        self.future = future
        self.is_intake = is_intake
        self.deferrable = deferrable
        self.on_commit = on_commit
        self.result: Any = None
        self.error: Exception | None = None

    def resolve(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the future, if it has not ended, and schedule `on_commit`."""
        self._resolve_future()
        if self.on_commit is not None:
            # An iteration later: the waiter goes first, and has answered its sender by then.
            loop.call_soon(self.on_commit, self.result if self.error is None else None)

    def _resolve_future(self) -> None:
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class WriteQueue:
    """Write requests in the order given, from the event loop to one thread."""

    def __init__(self, capacity: int) -> None:
        """Start empty. `capacity`: how many may wait. Made inside a running event loop."""
        self._capacity = capacity
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[WriteRequest] = deque()
        self._due = False
        self._condition = threading.Condition()
        self._closed = threading.Event()
        self._defer_timer: asyncio.TimerHandle | None = None
        self._last_group = 0

    def put(self, request: WriteRequest) -> None:
        """Append a request.

        Raises:
            SpoolUnavailable: the queue is closed, or full.
        """
        with self._condition:
            if self._closed.is_set():
                raise SpoolUnavailable("the spool is closed")
            if len(self._waiting) >= self._capacity:
                raise SpoolOverloaded(f"{self._capacity} writes are waiting for the disk")
            self._waiting.append(request)
            if not request.deferrable or len(self._waiting) >= _GROUP_MIN:
                self._due = True
                self._condition.notify()
        if request.deferrable and self._defer_timer is None:
            self._defer_timer = self._loop.call_later(_DEFER_TIMEOUT, self._on_defer_timeout)

    def take(self) -> list[WriteRequest]:
        """Block until requests are due and return them; nothing once it is closed and empty."""
        with self._condition:
            while not self._due and not self._closed.is_set():
                self._condition.wait()
        if self._last_group >= _GROUP_MIN:
            self._closed.wait(_BATCH_WINDOW)
        with self._condition:
            taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_SIZE))]
            self._due = bool(self._waiting)
        # Deferrable requests do not predict others: waiting for more would hold those up.
        self._last_group = sum(not request.deferrable for request in taken)
        return taken

    def close(self) -> None:
        """Refuse new requests. Those that wait are due."""
        with self._condition:
            self._closed.set()
            self._condition.notify()

    def _on_defer_timeout(self) -> None:
        self._defer_timer = None
        with self._condition:
            if self._waiting:
                self._due = True
                self._condition.notify()


# ---- the writing thread ---------------------------------------------------------------------

# Past this the disk is not keeping up, and a sender is better told so while it still listens.
_MAX_WAITING: Final = 10_000
# Requests that are resolved in one iteration of the event loop.
_CALLBACKS_PER_STEP: Final = 16
# Pages of write-ahead log, 16 MiB; fewer, longer checkpoints write a busy page less often.
_CHECKPOINT: Final = 4000
_PAGE: Final = 4096
# Seconds between tries to allocate the ballast again.
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
        file_unchanged: Callable[[], bool],
        ballast: Ballast,
        *,
        waiting: int = _MAX_WAITING,
    ) -> None:
        self._connection = connection
        self._health = health
        self._file_unchanged = file_unchanged
        self._ballast = ballast
        self._reserve_tried_at = -_RETRY_INTERVAL
        self._queue = WriteQueue(waiting)
        self._log_pages = 0
        # Its own checkpoints would hide a failed sync; see _checkpoint.
        connection.set_wal_hook(self._on_log_growth)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="spool-writer", daemon=True)
        self._thread.start()

    def submit(
        self,
        work: Work[T],
        *,
        is_intake: bool = False,
        deferrable: bool = False,
        on_commit: OnCommit[T] | None = None,
    ) -> asyncio.Future[T]:
        """Queue work; its future ends when the commit has been synced.

        Work is dropped if its future has ended or been cancelled before it runs.

        is_intake: it stores something new, and is refused while the disk is full.
        deferrable: it may run a moment later, together with other work.

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
        """Refuse new work, finish what was submitted, close the connection."""
        self._queue.close()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while requests := self._queue.take():
            self._write(requests)
            with suppress(RuntimeError):  # the loop is closed: there are no waiters
                self._loop.call_soon_threadsafe(_resolve, requests, self._loop)
            self._checkpoint()
        if self._health.broken:
            # A checkpoint on closing would sync again what has failed to sync.
            keep_log_on_close(self._connection)
        self._connection.close()

    def _write(self, requests: list[WriteRequest]) -> None:
        """Run these requests; each has its result or its error afterwards."""
        if self._has_space() and self._commit(requests):
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

    def _has_space(self) -> bool:
        """Return whether new events may be stored; now and then, try to allocate the ballast."""
        if not self._ballast.spent:
            return True
        now = monotonic()
        if now - self._reserve_tried_at < _RETRY_INTERVAL:
            return False
        self._reserve_tried_at = now
        return self._ballast.reserve()

    def _commit(self, requests: list[WriteRequest]) -> bool:
        """Run these in one transaction; return False, with nothing done, when the disk is full."""
        if not self._health.broken and not self._file_unchanged():
            self._health.mark_broken("its file was removed or replaced")
        if self._health.broken:
            self._fail(requests, self._health.failure)
            return True
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for request in requests:
                self._execute(request)
            self._connection.execute("COMMIT")
        except apsw.Error as error:
            if is_disk_full(error, self._connection.system_errno):
                return False
            self._fail(requests, partial(self._health.classify, error, self._connection))
        except Exception as error:  # noqa: BLE001 - every waiter must get an answer
            self._health.mark_broken(f"the writer failed: {error!r}")
            self._fail(requests, self._health.failure)
        finally:
            self._roll_back()
        return True

    def _execute(self, request: WriteRequest) -> None:
        """Run one request; raise only what concerns the whole transaction."""
        request.error = None
        if request.future.done():
            # Its caller was cancelled, or has run out of time.
            return
        try:
            request.result = request.work(self._connection)
        except apsw.Error as error:
            if is_disk_full(error, self._connection.system_errno):
                raise
            request.error = self._health.classify(error, self._connection)
            if self._health.broken or not self._connection.in_transaction:
                raise
        except Exception as error:  # noqa: BLE001 - it belongs to the caller of the work
            request.error = error

    @staticmethod
    def _fail(requests: list[WriteRequest], error: Callable[[], SpoolUnavailable]) -> None:
        for request in requests:
            # One exception each: raising it writes a traceback into it.
            request.error = error()

    def _roll_back(self) -> None:
        """Roll back a transaction that is still open."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except apsw.Error as error:
            self._health.classify(error, self._connection)

    def _on_log_growth(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
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


def _resolve(requests: Sequence[WriteRequest], loop: asyncio.AbstractEventLoop) -> None:
    """Resolve these, a few in each iteration of the loop: what their waiters do next takes time."""
    for request in requests[:_CALLBACKS_PER_STEP]:
        request.resolve(loop)
    if requests[_CALLBACKS_PER_STEP:]:
        loop.call_soon(_resolve, requests[_CALLBACKS_PER_STEP:], loop)
