"""How far long work is, on standard error: only on a terminal, and only after a second."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TextIO

from relay.core.clock import Clock, SystemClock

if TYPE_CHECKING:
    # Importing it takes as long as most work does.
    from rich.progress import Progress

#: Seconds of work that nothing is shown for.
PATIENCE: Final = 1.0


class Counter:
    """Counts what is done of some work, and shows it from the first count after a second on.

    total: how much there is to do, or None where that is not known.
    """

    def __init__(
        self, label: str, total: int | None, stream: TextIO, clock: Clock, *, wanted: bool
    ) -> None:
        self._label = label
        self._total = total
        self._stream = stream
        self._clock = clock
        self._done = 0
        self._began = clock.monotonic()
        self._wanted = wanted
        self._shown: Progress | None = None

    def add(self, number: int = 1) -> None:
        """Count this many more."""
        self.set(self._done + number, self._total)

    def set(self, done: int, total: int | None) -> None:
        """Say how much is done, and how much there is."""
        self._done, self._total = done, total
        if self._shown is None and self._wanted:
            if self._clock.monotonic() - self._began < PATIENCE:
                return
            self._shown = _bar(self._stream)
            self._shown.add_task(self._label, total=total)
            self._shown.start()
        if self._shown is not None:
            self._shown.update(self._shown.task_ids[0], completed=done, total=total)

    def close(self) -> None:
        """Take what is shown away."""
        if self._shown is not None:
            self._shown.stop()


@contextmanager
def progress(
    label: str,
    total: int | None = None,
    *,
    prints: bool = False,
    stream: TextIO | None = None,
    clock: Clock | None = None,
) -> Iterator[Counter]:
    """Yield a counter of work that is done within this context.

    prints: the work prints, and nothing is shown among that on a terminal.
    """
    shown_on = sys.stderr if stream is None else stream
    wanted = shown_on.isatty() and not (prints and sys.stdout.isatty())
    counter = Counter(label, total, shown_on, clock or SystemClock(), wanted=wanted)
    try:
        yield counter
    finally:
        counter.close()


def _bar(stream: TextIO) -> "Progress":
    from rich.console import Console  # noqa: PLC0415 - see above
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(file=stream),
        transient=True,
    )
