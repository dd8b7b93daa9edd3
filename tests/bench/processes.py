"""Programs that a run starts: pinned to a core, stopped while they wait, accounted for."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.bench.machine import pinned

_PATIENCE: Final = 20.0
_LAST_WORDS: Final = 3.0
_LOOK: Final = 0.1
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class NotInstalled(Exception):
    """A program is missing. The text says what to install."""


class NotStarted(Exception):
    """A program ended, or does not listen in time. The text says which and what it wrote."""


def free_port() -> int:
    """Return a port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Program:
    """One program and its children, from `with` to the end of it."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        port: int,
        core: int,
        log: Path,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Describe it.

        port: where it listens on loopback once it has started.
        log: what it writes; `/dev/null` when that would be a line per request.
        """
        self.name = name
        self.port = port
        self._argv = [str(each) for each in argv]
        self._core = core
        self._log = log
        self._environ = {**os.environ, **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("ab") as log, pinned(self._core):
            self._process = subprocess.Popen(
                self._argv,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._await_listening()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def end(self) -> None:
        """Ask it to end, and make it end when it does not. May be called again."""
        assert self._process is not None
        if self._process.poll() is not None:
            return
        self._signal(signal.SIGTERM)
        self.resume()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def stop(self) -> None:
        """Let it rest: it takes no time from the others."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run again."""
        self._signal(signal.SIGCONT)

    def cpu(self) -> float:
        """Return the seconds of processor time that it and its children have used."""
        return sum(_cpu(pid) for pid in _family(self.pid))

    def threads(self) -> dict[int, float]:
        """Return the seconds of processor time of each of its threads, by the kernel's number."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return {int(task.name): _ticks(task / "stat", slice(11, 13)) for task in tasks}

    def memory(self, field: str = "VmHWM") -> float:
        """Return its resident memory and its children's in MiB: the peak, or `VmRSS` for now."""
        return sum(_memory(pid, field) for pid in _family(self.pid))

    def settle(self) -> None:
        """Return when it has nothing more to do."""
        last = self.cpu()
        for _ in range(int(_PATIENCE / _LOOK)):
            time.sleep(_LOOK)
            now = self.cpu()
            if now - last <= 1.5 / _TICKS:
                return
            last = now

    def _signal(self, number: signal.Signals) -> None:
        os.killpg(self.pid, number)

    def _await_listening(self) -> None:
        assert self._process is not None
        end = time.monotonic() + _PATIENCE
        while self._process.poll() is None and time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.01)
            else:
                return
        self.end()
        raise NotStarted(f"{self.name} does not listen: {' '.join(self._argv)}\n{self._words()}")

    def _words(self) -> str:
        """Start it once more, and return what it says."""
        try:
            again = subprocess.run(
                self._argv,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_LAST_WORDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"it says nothing in {_LAST_WORDS:g} s"
        return (again.stdout + again.stderr)[-2000:]


def _family(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                found.extend(int(child) for child in children.read_text().split())
            except OSError:
                continue
    return found


def _cpu(pid: int) -> float:
    # utime and stime, of itself and of its children that have ended: proc(5).
    return _ticks(Path(f"/proc/{pid}/stat"), slice(11, 15))


def _ticks(stat: Path, fields: slice) -> float:
    """Return these fields behind the name, added up, in seconds; 0 when it has ended."""
    try:
        found = stat.read_text().rsplit(")", 1)[1].split()[fields]
    except OSError:
        return 0
    return sum(int(each) for each in found) / _TICKS


def _memory(pid: int, field: str) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0
