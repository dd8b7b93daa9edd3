"""What short commands cost: CPU time of whole processes, in pairs with those of another relay."""

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.bench.kept_spools import fill

#: What is called; each beside a spool with a few events.
COMMANDS = (("--version",), ("version",), ("events", "list"))

_EVENTS = 8

_CONFIGURATION = """
listen: [{bind: "127.0.0.1:0"}]
upstreams: {billing: {url: "http://127.0.0.1:9/"}}
endpoints:
  - name: midtrans
    path: /midtrans
    provider: midtrans
    environment: sandbox
    secrets: ["a-key-of-the-benchmark"]
    upstream: billing
    allowlist: {mode: "off"}
"""


def measure_startup(rounds: int, against: Path | None, work: Path) -> None:
    """Print a row for each command. against: the `relay` program of another environment."""
    (work / "relay.yaml").write_text(_CONFIGURATION)
    fill(work / "relay.db", waiting=_EVENTS)
    own = Path(sys.executable).with_name("relay")
    sys.stdout.write(
        "| command | CPU s | of the other's | pairs, least to most |\n|---|---|---|---|\n"
    )
    for words in COMMANDS:
        pairs = [_pair(words, own, against, work) for _ in range(rounds + 1)]
        # The first one fills caches.
        sys.stdout.write(row(words, pairs[1:]) + "\n")


def _pair(
    words: Sequence[str], own: Path, against: Path | None, work: Path
) -> tuple[float, float | None]:
    """Return the CPU seconds of ours and of the other, which may not have this command."""
    call = (*words, "-c", "relay.yaml") if "events" in words else words
    ours = cpu_of([str(own), *call], work)
    try:
        return ours, None if against is None else cpu_of([str(against), *call], work)
    except subprocess.CalledProcessError:
        return ours, None


def row(words: Sequence[str], pairs: Sequence[tuple[float, float | None]]) -> str:
    """Return a row of the table: medians, and the range of the ratios pair by pair."""
    cells = [f"`relay {' '.join(words)}`", f"{statistics.median(ours for ours, _ in pairs):.3f}"]
    ratios = sorted(ours / other for ours, other in pairs if other is not None)
    if ratios:
        cells += [f"{statistics.median(ratios):.2f}", f"{ratios[0]:.2f} to {ratios[-1]:.2f}"]
    else:
        cells += ["-", "-"]
    return f"| {' | '.join(cells)} |"


def cpu_of(command: Sequence[str], directory: Path) -> float:
    """Run a command and return the CPU seconds that it took, of user and system.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    process = subprocess.Popen(
        command, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(command))
    return used.ru_utime + used.ru_stime
