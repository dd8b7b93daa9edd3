"""`python -m tests.bench`: relay and its rivals, side by side."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench import messages
from tests.bench.lanes import BEFORE, LANES, SERVERS, Kind, Lane, Site
from tests.bench.load import Generator
from tests.bench.machine import description
from tests.bench.messages import Stock
from tests.bench.output import progress, show
from tests.bench.processes import NotInstalled, Program
from tests.bench.report import Results, show_results
from tests.bench.slices import Track
from tests.bench.targets import show_targets
from tests.bench.upstream import Upstream, upstream_program

#: More than `store` takes in a second; each such message is signed before the run begins.
_SNAP_RATE: Final = 6000
_VIPPS_RATE: Final = 6000


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. lanes: in the order of the tables. against: whose lanes `BEFORE` are."""

    lanes: Sequence[Lane]
    rounds: int
    seconds: int
    connections: Sequence[int]
    against: Path | None = None


@dataclass(slots=True)
class _Stocks:
    """The requests of a run; SNAP's come with the public key."""

    by_kind: dict[Kind, Stock] = field(default_factory=dict)
    snap_key: Path | None = None


def lanes_named(names: Sequence[str], *, against: bool = False) -> list[Lane]:
    """Return these lanes in the order of the tables; all of them when none is named.

    against: there is another checkout to measure, too.

    Raises:
        ValueError: a name is none of a lane.
    """
    lanes = (*LANES, *BEFORE) if against else LANES
    known = [lane.name for lane in lanes]
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(f"no {', '.join(unknown)}; there are: {', '.join(known)}")
    return [lane for lane in lanes if not names or lane.name in names]


def compare(plan: Plan, directory: Path) -> None:
    """Run everything and print the tables. directory: for spools, on a disk, and empty.

    Raises:
        NotInstalled: wrk or nginx is missing, without which nothing can be measured.
    """
    stocks = _stocks(plan, directory)
    with ExitStack() as stack:
        receiver = stack.enter_context(upstream_program(directory))
        upstream = Upstream(receiver.port)
        site = Site(directory, receiver.port, stocks.snap_key, plan.against)
        servers, absent = _start(plan.lanes, site, stack)
        lanes = [lane for lane in plan.lanes if lane.server in servers]
        generators = {
            lane.name: Generator(stocks.by_kind[lane.kind], servers[lane.server].port)
            for lane in lanes
        }
        track = Track(lanes, servers, generators, upstream)
        samples = track.run(plan.rounds, plan.seconds, plan.connections)
    show(f"{description(directory)}.")
    show(f"{plan.rounds} rounds, slices of {plan.seconds} s.")
    for name, missing in absent.items():
        show(f"- **Not measured: {name}.** Not installed: {missing}")
    show()
    results = Results(samples)
    for connections in plan.connections:
        show_results(results, lanes, connections)
    show_targets(results, absent)


def _stocks(plan: Plan, directory: Path) -> _Stocks:
    stocks = _Stocks()
    kinds = {lane.kind for lane in plan.lanes}
    seconds = plan.rounds * plan.seconds * len(plan.connections) + 1
    if Kind.MIDTRANS in kinds:
        stocks.by_kind[Kind.MIDTRANS] = messages.midtrans(directory)
    if Kind.SNAP in kinds:
        progress(f"signing {seconds * _SNAP_RATE} SNAP messages")
        stock, stocks.snap_key = messages.snap(directory, seconds * _SNAP_RATE)
        stocks.by_kind[Kind.SNAP] = stock
    if Kind.VIPPS in kinds:
        progress(f"signing {seconds * _VIPPS_RATE} Vipps messages")
        stocks.by_kind[Kind.VIPPS] = messages.vipps(directory, seconds * _VIPPS_RATE)
    return stocks


def _start(
    lanes: Sequence[Lane], site: Site, stack: ExitStack
) -> tuple[dict[str, Program], dict[str, str]]:
    """Return what runs, by name, and what cannot, with what is missing."""
    running: dict[str, Program] = {}
    absent: dict[str, str] = {}
    for name in dict.fromkeys(lane.server for lane in lanes):
        try:
            program = SERVERS[name](name, site)
        except NotInstalled as missing:
            absent[name] = str(missing)
            progress(f"not installed: {missing}")
            continue
        running[name] = stack.enter_context(program)
    return running, absent
