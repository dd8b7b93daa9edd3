"""Debian's `strace` around a node: it writes down system calls, or lets some of them fail."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from tests.harness.syscalls import Call, parse
from tests.harness.until import until

#: What makes up the content of files, what syncs it, and what goes over sockets.
OF_INTEREST: Final = (
    *("openat", "unlink", "unlinkat", "rename", "close", "ftruncate", "fallocate"),
    *("pwrite64", "pwritev", "write", "writev", "fsync", "fdatasync", "sync_file_range"),
    *("recvfrom", "recvmsg", "sendto", "sendmsg"),
)
_LARGEST: Final = 400_000
_PATIENCE: Final = 20.0


def needed() -> None:
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
    assert await until(lambda: _complete(log), _PATIENCE), "strace did not end"


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
