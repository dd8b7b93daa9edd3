"""The process of a command: standard streams, and signals that come early or late."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, TextIO

# ---- standard streams -----------------------------------------------------------------------

_NOWHERE = Path(os.devnull)


def prepare() -> None:
    """Let nothing that is printed fail for its letters, or for a stream that was closed.

    A letter that the terminal's encoding has not is escaped. What was closed leads to nowhere,
    which also keeps its number from a file that is opened later.
    """
    closed: dict[str, TextIO | None] = {"stdin": sys.stdin, "stdout": sys.stdout}
    closed["stderr"] = sys.stderr
    for name, stream in closed.items():
        if stream is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, _NOWHERE.open(mode, encoding="utf-8"))
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def flush() -> None:
    """Print what still waits to be printed. A reader that has gone wants no more, and is no error.

    Raises:
        OSError: it cannot be printed, as on a full disk. It is not tried again.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _give_up()
    except OSError:
        _give_up()
        raise


def _give_up() -> None:
    """Let what waits go nowhere, or Python would try again at its end."""
    nowhere = os.open(_NOWHERE, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


# ---- signals --------------------------------------------------------------------------------
# Importing what `relay run` needs and reading the configuration takes a while, in which the system
# would do with a signal what it does by default: SIGHUP, too, ends a process.

if TYPE_CHECKING:
    # Importing it takes longer than all the rest here.
    from asyncio import AbstractEventLoop

_ENDING = (signal.SIGTERM, signal.SIGINT)


def hold() -> None:
    """Let SIGHUP wait from now on; SIGTERM and SIGINT end the process with 0 at once.

    Nothing is in hand where this is called, so there is nothing to finish.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    for number in _ENDING:
        signal.signal(number, _leave)


@contextmanager
def told(
    loop: "AbstractEventLoop", *, stop: Callable[[], None], reload: Callable[[], None]
) -> Iterator[None]:
    """While this lasts the loop calls `stop` for SIGTERM and SIGINT, `reload` for SIGHUP.

    A SIGHUP that has waited is told now. Afterwards all are ignored: the end is near by itself, and
    the last lines of the log are still to be written.
    """
    # Not the loop's own handlers: as those are taken away, the system's default comes back.
    for number in _ENDING:
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
    signal.signal(signal.SIGHUP, lambda *_: loop.call_soon_threadsafe(reload))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        _ignore()


def leave(status: object) -> NoReturn:
    """End the process with this exit status, and let no signal change it any more.

    A thread may still wait for a disk or a terminal that does not answer. Python, as it takes
    itself apart, pulls the ground from under such threads, and then the process may crash.
    """
    _ignore()
    os._exit(status if isinstance(status, int) else bool(status))


def _ignore() -> None:
    for number in (signal.SIGHUP, *_ENDING):
        signal.signal(number, signal.SIG_IGN)


def _leave(_: int, __: FrameType | None) -> None:
    # Not by an exception: one that is raised in the middle of an import may come to nothing.
    os._exit(0)
