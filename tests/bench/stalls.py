"""`python -m tests.bench stalls`: what holds up the event loop, and for how long."""

from pathlib import Path
from statistics import median

from tests.bench.machine import LOAD_CORE, description, pinned
from tests.bench.occasions import crowded, pruning, starting
from tests.bench.output import show, show_table
from tests.bench.probing import Prober
from tests.bench.stalled import stalled
from tests.bench.waits import BOUND, Action, Memory, Run


def measure_stalls(rounds: int, seconds: int, only: str, directory: Path) -> None:
    """Do everything that might stall the loop so many times, and print the table.

    only: a part of the names of actions; the others are left out.
    """
    actions: list[Action] = []
    memories: list[Memory] = []
    with pinned(LOAD_CORE), Prober() as prober:
        run = Run(prober, rounds, seconds)
        for part in (crowded, pruning, starting, stalled):
            for done in part(run, directory, only):
                if isinstance(done, Action):
                    actions.append(done)
                else:
                    memories.append(done)
    if not actions:
        raise ValueError(f"no action has {only!r} in its name")
    show(f"{description(directory)}.")
    others = [pair.others for action in actions for pair in action.pairs]
    show(
        f"{rounds} rounds of {seconds} s each, calm and busy; medians of the rounds, and of the "
        f"longest waits the least and the most. Programs that are no part of the run had "
        f"{median(others):.0%} of the server's core, {max(others):.0%} at most."
    )
    show_table(
        [
            *("", "calm: median, ms", "p99", "longest"),
            *("busy: median, ms", "p99", "longest", "stalled, ms", f"at most {BOUND:g}"),
        ],
        [action.row() for action in actions],
    )
    for action in actions:
        if action.note:
            show(f"- {action.name}: {action.note}.")
    show_table(
        ["resident memory, MiB", "after start", "at most"],
        [[each.node, f"{each.started:.0f}", f"{each.peak:.0f}"] for each in memories],
    )
