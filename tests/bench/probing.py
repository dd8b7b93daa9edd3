"""The prober: asks a relay whether it lives, over and over, and notes how long each answer took.

The health check of the public listener is answered by the event loop alone. An answer that comes
late has waited for the loop, so the longest one bounds how long anything stalled it.

The prober is a process of its own, `python -m tests.bench.probing`, so that nothing that the run
does beside it holds it up. It reads `begin PORT` and `end`, and answers the latter with JSON.
"""

import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from statistics import median
from types import TracebackType
from typing import Final, Self

from tests.bench.machine import LOAD_CORE, pinned
from tests.bench.wires import Wire
from tests.harness.wire import request

_HEALTH: Final = request("GET", "/healthz")


@dataclass(frozen=True, slots=True)
class Seen:
    """The answers of one slice. Times are milliseconds.

    worst_at: when the one that took longest was asked for, in seconds from the beginning.
    """

    asked: int
    median: float
    p99: float
    worst: float
    worst_at: float


class Prober:
    """The prober, from `with` to the end of it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        with pinned(LOAD_CORE):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.probing"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        self._line()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def during(self, port: int, action: Callable[[], None]) -> Seen:
        """Return how the relay at this port answered while this was done.

        Raises:
            RuntimeError: the relay did not answer.
        """
        self._say(f"begin {port}")
        self._line()
        try:
            action()
        finally:
            self._say("end")
            said = self._line()
        return Seen(**json.loads(said))

    def _say(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the prober has ended; it says why above")
        return line


def _probe(port: int, ended: threading.Event) -> Seen:
    """Ask until told to end, each time as soon as the last answer is there."""
    took: list[tuple[float, float]] = []
    with Wire(port) as wire:
        sys.stdout.write("begun\n")
        sys.stdout.flush()
        while not ended.is_set() or not took:
            answer = wire.ask(_HEALTH)
            if answer.status != 200:
                raise RuntimeError(f"the health check is answered {answer.status}")
            took.append((answer.seconds, answer.asked_at))
    latencies = sorted(seconds for seconds, _ in took)
    worst, worst_at = max(took)
    return Seen(
        asked=len(took),
        median=median(latencies) * 1000,
        p99=latencies[int(0.99 * (len(latencies) - 1))] * 1000,
        worst=worst * 1000,
        worst_at=worst_at - took[0][1],
    )


def _await_line(ended: threading.Event) -> None:
    sys.stdin.readline()
    ended.set()


def _main() -> None:
    # First in line for its core, where that is allowed; and it never stops to tidy up.
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    gc.disable()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in iter(sys.stdin.readline, ""):
        ended = threading.Event()
        listener = threading.Thread(target=_await_line, args=(ended,))
        listener.start()
        seen = _probe(int(line.split()[1]), ended)
        listener.join()
        sys.stdout.write(json.dumps(asdict(seen)) + "\n")
        sys.stdout.flush()
        gc.collect()


if __name__ == "__main__":
    _main()
