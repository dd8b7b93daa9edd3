"""What relay is meant to reach, and whether it did in this run."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

from tests.bench.lanes import REFERENCE
from tests.bench.output import show, show_table
from tests.bench.report import Figure, Results, cpu, memory, p50, p99, rate

#: The load that the targets are for.
CONNECTIONS: Final = 64

_MEMORY: Final = 100


#: CPU seconds of a request to the bare server. Where it takes less, what is compared with it does
#: not decide: the rest does not become cheaper in proportion on such machines.
_STEADY: Final = 100e-6


@dataclass(frozen=True, slots=True)
class Target:
    """One ratio between two lanes, and its bound. most: it is an upper one."""

    lane: str
    other: str
    what: str
    figure: Figure
    bound: float
    most: bool = False
    connections: int = CONNECTIONS

    def met_by(self, value: float) -> bool:
        """Whether this ratio is on the right side."""
        return value <= self.bound if self.most else value >= self.bound

    def __str__(self) -> str:
        load = "" if self.connections == CONNECTIONS else f", {self.connections} connection"
        return f"{self.lane} / {self.other}, {self.what}{load}"


_CPU: Final = "CPU of an event"

TARGETS: Final = (
    Target("accept", "bare", _CPU, cpu, 1.15, most=True),
    Target("proxy", "bare", _CPU, cpu, 1.6, most=True),
    Target("proxy", "caddy", _CPU, cpu, 1.0, most=True),
    Target("proxy", "nginx-njs", _CPU, cpu, 2.5, most=True),
    Target("proxy", "fastapi-proxy", _CPU, cpu, 0.3, most=True),
    Target("proxy", "proxy-before", _CPU, cpu, 0.25, most=True),
    Target("proxy", "bare", "rate", rate, 0.6),
    Target("proxy", "caddy", "rate", rate, 1),
    Target("proxy", "fastapi-proxy", "rate", rate, 3),
    Target("proxy", "nginx-njs", "p50", p50, 2.5, most=True),
    Target("proxy-snap", "bare", _CPU, cpu, 2.4, most=True),
    Target("proxy-vipps", "bare", _CPU, cpu, 1.9, most=True),
    Target("store", "bare", _CPU, cpu, 2.6, most=True),
    Target("store", "fastapi-sqlite", _CPU, cpu, 0.6, most=True),
    Target("store", "store-before", _CPU, cpu, 0.28, most=True),
    Target("store", "store-before", _CPU, cpu, 0.5, most=True, connections=1),
    Target("store", "bare", "rate", rate, 0.35),
    Target("store", "fastapi-sqlite", "rate", rate, 2),
    Target("store", "fastapi-sqlite", "p99", p99, 0.3, most=True),
)


def show_targets(results: Results, absent: Mapping[str, str]) -> None:
    """Print a row for each target.

    absent: lanes that were not measured because something is not installed, and what that is.
    """
    show(f"### Targets, {CONNECTIONS} connections")
    anchor = [each.cpu for each in results.of(REFERENCE, CONNECTIONS)]
    steady = not anchor or median(anchor) >= _STEADY
    if not steady:
        show()
        show(
            f"The bare server takes {median(anchor) * 1e6:.0f} us of CPU here, less than "
            f"{_STEADY * 1e6:.0f} us: the rows of the others decide, and of the relay before."
        )
    rows = []
    for target in TARGETS:
        wanted = f"{'at most' if target.most else 'at least'} {target.bound:g}"
        found = results.ratio(target.lane, target.other, target.connections, target.figure)
        if found is None:
            why = absent.get(target.other) or absent.get(target.lane) or "left out"
            rows.append([str(target), wanted, "-", f"not measured: {why}"])
            continue
        verdict = "met" if target.met_by(found.median) else "MISSED"
        resolution = results.resolution(target.connections, target.figure)
        if abs(found.median / target.bound - 1) < resolution:
            verdict += ", within the noise"
        if target.other == REFERENCE and not steady:
            verdict += ", does not decide"
        rows.append([str(target), wanted, str(found), verdict])
    rows += [_memory(results, lane) for lane in ("store", "proxy")]
    show_table(["relay / rival", "wanted", "median [least to most]", ""], rows)


def _memory(results: Results, lane: str) -> list[str]:
    name, wanted = f"{lane}, peak memory in MiB", f"under {_MEMORY}"
    if not (samples := results.of(lane, CONNECTIONS)):
        return [name, wanted, "-", "not measured: left out"]
    peak = max(map(memory, samples))
    return [name, wanted, f"{peak:.0f}", "met" if peak < _MEMORY else "MISSED"]
