"""The command line. `python -m tests.bench --help` says what there is."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from tests.bench.backlog import measure_backlog
from tests.bench.comparison import Plan, compare, lanes_named
from tests.bench.fan_out import FanOutPlan, measure_fan_out, ways_named
from tests.bench.finding import measure_find
from tests.bench.neighbours import measure_neighbours
from tests.bench.output import kept
from tests.bench.processes import NotInstalled, NotStarted
from tests.bench.profiling import measure_profile
from tests.bench.spool_alone import measure_spool
from tests.bench.stalls import measure_stalls
from tests.bench.startup import measure_startup

DIRECTORY = Annotated[
    Path, typer.Option("--directory", help="Where spools go: on a disk, not in memory.")
]

_RESULTS = Path(__file__).parent / "RESULTS.md"

KEEP = Annotated[bool, typer.Option("--keep", help="Write the tables into RESULTS.md as well.")]

application = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)


@application.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    *,
    only: Annotated[str, typer.Option(help="These lanes alone: bare,twin,store.")] = "",
    rounds: Annotated[int, typer.Option(min=1)] = 8,
    seconds: Annotated[int, typer.Option(min=1, help="Of one slice.")] = 3,
    connections: Annotated[str, typer.Option(help="One run of rounds for each.")] = "64,1",
    against: Annotated[
        Path | None, typer.Option(help="A checkout with its own .venv, measured in pairs.")
    ] = None,
    directory: DIRECTORY = Path("/var/tmp"),
    keep: KEEP = False,
) -> None:
    """Measure relay beside its rivals."""
    if context.invoked_subcommand is not None:
        return
    try:
        names = [name for name in only.split(",") if name]
        lanes = lanes_named(names, against=against is not None)
        loads = [int(each) for each in connections.split(",")]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    with _work(directory) as work, kept("comparison", _RESULTS if keep else None):
        compare(Plan(lanes, rounds, seconds, loads, against and against.absolute()), work)


@application.command()
def fan_out(
    *,
    only: Annotated[str, typer.Option(help="These ways alone, beside one: two,three.")] = "",
    rounds: Annotated[int, typer.Option(min=1)] = 8,
    seconds: Annotated[int, typer.Option(min=1, help="Of one slice.")] = 3,
    connections: Annotated[str, typer.Option(help="One run of rounds for each.")] = "64,1",
    against: Annotated[
        Path | None, typer.Option(help="A checkout with its own .venv, measured in pairs.")
    ] = None,
    directory: DIRECTORY = Path("/var/tmp"),
    keep: KEEP = False,
) -> None:
    """Say what further upstreams, routes, keys and TLS to an upstream cost."""
    try:
        names = [name for name in only.split(",") if name]
        ways = ways_named(names, against=against is not None)
        loads = [int(each) for each in connections.split(",")]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    plan = FanOutPlan(ways, rounds, seconds, loads, against and against.absolute())
    with _work(directory) as work, kept("fan-out", _RESULTS if keep else None):
        measure_fan_out(plan, work)


@application.command()
def backlog(
    events: Annotated[int, typer.Option(min=1)] = 1_000_000,
    drain: Annotated[int, typer.Option(min=1, help="Watch the drain for so many seconds.")] = 120,
    directory: DIRECTORY = Path("/var/tmp"),
    keep: KEEP = False,
) -> None:
    """Let events wait while the upstream is down; measure start-up, memory, accepting, drain."""
    with _work(directory) as work, kept("backlog", _RESULTS if keep else None):
        measure_backlog(events, drain, work)


@application.command()
def find(
    events: Annotated[int, typer.Option(min=1000)] = 1_000_000,
    directory: DIRECTORY = Path("/var/tmp"),
    keep: KEEP = False,
) -> None:
    """Search a large spool while deliveries go on; measure the searches, and what they cost."""
    with _work(directory) as work, kept("find", _RESULTS if keep else None):
        measure_find(events, work)


@application.command()
def neighbours(
    rounds: Annotated[int, typer.Option(min=1)] = 8,
    seconds: Annotated[int, typer.Option(min=1, help="Of one slice.")] = 5,
    rate: Annotated[int, typer.Option(min=1, help="Events a second.")] = 150,
    directory: DIRECTORY = Path("/var/tmp"),
    keep: KEEP = False,
) -> None:
    """Show what a dead and a slow upstream do to the one beside them."""
    with _work(directory) as work, kept("neighbours", _RESULTS if keep else None):
        measure_neighbours(rounds, seconds, rate, work)


@application.command()
def profile(
    mode: Annotated[str, typer.Option(help="store or proxy.")] = "store",
    seconds: Annotated[int, typer.Option(min=1)] = 15,
    directory: DIRECTORY = Path("/var/tmp"),
    keep: KEEP = False,
) -> None:
    """Say where the time of one event goes."""
    if mode not in {"store", "proxy"}:
        raise typer.BadParameter("write store or proxy", param_hint="--mode")
    with _work(directory) as work, kept(f"profile of {mode}", _RESULTS if keep else None):
        measure_profile(mode, seconds, work)


@application.command()
def stalls(
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    seconds: Annotated[int, typer.Option(min=2, help="Of one slice.")] = 3,
    only: Annotated[str, typer.Option(help="Actions with this in their name alone.")] = "",
    directory: DIRECTORY = Path("/var/tmp"),
    keep: KEEP = False,
) -> None:
    """Show for how long anything holds up the event loop."""
    with _work(directory) as work, kept("stalls", _RESULTS if keep else None):
        measure_stalls(rounds, seconds, only, work)


@application.command()
def spool(
    rounds: Annotated[int, typer.Option(min=1)] = 8,
    directory: DIRECTORY = Path("/var/tmp"),
    keep: KEEP = False,
) -> None:
    """Say what the spool alone costs, and what it writes."""
    with _work(directory) as work, kept("spool", _RESULTS if keep else None):
        measure_spool(rounds, work)


@application.command()
def startup(
    rounds: Annotated[int, typer.Option(min=1)] = 9,
    against: Annotated[
        Path | None, typer.Option(help="The relay program of another environment, for pairs.")
    ] = None,
    directory: DIRECTORY = Path("/var/tmp"),
    keep: KEEP = False,
) -> None:
    """Say what short commands cost, most of which is importing."""
    with _work(directory) as work, kept("startup", _RESULTS if keep else None):
        measure_startup(rounds, against, work)


@contextmanager
def _work(directory: Path) -> Iterator[Path]:
    """Make a directory for one run. Every user may look in: nginx lets its workers be nobody."""
    with TemporaryDirectory(prefix="relay-bench-", dir=directory) as work:
        Path(work).chmod(0o755)
        yield Path(work)


if __name__ == "__main__":
    # Whoever ends a run ends everything that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        application()
    except (NotInstalled, NotStarted) as error:
        raise SystemExit(f"tests.bench: {error}") from None
