"""Runs `relay` with the files of its package told as they are entered.

    python trace_driver.py OUTPUT run -c relay.yaml

SIGUSR1 begins the telling. SIGUSR2 ends it and writes OUTPUT: one JSON list of [thread, file] for
each call of a function of relay that came from another file, or from outside of relay, in order.
A coroutine that goes on counts as called. Of relay's own names only `relay.cli.main` is used.
"""

import json
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any


class Trace:
    """Collects calls while it is on."""

    def __init__(self, package: Path, output: Path) -> None:
        self._package = str(package) + "/"
        self._output = output
        self._on = False
        self._calls: list[tuple[int, str]] = []

    def install(self) -> None:
        """Look at every call of this thread and of those that start from now on."""
        threading.setprofile(self._called)
        sys.setprofile(self._called)
        signal.signal(signal.SIGUSR1, self._begin)
        signal.signal(signal.SIGUSR2, self._end)

    def _begin(self, *_: object) -> None:
        self._on = True

    def _end(self, *_: object) -> None:
        self._on = False
        whole = self._output.with_suffix(".part")
        whole.write_text(json.dumps(self._calls))
        whole.rename(self._output)

    def _called(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or not self._on:
            return
        file = frame.f_code.co_filename
        if file.startswith(self._package) and file != self._caller(frame.f_back):
            self._calls.append((threading.get_ident(), file.removeprefix(self._package)))

    def _caller(self, frame: FrameType | None) -> str | None:
        """Return the file of relay that a call came from, through libraries or not."""
        while frame is not None:
            if frame.f_code.co_filename.startswith(self._package):
                return frame.f_code.co_filename
            frame = frame.f_back
        return None


def main() -> None:
    import relay  # noqa: PLC0415 - of whichever environment this runs in

    output, *words = sys.argv[1:]
    Trace(Path(relay.__path__[0]), Path(output)).install()

    from relay.cli import main as entry  # noqa: PLC0415 - what it imports is traced, too

    sys.argv = ["relay", *words]
    entry()


if __name__ == "__main__":
    main()
