"""`relay run` behind another program, its system calls traced or made to fail by strace.

Reading the log is pure: it must come from `strace -f -y -xx` (with or without times), with `-s`
above every buffer.
"""

import asyncio
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import pytest

from tests.harness.clock import wait_until
from tests.harness.node import Node

# ---- behind another program -----------------------------------------------------------------

RELAY = ("-m", "relay")


class WrappedNode(Node):
    """A node whose process is `prefix... python program... run -c config`.

    The prefix must end by becoming Python itself (as `strace -D` and `prlimit` do), so that
    signals and the exit code are relay's own.
    """

    def __init__(
        self,
        config: Path,
        environ: Mapping[str, str] | None = None,
        role: str = "all",
        *,
        prefix: Sequence[str] = (),
        program: Sequence[str] = RELAY,
    ) -> None:
        super().__init__(config, environ, role)
        self._prefix = tuple(prefix)
        self._program = tuple(program)

    async def __aenter__(self) -> Self:
        await self.launch()
        assert await self.listening(), f"it ended: {self.lines} {self.noise}"
        return self

    async def launch(self) -> None:
        """Start the process; it may never come so far as to say `started`."""
        self._process = await asyncio.create_subprocess_exec(
            *self._prefix,
            sys.executable,
            *self._program,
            *("run", "-c", str(self._config), "--role", self._role),
            env=self._environ,
            stderr=asyncio.subprocess.PIPE,
        )
        self._reader = asyncio.get_running_loop().create_task(self._read())

    async def listening(self) -> bool:
        """Wait until it listens or has ended; return whether it listens."""
        assert self._reader is not None
        started = asyncio.get_running_loop().create_task(self.wait_for(event="started"))
        await asyncio.wait({started, self._reader}, return_when=asyncio.FIRST_COMPLETED)
        if not self.having(event="started"):
            started.cancel()
            return False
        self.listens(await started)
        return True

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def over(self) -> bool:
        """Whether the process has ended."""
        assert self._process is not None
        return self._process.returncode is not None

    async def ended(self, within: float = 20.0) -> int:
        """Wait for the process to end by itself, and return its exit code."""
        assert self._process is not None
        assert self._reader is not None
        async with asyncio.timeout(within):
            code = await self._process.wait()
            await self._reader
        return code


# ---- reading its log ------------------------------------------------------------------------

_LINE: Final = re.compile(r"^(?P<thread>\d+)\s+(?:[\d.:]+ )?(?P<rest>.*)$", re.DOTALL)
_RESUMED: Final = re.compile(r"^<\.\.\. \w+ resumed>")
_CALL: Final = re.compile(r"^(?P<name>\w+)\((?P<arguments>.*)\)\s+= (?P<result>.*)$", re.DOTALL)
_UNFINISHED: Final = " <unfinished ...>"
_QUOTED: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_DESCRIPTOR: Final = re.compile(r"^(-?\d+)(?:<(.*?)>)?(?:,|$)")
_ESCAPES: Final = re.compile(r"(?:\\x[0-9a-f]{2})+")


class TraceCut(ValueError):
    """A buffer was longer than `-s` allowed; the log does not hold what was written."""


@dataclass(frozen=True, slots=True)
class Call:
    """One system call.

    began, ended: where in the log. A call that ended before another began had come back to the
        process before the process asked for the other. A call that never came back has ended
        None and result -1.
    file: the path, or the pair of addresses, behind the descriptor in the first argument.
    data: every buffer in the arguments, one after the other.
    """

    thread: int
    began: int
    ended: int | None
    name: str
    file: str
    data: bytes
    numbers: tuple[int, ...]
    flags: frozenset[str]
    result: int

    @property
    def worked(self) -> bool:
        return self.ended is not None and self.result >= 0


def parse(lines: Iterable[str], start: int = 0) -> list[Call]:
    """Return the calls in the order in which they began; the log's first line is called `start`.

    Raises:
        TraceCut: a buffer is not there in full.
    """
    return sorted(_calls(lines, start), key=lambda call: call.began)


def _calls(lines: Iterable[str], start: int) -> Iterator[Call]:
    begun: dict[int, tuple[int, str]] = {}
    for number, line in enumerate(lines, start):
        found = _LINE.match(line.rstrip("\n"))
        if found is None:
            continue
        thread, rest = int(found["thread"]), found["rest"]
        began = number
        resumed = _RESUMED.match(rest)
        if resumed is not None:
            if thread not in begun:
                continue
            began, first = begun.pop(thread)
            rest = first + rest[resumed.end() :]
        if rest.endswith(_UNFINISHED):
            begun[thread] = began, rest.removesuffix(_UNFINISHED)
            continue
        whole = _CALL.match(rest)
        if whole is not None:
            yield _call(thread, began, number, **whole.groupdict())
    for thread, (began, text) in begun.items():
        name, _, arguments = text.partition("(")
        yield _call(thread, began, None, name=name, arguments=arguments, result="?")


