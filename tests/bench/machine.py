"""The machine a run is made on: its cores, and what has to be known to read the figures."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_CORES: Final = sorted(os.sched_getaffinity(0))

#: What is measured runs on the one, all that measures it on the other.
SERVER_CORE: Final = _CORES[0]
LOAD_CORE: Final = _CORES[-1]


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Let every process that is started inside run on this core only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def core_used(core: int) -> float:
    """Return the seconds that all programs have used of this core, and its host has taken."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _, _, _, _, steal, *_ = (int(each) for each in ticks)
            return (user + nice + system + steal) / os.sysconf("SC_CLK_TCK")
    raise ValueError(f"/proc/stat does not name core {core}")


def description(directory: Path) -> str:
    """Say in one line what this machine is. directory: where spools are."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB; "
        f"Linux {platform.release()}; {platform.python_implementation()} "
        f"{platform.python_version()}; spools on {_file_system(directory)}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _file_system(directory: Path) -> str:
    """Return kind and device of the file system that holds this directory."""
    found = directory.resolve()
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    holding = [each for each in mounts if found.is_relative_to(each[1])]
    device, _, kind, *_ = max(holding, key=lambda each: len(each[1]))
    return f"{kind} ({device})"
