"""Short turns, for a thread that computes for long while the event loop has senders to answer.

Python lets a thread go on for 5 ms before another that waits gets its turn, and the loop waits
anew after each of the system calls that it makes for one request.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_USUAL: Final = sys.getswitchinterval()
_SHORT: Final = 0.001

_LOCK: Final = threading.Lock()
_inside = 0


@contextmanager
def short_turns() -> Iterator[None]:
    """While this lasts no thread waits longer than 1 ms for another one that computes.

    Not for always: handing over costs both of them.
    """
    _count(1)
    try:
        yield
    finally:
        _count(-1)


def _count(more: int) -> None:
    global _inside  # noqa: PLW0603 - the interval is the process's, too
    with _LOCK:
        _inside += more
        sys.setswitchinterval(_SHORT if _inside else _USUAL)
