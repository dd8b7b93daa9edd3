"""`python -m tests.bench profile`: where the time of one event goes.

py-spy looks at the running relay from outside, 250 times a second, and slows it little. What each
thread used is known from the kernel; py-spy says what it was used for. A thread that waits for
the interpreter's lock is seen at the line where it waits. Without py-spy cProfile runs inside: it
makes short functions look long, and sees only the main thread.
"""

import pstats
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench import messages
from tests.bench.load import Generator
from tests.bench.machine import LOAD_CORE, description, pinned
from tests.bench.node import write_node
from tests.bench.output import progress, show, show_table
from tests.bench.upstream import Upstream, upstream_program

_CONNECTIONS: Final = 64

#: What a file belongs to: the first group with a part of its path.
_GROUPS: Final = (
    ("HTTP in", ("relay/edge/", "aiohttp/web", "aiohttp/base_protocol", "aiohttp/http_parser")),
    ("spool", ("relay/spool/", "apsw")),
    (
        "HTTP out",
        ("relay/delivery/http/", "aiohttp/client", "aiohttp/connector", "aiohttp/tracing"),
    ),
    ("dispatch", ("relay/delivery/",)),
    (
        "telemetry",
        ("relay/telemetry/", "prometheus_client/"),
    ),
    (
        "verify",
        (
            *("relay/ingest/", "relay/providers/", "relay/signatures/", "relay/allowlist/"),
            *("relay/core/strict_json", "relay/core/ids"),
        ),
    ),
    ("event loop", ("asyncio/", "selectors.py", "uvloop")),
)
_OTHER: Final = "other"

_THREAD: Final = re.compile(r"thread \((\d+)\)")

#: Where a thread rests that has nothing to do.
_WAITING: Final = ("Condition.wait (", "_worker (", "EpollSelector.select (")

#: How many functions are named.
_TOP: Final = 15


@dataclass(frozen=True, slots=True)
class _Spot:
    """A function, and the part that it worked for."""

    function: str
    part: str


def measure_profile(mode: str, seconds: int, directory: Path) -> None:
    """Load a relay in this mode for so long and print what share each part has."""
    spy = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
    stock = messages.midtrans(directory)
    with upstream_program(directory) as receiver:
        node = write_node(mode, directory, mode=mode, upstream=receiver.port, snap_key=None)
        out = directory / "profile"
        prefix: tuple[str | Path, ...] = ()
        if spy is None:
            progress("py-spy is not installed (pip install py-spy): cProfile distorts")
            prefix = (sys.executable, "-m", "cProfile", "-o", out)
        upstream = Upstream(receiver.port)
        with node.program(prefix) as server:
            generator = Generator(stock, node.port)
            generator.run(_CONNECTIONS, 2)
            server.settle()
            before, used, threads = upstream.count(), server.cpu(), server.threads()
            watching = None if spy is None else _watch(spy, server.pid, seconds, out)
            load = generator.run(_CONNECTIONS, seconds)
            if watching is not None and watching.wait() != 0:
                raise RuntimeError("py-spy could not look: it needs the right to trace (root)")
            upstream.wait_for(before + load.answered)
            server.settle()
            used = server.cpu() - used
            spent = {
                thread: seconds - threads.get(thread, 0.0)
                for thread, seconds in server.threads().items()
            }
    shares = _from_cprofile(out) if spy is None else shares_of_stacks(out, spent)
    each = used / load.answered * 1e6
    total = sum(shares.values())
    show(f"{description(directory)}.")
    show(
        f"relay, {mode}: {load.answered} events in {load.seconds:.0f} s over {_CONNECTIONS} "
        f"connections, {each:.0f} us of CPU each, by {'py-spy' if spy else 'cProfile'}."
    )
    parts: Counter[str] = Counter()
    for spot, count in shares.items():
        parts[spot.part] += count
    show_table(
        ["part", "share", "us/event"],
        [[name, f"{n / total:.0%}", f"{n / total * each:.0f}"] for name, n in parts.most_common()],
    )
    show_table(
        ["function", "part", "share"],
        [[spot.function, spot.part, f"{n / total:.1%}"] for spot, n in shares.most_common(_TOP)],
    )


def group_of(path: str) -> str | None:
    """Return the part of the relay that this file belongs to, if to any."""
    return next(
        (name for name, marks in _GROUPS if any(mark in path for mark in marks)),
        None,
    )


def _watch(spy: str, pid: int, seconds: int, out: Path) -> subprocess.Popen[bytes]:
    with pinned(LOAD_CORE):
        return subprocess.Popen(
            [
                *(spy, "record", "--pid", str(pid), "--duration", str(seconds)),
                *(
                    "--rate",
                    "250",
                    "--format",
                    "raw",
                    "--threads",
                    "--full-filenames",
                    "--output",
                    str(out),
                ),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def shares_of_stacks(path: Path, spent: Mapping[int, float]) -> Counter[_Spot]:
    """Share out the time that each thread used, in microseconds, by what it was seen at.

    A stack counts for its innermost frame that belongs to a part: what that calls works for it.
    """
    seen: dict[int, Counter[_Spot]] = defaultdict(Counter)
    for line in path.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        found = _THREAD.match(thread)
        if found is None or not frames or frames[-1].startswith(_WAITING):
            continue
        groups = (group_of(frame) for frame in reversed(frames))
        spot = _Spot(_short(frames[-1]), next((group for group in groups if group), _OTHER))
        seen[int(found[1])][spot] += int(count)
    shares: Counter[_Spot] = Counter()
    for thread_id, spots in seen.items():
        each = spent.get(thread_id, 0.0) / spots.total()
        for spot, n in spots.items():
            shares[spot] += round(n * each * 1e6)
    return shares


def _from_cprofile(path: Path) -> Counter[_Spot]:
    """Give each function its own time, in microseconds."""
    shares: Counter[_Spot] = Counter()
    stats = pstats.Stats(str(path)).stats  # type: ignore[attr-defined]
    for (file, _, function), (_, _, own, _, _) in stats.items():
        spot = _Spot(_short(f"{function} ({file})"), group_of(file) or _OTHER)
        shares[spot] += round(own * 1e6)
    return shares


def _short(frame: str) -> str:
    """Return a frame as `function (folder/file.py)`."""
    function, _, place = frame.partition(" (")
    return f"{function} ({'/'.join(place.partition(':')[0].rstrip(')').split('/')[-2:])})"
