"""Samples become medians, and ratios between lanes within a round."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.lanes import REFERENCE, TWIN, Lane
from tests.bench.output import show, show_table
from tests.bench.slices import Sample

Figure = Callable[[Sample], float]


@dataclass(frozen=True, slots=True)
class Ratio:
    """How one lane compares with another: the median over rounds, the least and the most."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.least:.2f} to {self.most:.2f}]"


class Results:
    """The samples of one run, looked up by lane and number of connections."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    def of(self, lane: str, connections: int) -> list[Sample]:
        """Return the samples of a lane, one a round; none if it was not measured."""
        return [
            each for each in self._samples if (each.lane, each.connections) == (lane, connections)
        ]

    def all(self, connections: int) -> list[Sample]:
        """Return the samples of all lanes."""
        return [each for each in self._samples if each.connections == connections]

    def ratio(self, lane: str, other: str, connections: int, figure: Figure) -> Ratio | None:
        """Compare two lanes round by round; None when one of them was not measured."""
        others = {each.turn: each for each in self.of(other, connections)}
        found = [
            figure(each) / figure(others[each.turn])
            for each in self.of(lane, connections)
            if each.turn in others and figure(others[each.turn])
        ]
        return Ratio(median(found), min(found), max(found)) if found else None

    def resolution(self, connections: int, figure: Figure) -> float:
        """Return how far two servers that differ in nothing came out from each other."""
        found = self.ratio(TWIN, REFERENCE, connections, figure)
        if found is None:
            return 0.0
        return max(abs(found.most - 1), abs(1 - found.least))


def rate(sample: Sample) -> float:
    """Events a second."""
    return sample.rate


def cpu(sample: Sample) -> float:
    """Processor time of an event."""
    return sample.cpu


def p50(sample: Sample) -> float:
    """The median latency."""
    return sample.p50


def p99(sample: Sample) -> float:
    """The latency that one request in a hundred exceeds."""
    return sample.p99


def memory(sample: Sample) -> float:
    """Peak resident memory in MiB."""
    return sample.memory


def show_results(results: Results, lanes: Sequence[Lane], connections: int) -> None:
    """Print a row for each lane: medians, the spread of rates, ratios to the reference."""
    show(f"### {connections} connection{'s' if connections > 1 else ''}")
    head = ["", "events/s", "least to most", "of bare", "p50 ms", "p99 ms"]
    head += ["CPU us/event", "CPU of bare", "drain s", "peak MiB", "bad"]
    rows = []
    for lane in lanes:
        if not (samples := results.of(lane.name, connections)):
            continue
        rates = [each.rate for each in samples]
        rows.append(
            [
                lane.title,
                f"{median(rates):.0f}",
                f"{min(rates):.0f} to {max(rates):.0f}",
                str(results.ratio(lane.name, REFERENCE, connections, rate) or "-"),
                f"{median(map(p50, samples)) * 1e3:.2f}",
                f"{median(map(p99, samples)) * 1e3:.2f}",
                f"{median(map(cpu, samples)) * 1e6:.0f}",
                str(results.ratio(lane.name, REFERENCE, connections, cpu) or "-"),
                f"{median(each.drain for each in samples):.2f}",
                f"{max(map(memory, samples)):.0f}",
                str(sum(each.bad for each in samples)),
            ]
        )
    show_table(head, rows)
    if spoiled := sorted({each.lane for each in results.all(connections) if each.bad}):
        show(f"**Not clean, so worth nothing:** {', '.join(spoiled)}.")
        show()
    others = [each.others for each in results.all(connections)]
    show(
        f"Programs that are no part of the run had {median(others):.0%} of the server's core "
        f"in the median slice, and {max(others):.0%} in the worst."
    )
    if results.of(TWIN, connections) and results.of(REFERENCE, connections):
        show(
            f"Two servers that differ in nothing came out up to "
            f"{results.resolution(connections, rate):.0%} apart in rate, "
            f"{results.resolution(connections, p99):.0%} in p99 and "
            f"{results.resolution(connections, cpu):.0%} in CPU: "
            f"what differs less says nothing."
        )
        show()
