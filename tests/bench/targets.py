"""What relay is meant to reach, and whether it did in this run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tests.bench.output import show, show_table
from tests.bench.report import Figure, Results, cpu, memory, p50, p99, rate

#: The load that the targets are for.
CONNECTIONS: Final = 64

_MEMORY: Final = 100


@dataclass(frozen=True, slots=True)
class Target:
    """One ratio between two lanes, and its bound. most: it is an upper one."""

    lane: str
    other: str
    what: str
    figure: Figure
    bound: float
    most: bool = False

    def met_by(self, value: float) -> bool:
        """Whether this ratio is on the right side."""
        return value <= self.bound if self.most else value >= self.bound

    def __str__(self) -> str:
        return f"{self.lane} / {self.other}, {self.what}"


TARGETS: Final = (
    Target("store", "bare", "rate", rate, 0.5),
    Target("store", "fastapi-sqlite", "rate", rate, 2.5),
    Target("store", "fastapi-sqlite", "CPU of an event", cpu, 0.45, most=True),
    Target("store", "fastapi-sqlite", "p99", p99, 0.2, most=True),
    Target("proxy", "bare", "rate", rate, 0.6),
    Target("proxy", "fastapi-proxy", "rate", rate, 3),
    Target("proxy", "fastapi-proxy", "CPU of an event", cpu, 0.35, most=True),
    Target("proxy", "caddy", "rate", rate, 1),
    Target("proxy", "nginx-njs", "p50", p50, 2.5, most=True),
)


def show_targets(results: Results, absent: Mapping[str, str]) -> None:
    """Print a row for each target.

    absent: lanes that were not measured because something is not installed, and what that is.
    """
    show(f"### Targets, {CONNECTIONS} connections")
    rows = []
    for target in TARGETS:
        wanted = f"{'at most' if target.most else 'at least'} {target.bound:g}"
        found = results.ratio(target.lane, target.other, CONNECTIONS, target.figure)
        if found is None:
            why = absent.get(target.other) or absent.get(target.lane) or "left out"
            rows.append([str(target), wanted, "-", f"not measured: {why}"])
            continue
        verdict = "met" if target.met_by(found.median) else "MISSED"
        resolution = results.resolution(CONNECTIONS, target.figure)
        if abs(found.median / target.bound - 1) < resolution:
            verdict += ", within the noise"
        rows.append([str(target), wanted, str(found), verdict])
    rows += [_memory(results, lane) for lane in ("store", "proxy")]
    show_table(["relay / rival", "wanted", "median [least to most]", ""], rows)


def _memory(results: Results, lane: str) -> list[str]:
    name, wanted = f"{lane}, peak memory in MiB", f"under {_MEMORY}"
    if not (samples := results.of(lane, CONNECTIONS)):
        return [name, wanted, "-", "not measured: left out"]
    peak = max(map(memory, samples))
    return [name, wanted, f"{peak:.0f}", "met" if peak < _MEMORY else "MISSED"]
