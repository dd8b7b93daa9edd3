"""What waits to be written, and when its turn comes: many together, since a commit is dear."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

import apsw

from relay.errors import SpoolUnavailable
from relay.spool import SpoolOverloaded

T = TypeVar("T")

Work = Callable[[apsw.Connection], T]

#: Is told in the event loop what came of work, even when nobody waits for it any more; None when
#: nothing did.
Then = Callable[[T | None], None]

#: At most so many in one transaction.
TOGETHER: Final = 512

# A commit costs about as much as ten writes do. When so many came together the last time, more
# are on their way, and waiting this many seconds for them pays.
_COMPANY: Final = 4
_GATHER: Final = 0.005
# So long, in seconds, work may wait for other work that nobody is asked to wait for.
_PATIENCE: Final = 0.005


class Job:
    """Work that somebody waits for, and what came of it.

    patient: nobody waits for it in a hurry, so that it goes with the next that are in one, or with
        a few of its kind, or in a moment.
    """

    __slots__ = ("error", "future", "intake", "patient", "result", "then", "work")

    def __init__(
        self,
        work: Work[Any],
        future: asyncio.Future[Any],
        *,
        intake: bool = False,
        patient: bool = False,
        then: Then[Any] | None = None,
    ) -> None:
        self.work = work
        self.future = future
        self.intake = intake
        self.patient = patient
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


class Jobs:
    """Jobs in the order given: the event loop puts them in, and one thread takes them out."""

    def __init__(self, most: int) -> None:
        """Begin with none. `most`: how many may wait. Made inside a running event loop."""
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Job] = deque()
        self._due = False
        self._awake = threading.Condition()
        self._closed = threading.Event()
        self._patience: asyncio.TimerHandle | None = None
        self._together = 0

    def put(self, job: Job) -> None:
        """Let it wait for its turn.

        Raises:
            SpoolUnavailable: nothing more is taken, or too much is waiting.
        """
        with self._awake:
            if self._closed.is_set():
                raise SpoolUnavailable("the spool is closed")
            if len(self._waiting) >= self._most:
                raise SpoolOverloaded(f"{self._most} writes are waiting for the disk")
            self._waiting.append(job)
            if not job.patient or len(self._waiting) >= _COMPANY:
                self._due = True
                self._awake.notify()
        if job.patient and self._patience is None:
            self._patience = self._loop.call_later(_PATIENCE, self._has_waited)

    def take(self) -> list[Job]:
        """Wait for some whose turn has come; return nothing when there will be no more."""
        with self._awake:
            while not self._due and not self._closed.is_set():
                self._awake.wait()
        if self._together >= _COMPANY:
            self._closed.wait(_GATHER)
        with self._awake:
            taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), TOGETHER))]
            self._due = bool(self._waiting)
        # What is in no hurry says nothing of those that are: waiting for more would hold these up.
        self._together = sum(not job.patient for job in taken)
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
