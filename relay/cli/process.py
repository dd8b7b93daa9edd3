"""The three standard streams, so that every verb can use them however it was started."""

import os
import sys
from pathlib import Path
from typing import TextIO

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
