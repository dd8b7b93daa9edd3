"""The process of a command: standard streams, and signals before, during and after its work."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final, NoReturn, TextIO

# ---- standard streams -----------------------------------------------------------------------

_DEV_NULL = Path(os.devnull)


def prepare() -> None:
    """Make printing independent of the terminal's encoding and of closed streams.

    A letter that the encoding lacks is escaped. A closed stream is opened on /dev/null, which also
    keeps its number from a file that is opened later.
    """
    closed: dict[str, TextIO | None] = {"stdin": sys.stdin, "stdout": sys.stdout}
    closed["stderr"] = sys.stderr
    for name, stream in closed.items():
        if stream is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, _DEV_NULL.open(mode, encoding="utf-8"))
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def flush() -> None:
    """Flush standard output. A closed pipe is no error: its reader wants no more.

    Raises:
        OSError: it cannot be written, as on a full disk. There is no retry.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
    except OSError:
        _discard_output()
        raise


def _discard_output() -> None:
    """Send buffered output to /dev/null, or Python would retry it at exit."""
    nowhere = os.open(_DEV_NULL, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


# ---- signals --------------------------------------------------------------------------------
# Importing what `relay run` needs and reading the configuration takes a while. Meanwhile a signal
# would have its default effect: SIGHUP, too, ends a process.

if TYPE_CHECKING:
    # Importing it takes longer than all the rest here.
    from asyncio import AbstractEventLoop

_ENDING = (signal.SIGTERM, signal.SIGINT)

#: The exit status that a shell gives a command ended by Ctrl-C.
INTERRUPTED: Final = 130


def hold_signals() -> None:
    """Block SIGHUP from now on; SIGTERM and SIGINT exit the process with 0 at once.

    For the time before any work has started: there is nothing to finish.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    for number in _ENDING:
        signal.signal(number, _exit_at_once)


@contextmanager
def handle_signals(
    loop: "AbstractEventLoop", *, stop: Callable[[], None], reload: Callable[[], None]
) -> Iterator[None]:
    """Within this context the loop calls `stop` for SIGTERM and SIGINT, `reload` for SIGHUP.

    A blocked SIGHUP is delivered now. After the context all three are ignored: the process is
    exiting, and the last lines of the log are still to be written.
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


@contextmanager
def stop_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Within this context the running loop calls `stop` for SIGTERM and SIGINT."""
    import asyncio  # noqa: PLC0415 - importing it takes longer than all the rest here

    loop = asyncio.get_running_loop()
    for number in _ENDING:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in _ENDING:
            loop.remove_signal_handler(number)


def exit_now(status: object) -> NoReturn:
    """Exit with this status, without Python's own finalization and whatever signals come.

    A thread may still wait for a disk or a terminal that does not answer. Python's finalization
    takes the interpreter away from under such threads, and then the process may crash.
    """
    _ignore()
    os._exit(status if isinstance(status, int) else bool(status))


def _ignore() -> None:
    # Not SIG_IGN: Python would print a traceback for one that has arrived, and is handled now.
    for number in (signal.SIGHUP, *_ENDING):
        signal.signal(number, _do_nothing)


def _do_nothing(_: int, __: FrameType | None) -> None:
    """Handle a signal that comes too late."""


def _exit_at_once(_: int, __: FrameType | None) -> None:
    # Not by an exception: one that is raised in the middle of an import may come to nothing.
    os._exit(0)