def _call(
    thread: int, began: int, ended: int | None, *, name: str, arguments: str, result: str
) -> Call:
    pieces: list[bytes] = []
    for escaped, cut in _QUOTED.findall(arguments):
        if cut:
            raise TraceCut(f"line {began}: {name}: run strace with a larger -s")
        pieces.append(_bytes(escaped))
    bare = _QUOTED.sub("", arguments)
    descriptor = _DESCRIPTOR.match(bare)
    value = re.match(r"-?\d+", result)
    return Call(
        thread=thread,
        began=began,
        ended=ended,
        name=name,
        file=_readable(descriptor[2] or "") if descriptor else "",
        data=b"".join(pieces),
        numbers=tuple(int(each) for each in re.findall(r"(?<=, )-?\d+(?=,|$)", bare)),
        flags=frozenset(re.findall(r"\bO_\w+", bare)),
        result=int(value[0]) if value and ended is not None else -1,
    )


def _bytes(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


def _readable(text: str) -> str:
    return _ESCAPES.sub(lambda found: _bytes(found[0]).decode(errors="replace"), text)


# ---- strace ---------------------------------------------------------------------------------

#: What makes up the content of files, what syncs it, and what goes over sockets.
OF_INTEREST: Final = (
    *("openat", "unlink", "unlinkat", "rename", "close", "ftruncate", "fallocate"),
    *("pwrite64", "pwritev", "write", "writev", "fsync", "fdatasync", "sync_file_range"),
    *("recvfrom", "recvmsg", "sendto", "sendmsg"),
)
_LARGEST: Final = 400_000
_PATIENCE: Final = 20.0


def strace_needed() -> None:
    """Skip, loudly, where strace is absent or may not trace."""
    if shutil.which("strace") is None:
        pytest.skip("NOT PROVEN: strace is absent (package strace)")


def tracing(log: Path) -> tuple[str, ...]:
    """Return the prefix that traces what is started behind it into this log."""
    return (
        *("strace", "-D", "-f", "--seccomp-bpf", "-ttt", "-yy", "-xx", "-s", str(_LARGEST)),
        *("-o", str(log), "-e", "trace=" + ",".join(OF_INTEREST)),
    )


def failing(log: Path, calls: str, fault: str, paths: Sequence[Path] = ()) -> tuple[str, ...]:
    """Return the prefix that lets system calls fail.

    calls: names, with commas. fault: as `error=EIO:when=3`; strace counts in each thread by itself.
    paths: only calls that concern these files.
    """
    only = [part for path in paths for part in ("-P", str(path))]
    return (
        *("strace", "-D", "-f", "--seccomp-bpf", "-ttt", "-y", "-o", str(log), *only),
        *("-e", f"trace={calls}", "-e", f"inject={calls}:{fault}"),
    )


@asynccontextmanager
async def failing_from_now(pid: int, log: Path, calls: str, fault: str) -> AsyncIterator[None]:
    """Let system calls of a running process fail, counted from now on; otherwise as `failing`."""
    tracer = await asyncio.create_subprocess_exec(
        *("strace", "-f", "-p", str(pid), "-o", str(log)),
        *("-e", f"trace={calls}", "-e", f"inject={calls}:{fault}"),
        stderr=asyncio.subprocess.PIPE,
    )
    assert tracer.stderr is not None
    said = (await tracer.stderr.readline()).decode()
    try:
        if "attached" not in said:
            pytest.skip(f"NOT PROVEN: strace may not trace here: {said}")
        yield
    finally:
        with suppress(ProcessLookupError):
            tracer.terminate()
        await tracer.communicate()


async def finished(log: Path) -> None:
    """Return when the tracer has written everything about a process that has ended."""
    assert await wait_until(lambda: _complete(log), _PATIENCE), "strace did not end"


async def calls(log: Path, start: int = 0) -> list[Call]:
    """Return the calls of a process that has ended; `start` as in `parse`."""
    await finished(log)
    with log.open(encoding="ascii") as lines:
        return parse(lines, start)


def injected(log: Path) -> int:
    """Return how many calls were made to fail."""
    return log.read_text(encoding="utf-8", errors="replace").count("(INJECTED)")


def _complete(log: Path) -> bool:
    with log.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 400))
        last = file.read().rstrip(b"\n").rsplit(b"\n", 1)[-1]
    return b"+++ exited" in last or b"+++ killed" in last
