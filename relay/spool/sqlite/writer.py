"""Group commit: the event loop gathers writes, one thread commits them together, all are answered.

What is gathered belongs to the event loop alone. At most one batch is with the thread: it goes
there by one `SimpleQueue.put`, and its answers come back by one `call_soon_threadsafe`.

On a full disk, new events are refused and outcomes of stored ones are still written: the ballast is
released for that (reserved space, `disk`). Once there is space for the ballast again, new events
are accepted again.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import chain
from queue import SimpleQueue
from time import monotonic
from typing import Any, Final, TypeVar

import apsw

from relay.core.errors import SpoolUnavailable
from relay.core.event import Lease
from relay.spool import SpoolFull, SpoolOverloaded
from relay.spool.sqlite import intake, queue
from relay.spool.sqlite.checkpoints import Checkpoints
from relay.spool.sqlite.database import StoreHealth, is_disk_full, keep_log_on_close
from relay.spool.sqlite.disk import Ballast
from relay.spool.sqlite.events import Tables, Tally
from relay.spool.sqlite.intake import NewEvent
from relay.spool.sqlite.queue import Settlements

T = TypeVar("T")

# ---- what is written ------------------------------------------------------------------------

Work = Callable[[apsw.Connection], T]


class WriteRequest:
    """One piece of work besides storing and settling, its future, and its result or error."""

    __slots__ = ("error", "future", "is_intake", "result", "work")

    def __init__(
        self, work: Work[Any], future: asyncio.Future[Any], *, is_intake: bool = False
    ) -> None:
        self.work = work
        self.future = future
        self.is_intake = is_intake
        self.result: Any = None
        self.error: Exception | None = None

    def resolve(self) -> None:
        """End its future, unless its caller has been cancelled."""
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


#: What is answered when it has been written.
Piece = NewEvent | Settlements | WriteRequest


class Batch:
    """What is written in one transaction.

    freed: upstreams, by name, that are served in order and may have more to claim.
    """

    __slots__ = ("freed", "new", "requests", "settled")

    def __init__(
        self, new: list[NewEvent], settled: list[Settlements], requests: list[WriteRequest]
    ) -> None:
        self.new = new
        self.settled = settled
        self.requests = requests
        self.freed: list[str] = []

    def __len__(self) -> int:
        return len(self.new) + len(self.settled) + len(self.requests)

    def outcomes(self) -> "Batch":
        """Return what may be written on a full disk."""
        return Batch([], self.settled, [each for each in self.requests if not each.is_intake])

    def intake(self) -> "Batch":
        """Return what is refused on a full disk."""
        return Batch(self.new, [], [each for each in self.requests if each.is_intake])

    def parts(self) -> "list[Batch]":
        """Return a batch for each piece."""
        return [
            *(Batch([each], [], []) for each in self.new),
            *(Batch([], [each], []) for each in self.settled),
            *(Batch([], [], [each]) for each in self.requests),
        ]

    def fail(self, error: Callable[[], SpoolUnavailable]) -> None:
        """Let none of it be written."""
        pieces: chain[Piece] = chain(self.new, self.settled, self.requests)
        for each in pieces:
            # One exception each: raising it writes a traceback into it.
            each.error = error()
        for new in self.new:
            new.result = None


# ---- the writer -----------------------------------------------------------------------------

#: The most new events in one transaction.
BATCH_SIZE: Final = 512

# Past this the disk is not keeping up, and a sender is better told so while it still listens.
_MAX_WAITING: Final = 10_000
# A commit costs about as much as ten writes do. When so many came together the last time, more
# are on their way, and waiting this many seconds for them pays.
_GROUP_MIN: Final = 4
_BATCH_WINDOW: Final = 0.005
# Seconds that outcomes wait for new events to be written with.
_DEFER_TIMEOUT: Final = 0.02
_CALLBACKS_PER_STEP: Final = 16  # answers in one iteration of the event loop
# Pages of write-ahead log, 16 MiB; fewer, longer checkpoints write a busy page less often.
_CHECKPOINT: Final = 4000
_PAGE: Final = 4096
# Errors that may be about one piece of a batch, and not about the file.
_OF_ONE: Final = (apsw.ConstraintError, apsw.TooBigError, apsw.MismatchError, apsw.RangeError)
# Seconds between tries to allocate the ballast again.
_RETRY_INTERVAL: Final = 1.0


class Writer:
    """Stores, settles and runs other work on one connection, many together in one transaction.

    Work is called inside a transaction and may run several statements only within a savepoint of
    its own (`with connection:`), so that its failure leaves the work beside it alone.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        shared: Tables,
        health: StoreHealth,
        file_unchanged: Callable[[], bool],
        ballast: Ballast,
        *,
        notify: Callable[[str], None] = lambda _: None,
        release: Callable[[Lease], None] = lambda _: None,
        waiting: int = _MAX_WAITING,
    ) -> None:
        """Take the parts. Made inside a running event loop.

        notify, release: called on the event loop, with each upstream that may have more to claim
            and with each lease that was refused.
        """
        self._connection = connection
        self._shared = shared
        self._health = health
        self._file_unchanged = file_unchanged
        self._ballast = ballast
        self._notify, self._release = notify, release
        self._capacity = waiting
        self._reserve_tried_at = -_RETRY_INTERVAL
        self._log_pages = 0
        # SQLite's own would hide a failed sync.
        connection.set_wal_hook(self._on_log_growth)
        self._checkpoints = Checkpoints(connection, shared, health)
        self._loop = asyncio.get_running_loop()
        self._new: list[NewEvent] = []
        self._settled: list[Settlements] = []
        self._requests: list[WriteRequest] = []
        # Whether a batch is with the thread; how many new events the last one had.
        self._busy = False
        self._last_group = 0
        self._timer: asyncio.Handle | None = None
        self._deferred = False
        self._closed = False
        self._batches: SimpleQueue[Batch | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="spool-writer", daemon=True)
        self._thread.start()

    def store(self, new: NewEvent) -> None:
        """Store an event with the next batch; it is resolved once the commit has been synced.

        Raises:
            SpoolUnavailable: closed, broken, or too much is waiting.
        """
        self._check()
        self._new.append(new)
        if not self._busy:
            self._plan()

    def settle(self, settled: Settlements, *, urgent: bool) -> None:
        """Settle with one of the next batches; it is resolved once the commit has been synced.

        urgent: with the next one; otherwise it may wait a moment for new events.

        Raises:
            SpoolUnavailable: closed or broken.
        """
        self._check(waiting=False)
        self._settled.append(settled)
        if urgent:
            self._submit()
        else:
            self._defer()

    def submit(self, work: Work[T], *, is_intake: bool = False) -> asyncio.Future[T]:
        """Run work with the next batch; its future ends when the commit has been synced.

        Work is dropped if its future has ended or been cancelled before it runs.

        is_intake: it stores something new, and is refused while the disk is full.

        Raises:
            SpoolUnavailable: closed, broken, or too much is waiting.
        """
        self._check()
        future: asyncio.Future[T] = self._loop.create_future()
        self._requests.append(WriteRequest(work, future, is_intake=is_intake))
        self._submit()
        return future

    async def run(self, work: Work[T], *, is_intake: bool = False) -> T:
        """Return what the work returns, once it has been synced.

        Raises:
            SpoolUnavailable: nothing of it has been stored.
        """
        return await self.submit(work, is_intake=is_intake)

    async def close(self) -> None:
        """Refuse new work, finish what was submitted, close the connection. Idempotent."""
        if not self._closed:
            self._closed = True
            while self._new or self._settled or self._requests:
                self._batches.put(self._take())
            self._batches.put(None)
        await asyncio.to_thread(self._thread.join)

    def _check(self, *, waiting: bool = True) -> None:
        self._health.check()
        if self._closed:
            raise SpoolUnavailable("the spool is closed")
        if waiting and len(self._new) + len(self._requests) >= self._capacity:
            raise SpoolOverloaded(f"{self._capacity} writes are waiting for the disk")

    def _plan(self) -> None:
        """Let the next batch go: soon, or in a moment when many new events came the last time."""
        if self._timer is not None and not self._deferred:
            return
        self._cancel()
        if self._last_group >= _GROUP_MIN:
            self._timer = self._loop.call_later(_BATCH_WINDOW, self._submit)
        else:
            self._timer = self._loop.call_soon(self._submit)

    def _defer(self) -> None:
        """Let outcomes go in a moment, unless anything goes before."""
        if self._timer is None and not self._busy:
            self._timer, self._deferred = self._loop.call_later(_DEFER_TIMEOUT, self._submit), True

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._deferred = None, False

    def _submit(self) -> None:
        """Give the thread its next batch, unless it has one: then that goes first."""
        if self._busy:
            return
        self._cancel()
        batch = self._take()
        if batch:
            self._busy = True
            self._last_group = len(batch.new)
            self._batches.put(batch)

    def _take(self) -> Batch:
        new, self._new = self._new[:BATCH_SIZE], self._new[BATCH_SIZE:]
        batch = Batch(new, self._settled, self._requests)
        self._settled, self._requests = [], []
        return batch

    def _written(self, batch: Batch) -> None:
        """Answer a batch that has come back, and let the next one go."""
        self._busy = False
        if not self._closed:
            if self._requests:
                self._submit()
            elif self._new:
                self._plan()
            elif self._settled:
                self._defer()
        for upstream in batch.freed:
            self._notify(upstream)
        self._answer([*batch.settled, *batch.requests, *batch.new])

    def _answer(self, written: list[Piece]) -> None:
        """Resolve these, a few in each iteration: what is done with an answer takes time."""
        step, rest = written[:_CALLBACKS_PER_STEP], written[_CALLBACKS_PER_STEP:]
        for each in step:
            each.resolve()
        # An iteration later: no answer waits for an attempt.
        self._loop.call_soon(self._hand_over, step, rest)

    def _hand_over(self, answered: list[Piece], rest: list[Piece]) -> None:
        for each in answered:
            if isinstance(each, NewEvent):
                for upstream in each.hand_over(self._release):
                    self._notify(upstream)
        if rest:
            self._answer(rest)

    # ---- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            self._write(batch)
            with suppress(RuntimeError):  # the loop is closed: there are no waiters
                self._loop.call_soon_threadsafe(self._written, batch)
            self._checkpoint()
        if self._health.broken:
            # A checkpoint on closing would sync again what has failed to sync.
            keep_log_on_close(self._connection)
        self._connection.close()

    def _write(self, batch: Batch) -> None:
        """Write a batch; each piece has its result or its error afterwards."""
        if self._has_space() and self._commit(batch):
            return
        batch.intake().fail(partial(SpoolFull, "the disk is full"))
        outcomes = batch.outcomes()
        if outcomes:
            self._ballast.release()
            if self._commit(outcomes):
                batch.freed = outcomes.freed
            else:
                outcomes.fail(partial(SpoolFull, "the disk is full, and the ballast is used up"))

    def _has_space(self) -> bool:
        """Return whether new events may be stored; now and then, try to allocate the ballast."""
        if not self._ballast.spent:
            return True
        now = monotonic()
        if now - self._reserve_tried_at < _RETRY_INTERVAL:
            return False
        self._reserve_tried_at = now
        return self._ballast.reserve()

    def _commit(self, batch: Batch) -> bool:
        """Write this in one transaction; return False, with nothing done, when the disk is full."""
        if not self._health.broken and not self._file_unchanged():
            self._health.mark_broken("its file was removed or replaced")
        if self._health.broken:
            batch.fail(self._health.failure)
            return True
        one_by_one = False
        try:
            self._transact(batch)
        except apsw.Error as error:
            if is_disk_full(error, self._connection.system_errno):
                return False
            batch.fail(partial(self._health.classify, error, self._connection))
            one_by_one = isinstance(error, _OF_ONE) and len(batch) > 1
        except UnicodeDecodeError as error:
            batch.fail(partial(SpoolUnavailable, f"a row of the spool is damaged: {error}"))
            one_by_one = len(batch) > 1
        except Exception as error:  # noqa: BLE001 - every waiter must get an answer
            self._health.mark_broken(f"the writer failed: {error!r}")
            batch.fail(self._health.failure)
        finally:
            self._roll_back()
        if one_by_one:
            self._commit_one_by_one(batch)
        return True

    def _commit_one_by_one(self, batch: Batch) -> None:
        """Write each piece in a transaction of its own: one of them has failed them all."""
        for part in batch.parts():
            if not self._commit(part):
                part.fail(partial(SpoolFull, "the disk is full"))
            batch.freed += part.freed

    def _transact(self, batch: Batch) -> None:
        connection, shared = self._connection, self._shared
        connection.execute("BEGIN IMMEDIATE")
        shared.names.refresh(connection)
        tally = Tally()
        new = [each for each in batch.new if not each.withdrawn]
        if new:
            intake.store(connection, shared, new, tally)
        if batch.settled:
            freed = queue.settle(connection, shared, batch.settled, tally)
            batch.freed = [shared.names.by_number[upstream] for upstream in freed]
        tally.write(connection)
        for request in batch.requests:
            self._execute(request)
        connection.execute("COMMIT")
        shared.names.committed()

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
        if request.error is not None:
            # What it has undone may have been a new name.
            self._shared.names.read(self._connection)

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
        """Make a checkpoint where one is due, after the answers have gone out."""
        # The ballast has to hold a log that is full and the database that takes it in.
        full = self._log_pages >= min(_CHECKPOINT, self._ballast.size // (2 * _PAGE))
        if full or self._shared.masked:
            self._log_pages = 0
            self._checkpoints.run(full=full)
